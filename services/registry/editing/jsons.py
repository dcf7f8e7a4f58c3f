"""JSON objects as requests and files hold them. Pure."""

from typing import Any, cast

import orjson

from libs import errors, nesting

type Fields = dict[str, Any]


def parse(data: bytes, *, what: str) -> Fields:
    """Return the object in `data`; an empty one when there is nothing.

    Raises:
        errors.PermanentError: it is something else; `what` begins the text.
    """
    if not data.strip():
        return {}
    try:
        found = nesting.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise errors.PermanentError(f"{what} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise errors.PermanentError(f"{what} is not a JSON object")
    return cast("Fields", found)


def dump(fields: Fields) -> bytes:
    """Return an object as a file that people read."""
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2) + b"\n"


def section(fields: Fields, name: str) -> Fields:
    """Return an object inside an object, a copy; an empty one when it is absent or something else."""
    found = fields.get(name)
    return dict(cast("Fields", found)) if isinstance(found, dict) else {}
