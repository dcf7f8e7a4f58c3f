"""When a schedule fires: the only file that knows APScheduler, of which it uses the triggers alone.

Nominal times are computed on the wall clock of the schedule's zone and then mapped to instants, which gives the rule for
daylight saving: a local time that does not exist is skipped, one that occurs twice fires at its first occurrence.
Every replica computes the same times, whatever its own clock says.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import tzlocal
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from libs import errors
from libs.messages.catalog import Schedule

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")
_FIVE, _SIX = 5, 6
_HORIZON = timedelta(days=366 * 8)
"""A cron expression that matches nothing for so long (30 February) never fires."""


class ScheduleError(errors.PermanentError, ValueError):
    """A schedule that cannot be followed; the text says what is wrong with it."""


class Timetable:
    """The nominal fire times of one schedule."""

    def __init__(self, schedule: Schedule) -> None:
        """Read the schedule.

        Raises:
            ScheduleError: neither or both of interval and cron, a bad expression, or an unknown zone.
        """
        self._every = schedule.every_seconds
        if bool(schedule.cron) == bool(self._every):
            raise ScheduleError("schedule needs either every_seconds or cron")
        if self._every < 0:
            raise ScheduleError("schedule.every_seconds must be > 0")
        self._zone = zone(schedule.timezone)
        self._trigger = cron_trigger(schedule.cron) if schedule.cron else None

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first nominal time (UTC) that is later than `moment`, or None when there is none."""
        if self._trigger is None:
            return datetime.fromtimestamp((int(moment.timestamp()) // self._every + 1) * self._every, UTC)
        # The trigger works on a clock without daylight saving: wall time, written as if it were UTC.
        wall = moment.astimezone(self._zone).replace(tzinfo=UTC, fold=0)
        end = wall + _HORIZON
        while wall < end:
            found = self._trigger.get_next_fire_time(None, wall + timedelta(microseconds=1))
            if found is None:
                return None
            wall = found
            instant = self._instant(found)
            if instant is not None and instant > moment:
                return instant
        return None

    def _instant(self, wall: datetime) -> datetime | None:
        local = wall.replace(tzinfo=self._zone, fold=0)
        instant = local.astimezone(UTC)
        exists = instant.astimezone(self._zone).replace(tzinfo=None) == wall.replace(tzinfo=None)
        return instant if exists else None


def zone(name: str) -> tzinfo:
    """Return the zone that `UTC`, `Z`, `local`, a fixed offset `+HH:MM` or an IANA name means.

    Raises:
        ScheduleError: there is no such zone.
    """
    if name in ("", "UTC", "Z"):
        return UTC
    if name == "local":
        return tzlocal.get_localzone()
    if offset := _OFFSET.fullmatch(name):
        span = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        if span >= timedelta(hours=24):
            raise ScheduleError(f"unknown timezone: {name}")
        return timezone(-span if offset[1] == "-" else span)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise ScheduleError(f"unknown timezone: {name}") from error


def cron_trigger(expression: str) -> BaseTrigger:
    """Return the trigger of a cron expression of five fields, six (seconds first), or an `@` macro.

    When day of month and day of week are both restricted, either is enough, as in Vixie cron.

    Raises:
        ScheduleError: it is not a cron expression.
    """
    fields = _MACROS.get(expression.strip().lower(), expression).replace("?", "*").lower().split()
    if len(fields) not in (_FIVE, _SIX):
        raise ScheduleError("schedule.cron must have 5 or 6 fields")
    second = fields.pop(0) if len(fields) == _SIX else "0"
    minute, hour, day, month, weekday = fields
    either = not (day.startswith("*") or weekday.startswith("*"))
    try:
        weekday = _weekdays(weekday)

        def trigger(day: str, weekday: str) -> CronTrigger:
            return CronTrigger(month=month, day=day, day_of_week=weekday, hour=hour, minute=minute, second=second, timezone=UTC)

        return OrTrigger([trigger(day, "*"), trigger("*", weekday)]) if either else trigger(day, weekday)
    except (ValueError, TypeError) as error:
        raise ScheduleError(f"schedule.cron {expression!r}: {error}") from error


def _weekdays(field: str) -> str:
    """Return a day-of-week field in names: numbers mean other days to APScheduler (0 is Monday there, Sunday in cron)."""
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        low = 0 if span == "*" else _weekday(first)
        high = 6 if span == "*" or (step and not dash) else _weekday(last) if dash else low
        if high < low:
            high += 7
        days.update(day % 7 for day in range(low, high + 1, _positive(step)))
    return ",".join(_DAYS[day] for day in sorted(days))


def _weekday(text: str) -> int:
    day = _DAYS.index(text) if text in _DAYS else int(text)
    if not 0 <= day <= len(_DAYS):
        raise ValueError(f"no day of week: {text}")
    return day


def _positive(step: str) -> int:
    size = int(step) if step else 1
    if size < 1:
        raise ValueError("a step must be at least 1")
    return size
