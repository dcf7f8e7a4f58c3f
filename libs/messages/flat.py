"""The short ways of records: code written once for each class, to make one, and to read and write those of plain values.

What `dataclasses` does for `__init__` is done here for reading and writing: source text is made from the class's field names
and compiled. A reader looks at all types at once, and sets the slots themselves, for a frozen class's own `__init__` takes
three times as long. Whatever is not exactly as `codec.encode` packs it is left to `codec`, which knows what is wrong with it.
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

_PLAIN_TYPES = (str, bytes, int, float, bool)
_READ = """
def read(document):
    try:
        values = ({names}, version) = get(document)
        if version != own_version or tuple(map(type, values)) != expected:
            return None
        {members}
    except (KeyError, TypeError):
        return None
    made = new(cls)
    {setters}
    return made
"""
_INIT = "def __init__(self, *, {parameters}): {setters}"
_WRITE = "lambda record: {{{items}, {version_field!r}: {version}}}"


class Flat(NamedTuple):
    """How a class of plain values is read and written."""

    read: Callable[[Any], Any]
    """Returns the record that a map holds; None when the map is not exactly as `write` makes it."""
    write: Callable[[Any], dict[str, Any]]
    """Returns the record's map."""


def flat(cls: type[Any], hints: Mapping[str, Any], *, version: int, version_field: str) -> Flat | None:
    """Return how to read and write records of a class; None when it has no field, or one that is neither plain nor a text enum.

    Args:
        cls: a dataclass with slots.
        hints: types of its fields.
        version: of the class.
        version_field: the map's key for it.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    enums = {
        name: {str(member): member for member in hints[name]}
        for name in names
        if isinstance(hints[name], type) and issubclass(hints[name], enum.StrEnum)
    }
    if not names or any(hints[name] not in _PLAIN_TYPES and name not in enums for name in names):
        return None
    known: dict[str, Any] = {
        "get": itemgetter(*names, version_field),
        "own_version": version,
        "expected": (*(str if name in enums else hints[name] for name in names), int),
        "new": object.__new__,
        "cls": cls,
        **{f"members_{name}": members for name, members in enums.items()},
        **{f"set_{name}": getattr(cls, name).__set__ for name in names},
    }
    source = _READ.format(
        names=", ".join(f"field_{name}" for name in names),
        members="; ".join(f"field_{name} = members_{name}[field_{name}]" for name in enums) or "pass",
        setters="; ".join(f"set_{name}(made, field_{name})" for name in names),
    )
    exec(source, known)  # noqa: S102  the text holds names of fields only
    items = ", ".join(f"{name!r}: record.{name}" for name in names)
    write = eval(_WRITE.format(items=items, version_field=version_field, version=version))  # noqa: S307  as above
    return Flat(known["read"], write)


def constructor(cls: type[Any]) -> Callable[..., None] | None:
    """Return an `__init__` that does what that of a frozen dataclass does, in a fraction of its time.

    None when the class has no field, or one with a default that has to be made anew each time.

    Args:
        cls: a keyword-only dataclass with slots, and without a `__post_init__`.
    """
    fields = dataclasses.fields(cls)
    if not fields or any(field.default_factory is not dataclasses.MISSING for field in fields):
        return None
    known: dict[str, Any] = {f"set_{field.name}": getattr(cls, field.name).__set__ for field in fields}
    known |= {f"default_{field.name}": field.default for field in fields}
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    parameters = ", ".join(f.name if f.name in required else f"{f.name}=default_{f.name}" for f in fields)
    setters = "; ".join(f"set_{field.name}(self, {field.name})" for field in fields)
    exec(_INIT.format(parameters=parameters, setters=setters), known)  # noqa: S102  the text holds names of fields only
    return known["__init__"]
