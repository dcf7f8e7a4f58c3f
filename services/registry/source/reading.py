"""JSON files that people write, read field by field: what is wrong with one field never costs the others."""

from collections.abc import Iterable, Mapping
from typing import cast

import orjson

from libs import nesting
from libs.messages import catalog

LARGEST = 2**31 - 1
"""No number in a config is larger: what is meant is milliseconds, seconds, bytes or a count."""
_MARK = b"\xef\xbb\xbf"


class Reader:
    """One object of a JSON file. Each question answers None when the field is absent, and when it is wrong after saying so."""

    def __init__(self, path: str, fields: Mapping[str, object], *, prefix: str = "", problems: list[catalog.Problem]) -> None:
        self._path = path
        self._fields = fields
        self._prefix = prefix
        self._problems = problems

    def say(self, message: str) -> None:
        """Add a problem with the file."""
        self._problems.append(catalog.Problem(path=self._path, message=message))

    def refuse(self, name: str, rule: str) -> None:
        """Say which rule a field of this object breaks."""
        self.say(f"{self._prefix}{name} {rule}")

    def value(self, *names: str) -> object:
        """Return the first of these fields that is there and not null."""
        return next((self._fields[name] for name in names if self._fields.get(name) is not None), None)

    def integer(self, name: str, *, minimum: int, rule: str, maximum: int = LARGEST) -> int | None:
        """Return a whole number from `minimum` to `maximum`."""
        value = self.number(name, minimum=minimum, rule=rule, maximum=maximum)
        if value is None:
            return None
        if value != int(value):
            self.refuse(name, "must be a whole number")
            return None
        return int(value)

    def number(self, *names: str, minimum: float, rule: str, maximum: float = LARGEST) -> float | None:
        """Return a number from `minimum` to `maximum`."""
        value = self.value(*names)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value < minimum:
            self.refuse(names[0], rule)
            return None
        if value > maximum:
            self.refuse(names[0], f"must be <= {maximum:g}" if maximum < LARGEST else f"must be <= {LARGEST}")
            return None
        return value

    def flag(self, *names: str) -> bool | None:
        """Return a boolean."""
        value = self.value(*names)
        if value is None or isinstance(value, bool):
            return value
        self.refuse(names[0], "must be true or false")
        return None

    def text(self, *names: str) -> str | None:
        """Return a text that is not empty."""
        value = self.value(*names)
        if value is None:
            return None
        if isinstance(value, str) and value.strip():
            return value.strip()
        self.refuse(names[0], "must be a non-empty string")
        return None

    def texts(self, *names: str, rule: str) -> tuple[str, ...] | None:
        """Return texts, written as a list or as one text."""
        value = self.value(*names)
        if value is None:
            return None
        entries = cast("list[object]", value) if isinstance(value, list) else [value]
        if all(isinstance(entry, str) and entry.strip() for entry in entries):
            return tuple(cast("str", entry).strip() for entry in entries)
        self.refuse(names[0], rule)
        return None

    def section(self, name: str) -> "Reader":
        """Return an object inside this one; an empty one when it is absent or wrong."""
        value = self.value(name)
        if value is not None and not isinstance(value, dict):
            self.refuse(name, "must be an object")
            value = None
        fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        return Reader(self._path, fields, prefix=f"{self._prefix}{name}.", problems=self._problems)

    def warn_unknown(self, known: Iterable[str]) -> None:
        """Say which fields mean nothing."""
        for name in sorted(set(self._fields) - set(known)):
            self.refuse(name, "is not a known field; it is ignored")


def read_object(path: str, data: bytes, problems: list[catalog.Problem]) -> Mapping[str, object]:
    """Return the JSON object in `data`; an empty one, after saying so, when it is none."""
    try:
        value = nesting.loads(data.removeprefix(_MARK))
    except orjson.JSONDecodeError as error:
        problems.append(catalog.Problem(path=path, message=f"is not JSON: {error}"))
        return {}
    if isinstance(value, dict):
        return cast("dict[str, object]", value)
    problems.append(catalog.Problem(path=path, message="must be a JSON object"))
    return {}
