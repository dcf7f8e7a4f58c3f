"""Schedules into jobs: every replica follows the catalogue, computes the same nominal times, and tries each one.

A replica that starts, or was held up, tries what lies in its catch-up window as well; the unique insert of the job makes
that harmless where another replica has fired.
"""

import asyncio
import dataclasses
import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from libs import errors
from libs.clock import Clock
from libs.messages import codec
from libs.messages.catalog import FunctionEntry, KeepWarm, RouteEntry, Schedule, VersionEntry
from libs.messages.jobs import JobRequest, JobState, ScheduleView
from services.scheduler.dispatch import Dispatch
from services.scheduler.store import JobStore
from services.scheduler.timetable import ScheduleError, Timetable

log = logging.getLogger(__name__)

CATCH_UP = timedelta(seconds=60)
"""How far back a nominal time may lie and still be fired."""
_MAX_SLEEP_SECONDS = 5.0
"""Wake at least so often: a wall clock may be set, a machine may sleep."""
_RETRY_SECONDS = 1.0
_PING_QUERY = {"__fastfn_keep_warm": "1"}
_PING_HEADERS = {"x-fastfn-trigger": "keep_warm"}


@dataclass(slots=True, kw_only=True)
class Entry:
    """A schedule that is followed."""

    key: str
    function: FunctionEntry
    version: VersionEntry
    schedule: Schedule
    timetable: Timetable
    keep_warm: KeepWarm | None = None
    """Set when it is not the function's own schedule, but the pings that keep it warm."""
    next_at: datetime | None = None
    """Next nominal time to be tried; None until the schedule has been started, and when it never fires again."""
    started: bool = False

    @property
    def memory(self) -> str:
        """Under which the store remembers since when this schedule, as it is configured now, has been known."""
        return f"{self.key}#{hashlib.sha256(codec.encode(self.schedule)).hexdigest()[:16]}"


class Ticks:
    """Follows all schedules and fires them."""

    def __init__(self, *, dispatch: Dispatch, store: JobStore, clock: Clock, enabled: bool = True) -> None:
        """Fire by `dispatch`; when not `enabled`, schedules are known and shown, and none fires."""
        self._enabled = enabled
        self._dispatch = dispatch
        self._store = store
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._keys: dict[str, tuple[str, ...]] = {}
        self._gone: list[Entry] = []
        self._changed = asyncio.Event()
        self.fired = 0
        self.lost = 0
        """Nominal times that another replica fired first."""

    def take(self, catalog_key: str, function: FunctionEntry | None) -> None:
        """Follow a function's schedules as they are now; None: the function is gone."""
        wanted = dict(self._wanted(function)) if function else {}
        for key in self._keys.get(catalog_key, ()):
            if key not in wanted:
                self._gone.append(self._entries.pop(key))
        for key, entry in wanted.items():
            present = self._entries.get(key)
            if present is not None and present.schedule == entry.schedule:
                present.function, present.version = entry.function, entry.version
                continue
            if present is not None:
                self._gone.append(present)
            self._entries[key] = entry
        if wanted:
            self._keys[catalog_key] = tuple(wanted)
        else:
            self._keys.pop(catalog_key, None)
        self._changed.set()

    async def run(self) -> None:
        """Fire schedules for ever."""
        while True:
            self._changed.clear()
            try:
                await self._round(self._clock.now())
            except errors.TemporaryError as error:
                log.warning("ticks wait: %s", error, extra={"action": "ticks_deferred"})
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            try:
                async with asyncio.timeout(self._pause()):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def views(self) -> tuple[ScheduleView, ...]:
        """Return all schedules with what became of their last run."""
        return tuple([await self._view(entry) for _, entry in sorted(self._entries.items())])

    async def _round(self, now: datetime) -> None:
        while self._gone:
            await self._store.forget_schedule(self._gone[-1].memory)
            self._gone.pop()
        if not self._enabled:
            return
        for entry in list(self._entries.values()):
            if not entry.started:
                since = await self._store.first_seen(entry.memory, now)
                entry.next_at = entry.timetable.next_after(max(since, now - CATCH_UP))
                entry.started = True
        due = [entry for entry in self._entries.values() if entry.next_at is not None and entry.next_at <= now]
        # One after the other for a schedule, side by side for different ones.
        async with asyncio.TaskGroup() as group:
            for entry in due:
                group.create_task(self._fire_until(entry, now), name=f"tick {entry.key}")

    async def _fire_until(self, entry: Entry, now: datetime) -> None:
        while entry.next_at is not None and entry.next_at <= now:
            nominal = entry.next_at
            following = entry.timetable.next_after(max(nominal, now - CATCH_UP))
            try:
                await self._fire(entry, nominal, following)
            except errors.TemporaryError as error:
                log.warning("tick of %s waits: %s", entry.key, error, extra={"action": "tick_deferred", "schedule": entry.key})
                await asyncio.sleep(_RETRY_SECONDS)
                return
            entry.next_at = following

    async def _fire(self, entry: Entry, nominal: datetime, following: datetime | None) -> None:
        schedule = entry.schedule
        won = await self._dispatch.tick(
            key=entry.key,
            nominal=nominal,
            request=_request(entry),
            version=entry.version,
            retry=schedule.retry,
            trigger=_trigger(entry),
            hold=following - nominal if following else CATCH_UP,
        )
        if won:
            self.fired += 1
            extra = {"action": "schedule_fired", "schedule": entry.key, "nominal": nominal.isoformat()}
            log.debug("fired %s", entry.key, extra=extra)
        else:
            self.lost += 1

    def _pause(self) -> float:
        times = [entry.next_at for entry in self._entries.values() if entry.next_at is not None]
        if not times:
            return _MAX_SLEEP_SECONDS
        return min(max((min(times) - self._clock.now()).total_seconds(), 0.0), _MAX_SLEEP_SECONDS)

    def _wanted(self, function: FunctionEntry) -> list[tuple[str, Entry]]:
        found: list[tuple[str, Entry]] = []
        for version in function.versions:
            key = f"{function.namespace}/{function.runtime}/{function.name}@{version.label}"
            schedules = [(key, version.schedule, None), (f"{key}#keep-warm", _pings(version), version.policy.keep_warm)]
            for name, schedule, kept in schedules:
                if schedule is None or not schedule.enabled:
                    continue
                try:
                    timetable = Timetable(schedule)
                except ScheduleError as error:
                    extra = {"action": "schedule_invalid", "schedule": name}
                    log.warning("schedule of %s is not followed: %s", name, error, extra=extra)
                    continue
                entry = Entry(
                    key=name, function=function, version=version, schedule=schedule, timetable=timetable, keep_warm=kept
                )
                found.append((name, entry))
        return found

    async def _view(self, entry: Entry) -> ScheduleView:
        recent = await self._store.of_schedule(entry.key, limit=10)
        last = next((job for job in recent if job.attempt), None)
        retrying = next((job for job in recent if job.state is JobState.QUEUED and job.next_run_at and job.attempt), None)
        return ScheduleView(
            namespace=entry.function.namespace,
            runtime=entry.function.runtime,
            function=entry.function.name,
            version=entry.version.label,
            schedule=_configured(entry.schedule),
            next_at=entry.next_at,
            last_at=last.claimed_at or last.updated_at if last else None,
            last_status=last.result_status if last else 0,
            last_error=last.last_error if last else "",
            retry_due=retrying.next_run_at if retrying else None,
            retry_attempt=retrying.attempt + 1 if retrying else 0,
            keep_warm=dataclasses.asdict(entry.keep_warm) if entry.keep_warm else None,
        )


