"""What the annotations of a Python handler tell of the path parameters that it takes by name. Pure; no code is run.

Of a file only the header of the handler is looked at, and of that no more than a few thousand bytes, so that it costs the same
however long a file is and however deep something in it is nested. What is not understood is not told.
"""

import ast
import re
from collections.abc import Iterator
from typing import Any

_DEFINED = re.compile(rb"^(?:async[ \t]+)?def[ \t]+(handler|main)[ \t]*\(", re.MULTILINE)
_MOST_BYTES = 4096
"""Of a header."""
_MOST_COLONS = 60
"""In a header."""
_MOST_VALUES = 50
"""Of a `Literal`."""
_KINDS: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "Decimal": {"type": "string", "format": "decimal"},
    "UUID": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "time": {"type": "string", "format": "time"},
}


def parameters(data: bytes) -> dict[str, dict[str, Any]]:
    """Return a JSON Schema for each annotated parameter but the first of a file's `handler` (or `main`). Never raises."""
    headers = {found[1]: found.start() for found in _DEFINED.finditer(data)}  # of several, Python takes the last
    begins = headers.get(b"handler", headers.get(b"main"))
    if begins is None:
        return {}
    header = _parsed(data[begins : begins + _MOST_BYTES])
    if header is None:
        return {}
    taken = header.args
    named = [*taken.posonlyargs, *taken.args][1:] + taken.kwonlyargs
    schemas = {each.arg: _schema(each.annotation) for each in named}
    return {name: schema for name, schema in schemas.items() if schema}


def _parsed(text: bytes) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    for header in _headers(text):
        try:
            (found,) = ast.parse(header + b" pass").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # the colon was inside of it
        return found if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) else None
    return None


def _headers(text: bytes) -> Iterator[bytes]:
    """Yield what a header may be, from the shortest: it ends with a colon. Those inside of it come before its last one."""
    end = -1
    for _ in range(_MOST_COLONS):
        end = text.find(b":", end + 1)
        if end < 0:
            return
        yield text[: end + 1]


def _schema(annotation: ast.expr | None) -> dict[str, Any]:
    """Return what an annotation says; empty when it says nothing that a text in a path could be."""
    match annotation:
        case ast.Constant(value=str(text)):  # written as a text, because what it names is defined later
            return _schema(_expression(text))
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return dict(_KINDS.get(name, {}))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _either(left, right)
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            return _of_generic(name, inner)
        case _:
            return {}


def _of_generic(name: str, inner: ast.expr) -> dict[str, Any]:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Literal":
        values = [each.value for each in parts if isinstance(each, ast.Constant) and isinstance(each.value, str | int)]
        return {"enum": values} if len(values) == len(parts) <= _MOST_VALUES else {}
    if name in ("Annotated", "Optional") and parts:
        return _schema(parts[0])
    return _either(*parts) if name == "Union" else {}


def _either(*parts: ast.expr) -> dict[str, Any]:
    """Return what is said by the only one of several that is not `None`."""
    said = [each for each in parts if not (isinstance(each, ast.Constant) and each.value is None)]
    return _schema(said[0]) if len(said) == 1 else {}


def _expression(text: str) -> ast.expr | None:
    try:
        return ast.parse(text[:_MOST_BYTES], mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
