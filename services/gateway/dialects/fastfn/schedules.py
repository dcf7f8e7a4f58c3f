"""`GET /_fn/schedules`."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from libs.messages import jobs
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response, seconds
from services.gateway.routing.index import DEFAULT_LABEL


def listing(plane: Plane) -> Handler:
    """Return the endpoint that lists all schedules, and the calls that keep functions warm, and what became of them."""

    async def endpoint(_: Request) -> Response:
        views = await plane.ask_scheduler("schedules", jobs.ScheduleList(), jobs.ScheduleViews)
        own = [_schedule(view) for view in views.schedules if view.keep_warm is None]
        pings = [_keep_warm(view) for view in views.schedules if view.keep_warm is not None]
        return json_response({"ts": int(time.time()), "schedules": own, "keep_warm": pings})

    return endpoint


def _schedule(view: jobs.ScheduleView) -> dict[str, Any]:
    return _heading(view) | {"schedule": view.schedule, "state": state_of(view)}


def state_of(view: jobs.ScheduleView) -> dict[str, Any]:
    """Return what became of a schedule so far."""
    return _state(view) | {"retry_due": seconds(view.retry_due), "retry_attempt": view.retry_attempt or None}


def _keep_warm(view: jobs.ScheduleView) -> dict[str, Any]:
    warm = view.last_at is not None and not view.last_error
    state = {"warm_state": "warm" if warm else "cold", "warm_at": seconds(view.last_at) if warm else None}
    return _heading(view) | {"keep_warm": view.keep_warm, "state": state | _state(view)}


def _heading(view: jobs.ScheduleView) -> dict[str, Any]:
    return {
        "runtime": view.runtime,
        "name": view.function,
        **({"version": view.version} if view.version != DEFAULT_LABEL else {}),
        "key": f"{view.runtime}/{view.function}@{view.version}",
    }


def _state(view: jobs.ScheduleView) -> dict[str, Any]:
    return {
        "next": seconds(view.next_at),
        "last": seconds(view.last_at),
        "last_status": view.last_status or None,
        "last_error": view.last_error or None,
    }