def _pings(version: VersionEntry) -> Schedule | None:
    """Return the schedule of the calls that keep a version warm; None when it asks for none."""
    keep = version.policy.keep_warm
    if not keep.enabled:
        return None
    method = next(iter(version.policy.methods), "GET")
    return Schedule(every_seconds=keep.ping_every_seconds, method=method, query=_PING_QUERY, headers=_PING_HEADERS)


def _request(entry: Entry) -> JobRequest:
    schedule, function = entry.schedule, entry.function
    path = _path(function.routes, entry.version.label) or f"/{function.name}"
    return JobRequest(
        namespace=function.namespace,
        runtime=function.runtime,
        function=function.name,
        version=entry.version.label,
        method=schedule.method,
        route=path,
        route_template=path,
        query=schedule.query,
        headers={name.lower(): value for name, value in schedule.headers.items()},
        body=schedule.body.encode(),
        user_context=schedule.context or None,
    )


def _path(routes: tuple[RouteEntry, ...], label: str) -> str:
    """Return the first public path of a version that needs no parameters; empty without one."""
    plain = (
        route.pattern for route in routes if route.version == label and ":" not in route.pattern and "*" not in route.pattern
    )
    return next(plain, "")


def _trigger(entry: Entry) -> dict[str, Any]:
    schedule = entry.schedule
    when: dict[str, Any] = {"cron": schedule.cron} if schedule.cron else {"every_seconds": schedule.every_seconds}
    return {"type": "keep_warm" if entry.keep_warm else "schedule", **when, "timezone": schedule.timezone}


def _configured(schedule: Schedule) -> dict[str, Any]:
    when: dict[str, Any] = {"cron": schedule.cron} if schedule.cron else {"every_seconds": schedule.every_seconds}
    shown: dict[str, Any] = {
        "enabled": schedule.enabled,
        **when,
        "timezone": schedule.timezone,
        "method": schedule.method,
        "query": schedule.query,
        "headers": schedule.headers,
        "body": schedule.body,
        "context": schedule.context,
    }
    if schedule.retry:
        shown["retry"] = {
            "max_attempts": schedule.retry.max_attempts,
            "base_delay_seconds": schedule.retry.base_delay_seconds,
            "max_delay_seconds": schedule.retry.max_delay_seconds,
            "jitter": schedule.retry.jitter,
        }
    return shown
