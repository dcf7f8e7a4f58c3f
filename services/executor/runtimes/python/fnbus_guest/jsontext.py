"""JSON to and from bytes by the C parts of the standard library's `json`.

Importing `json` itself pulls in `re` and doubles the start of a worker, and a hello function never needs it. What the C
parts cannot do alone is done here: not-a-number is written as null, as JavaScript does, and unpaired surrogates are escaped.
"""

from __future__ import annotations

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Defaults:
    """What `json.JSONDecoder` would hold."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012  the scanner wants the attribute and keeps its own


_scan: Callable[[str, int], tuple[Any, int]] = make_scanner(_Defaults)  # pyright: ignore[reportArgumentType]  any object with these attributes


def _refuse(value: object) -> object:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_open_containers: dict[int, object] = {}


def _encoder(write_text: Callable[[str], str]) -> Callable[[object, int], tuple[str, ...]]:
    sort_keys = skip_keys = allow_nan = False
    return make_encoder(_open_containers, _refuse, write_text, None, ":", ",", sort_keys, skip_keys, allow_nan)


_encode = _encoder(encode_basestring)
_encode_ascii = _encoder(encode_basestring_ascii)


def loads(data: bytes) -> Any:
    """Return the value that JSON bytes without surrounding white space stand for."""
    return _scan(str(data, "utf-8"), 0)[0]


def dumps(value: object) -> bytes:
    """Return the value as compact JSON.

    Raises:
        TypeError: a value in it has no JSON form; the text names its type.
        ValueError: it contains itself.
    """
    try:
        return "".join(_encode(value, 0)).encode()
    except UnicodeEncodeError:
        return "".join(_encode_ascii(value, 0)).encode()
    except ValueError as error:
        if "float" not in str(error):
            raise
        _open_containers.clear()
        return dumps(_without_nan(value))
    finally:
        _open_containers.clear()


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value
