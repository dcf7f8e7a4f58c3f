"""`fn.env.json`: a function's environment values, parsed. Pure: text to values and problems."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import orjson

from libs.messages import catalog
from services.registry.source import reading

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SECRET = re.compile(r"secret|token|password|passwd|pwd|api_key|apikey|private_key|auth|credential")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvValue:
    """One environment value as handlers see it."""

    text: str = field(repr=False)
    is_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFile:
    """The values of a file, and what is wrong with the rest of it."""

    values: Mapping[str, EnvValue]
    problems: tuple[catalog.Problem, ...] = ()


def parse_env(path: str, data: bytes) -> EnvFile:
    """Return the values in an `fn.env.json`; an entry that is wrong is left out and named, never its value."""
    problems: list[catalog.Problem] = []
    values: dict[str, EnvValue] = {}
    for key, entry in reading.read_object(path, data, problems).items():
        parsed = parse_entry(key, entry)
        if isinstance(parsed, EnvValue):
            values[key] = parsed
        elif parsed:
            problems.append(catalog.Problem(path=path, message=f"{key}: {parsed}"))
    return EnvFile(values=values, problems=tuple(problems))


def is_secret_name(key: str) -> bool:
    """Return whether a value is secret by its name alone."""
    return _SECRET.search(key.lower()) is not None


def parse_entry(key: str, entry: object) -> EnvValue | str:
    """Return the value, or what is wrong with it; an empty text for a value that is not set."""
    if not _KEY.fullmatch(key):
        return "is not a name that an environment variable can have"
    value = entry
    secret = is_secret_name(key)
    if isinstance(entry, dict):
        fields = cast("dict[str, object]", entry)
        if "value" not in fields:
            return "env entry objects must include value"
        value = fields["value"]
        marked = fields.get("is_secret", False)
        if not isinstance(marked, bool):
            return "is_secret must be true or false"
        secret = secret or marked
    if value is None:
        return ""
    text = _text(value)
    if text is None:
        return "env value must be string|number|boolean|null"
    if "\0" in text:
        return "an environment value cannot hold a NUL character"
    return EnvValue(text=text, is_secret=secret)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return orjson.dumps(value).decode()
    return None
