"""The `schedule` of an `fn.config.json`, parsed and checked. Pure.

A cron expression is checked field by field for what no reading of it could mean; when it fires is the scheduler's to know.
"""

import functools
import re
import zoneinfo
from typing import Any, cast

import orjson

from libs.messages import catalog
from services.registry.source.patterns import METHODS
from services.registry.source.reading import Reader

_KNOWN = (
    "enabled",
    "every_seconds",
    "cron",
    "timezone",
    "tz",
    "retry",
    "method",
    "query",
    "headers",
    "body",
    "context",
    "file",
)
_MACROS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_OFFSET = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d")
_ITEM = re.compile(r"(?:[*?]|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)


def parse_schedule(config: Reader) -> tuple[catalog.Schedule | None, str]:
    """Return the schedule of a config and the file that it names; no schedule when there is none or it is wrong."""
    value = config.value("schedule")
    if value is None:
        return None, ""
    reader = config.section("schedule") if isinstance(value, dict) else None
    if reader is None:
        config.refuse("schedule", "must be an object")
        return None, ""
    reader.warn_unknown(_KNOWN)
    when = _parse_when(reader)
    method = _parse_method(reader)
    retry, retry_fits = _parse_retry(reader)
    if when is None or method is None or not retry_fits:
        return None, ""
    every_seconds, cron, timezone = when
    schedule = catalog.Schedule(
        enabled=reader.flag("enabled") is not False,
        every_seconds=every_seconds,
        cron=cron,
        timezone=timezone,
        method=method,
        query=_parse_map(reader, "query"),
        headers=_parse_map(reader, "headers"),
        body=_parse_body(reader),
        context=_parse_map(reader, "context"),
        retry=retry,
    )
    return schedule, reader.text("file") or ""


def cron_fault(expression: str) -> str:
    """Return what is wrong with a cron expression; empty when nothing is."""
    if expression.lower() in _MACROS:
        return ""
    parts = expression.split()
    if len(parts) not in (5, 6):
        return "must have 5 or 6 fields"
    for part, (name, lowest, highest, names) in zip(parts, _FIELDS[-len(parts) :], strict=True):
        for item in part.split(","):
            if not _item_fits(item, lowest, highest, names):
                return f"has a {name} field that is not one: {part}"
    return ""


@functools.cache
def zone_names() -> frozenset[str]:
    """Return the names of all IANA zones known here."""
    return frozenset(zoneinfo.available_timezones())


def _item_fits(item: str, lowest: int, highest: int, names: tuple[str, ...]) -> bool:
    found = _ITEM.fullmatch(item)
    if found is None or (found["step"] is not None and int(found["step"]) == 0):
        return False
    return all(bound is None or _bound_fits(bound, lowest, highest, names) for bound in (found["low"], found["high"]))


def _bound_fits(bound: str, lowest: int, highest: int, names: tuple[str, ...]) -> bool:
    if bound.isascii() and bound.isdigit():
        return len(bound) < 4 and lowest <= int(bound) <= highest
    return bound.lower() in names


def _parse_when(reader: Reader) -> tuple[int, str, str] | None:
    """Return interval, cron expression and zone."""
    every = reader.value("every_seconds")
    cron = reader.value("cron")
    zone = _parse_zone(reader)
    if every is not None and cron is not None:
        reader.refuse("every_seconds", "and schedule.cron cannot both be set")
        return None
    if cron is not None:
        fault = cron_fault(cron) if isinstance(cron, str) else "must have 5 or 6 fields"
        if fault:
            reader.refuse("cron", fault)
        return None if fault or zone is None else (0, " ".join(str(cron).split()), zone)
    seconds = reader.integer("every_seconds", minimum=1, rule="must be > 0")
    if every is None:
        reader.refuse("every_seconds", "or schedule.cron must be set")
    return None if seconds is None or zone is None else (seconds, "", zone)


def _parse_zone(reader: Reader) -> str | None:
    value = reader.value("timezone", "tz")
    if value is None:
        return "UTC"
    if isinstance(value, str) and (value in ("UTC", "Z", "local") or _OFFSET.fullmatch(value) or value in zone_names()):
        return value
    reader.refuse("timezone", "must be UTC, local, Z, or a fixed offset (+HH:MM), or an IANA zone like Europe/Berlin")
    return None


def _parse_method(reader: Reader) -> str | None:
    value = reader.value("method")
    if value is None:
        return "GET"
    if isinstance(value, str) and value.upper() in METHODS:
        return value.upper()
    reader.refuse("method", "must be a valid HTTP method")
    return None


def _parse_retry(reader: Reader) -> tuple[catalog.Retry | None, bool]:
    """Return the retry rule, and whether it was written right."""
    value = reader.value("retry")
    if value is None or isinstance(value, bool):
        return (catalog.Retry() if value else None), True
    if not isinstance(value, dict):
        reader.refuse("retry", "must be a boolean, object, or null")
        return None, False
    fields = {_snake(name): entry for name, entry in cast("dict[str, object]", value).items()}
    problems: list[catalog.Problem] = []
    retry = Reader("", fields, prefix="schedule.retry.", problems=problems)
    default = catalog.Retry()
    attempts = retry.integer("max_attempts", minimum=1, rule="must be >= 1", maximum=10)
    base = retry.number("base_delay_seconds", minimum=0, rule="must be >= 0", maximum=3600)
    longest = retry.number("max_delay_seconds", minimum=0, rule="must be >= 0", maximum=86_400)
    jitter = retry.number("jitter", minimum=0, rule="must be between 0 and 0.5", maximum=0.5)
    enabled = retry.flag("enabled") is not False
    base = default.base_delay_seconds if base is None else float(base)
    if longest is None:
        longest = max(default.max_delay_seconds, base)
    elif longest < base:
        retry.refuse("max_delay_seconds", "must be >= base_delay_seconds")
    for problem in problems:
        reader.say(problem.message)
    rule = catalog.Retry(
        max_attempts=attempts or default.max_attempts,
        base_delay_seconds=base,
        max_delay_seconds=float(longest),
        jitter=default.jitter if jitter is None else float(jitter),
    )
    return (rule if enabled else None), not problems


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name)


def _parse_map(reader: Reader, name: str) -> dict[str, Any]:
    value = reader.value(name)
    if value is None:
        return {}
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    reader.refuse(name, "must be an object")
    return {}


def _parse_body(reader: Reader) -> str:
    value = reader.value("body")
    if value is None or isinstance(value, str):
        return value or ""
    return orjson.dumps(value).decode()
