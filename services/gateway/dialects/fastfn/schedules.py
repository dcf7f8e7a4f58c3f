"""`GET /_fn/schedules` (contract 2.9)."""

import time

from starlette.requests import Request
from starlette.responses import Response

from libs.bus import rpc
from libs.messages import jobs, subjects
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response, seconds
from services.gateway.routing.index import DEFAULT_LABEL


def listing(plane: Plane) -> Handler:
    """Return the endpoint that lists all schedules and what became of them."""

    async def endpoint(_: Request) -> Response:
        views = await rpc.call(plane.bus, subjects.rpc("scheduler", "schedules"), jobs.ScheduleList(), jobs.ScheduleViews)
        shown = [
            {
                "runtime": view.runtime,
                "name": view.function,
                **({"version": view.version} if view.version != DEFAULT_LABEL else {}),
                "key": f"{view.runtime}/{view.function}@{view.version}",
                "schedule": view.schedule,
                "state": {
                    "next": seconds(view.next_at),
                    "last": seconds(view.last_at),
                    "last_status": view.last_status or None,
                    "last_error": view.last_error or None,
                    "retry_due": seconds(view.retry_due),
                    "retry_attempt": view.retry_attempt or None,
                },
            }
            for view in views.schedules
        ]
        return json_response({"ts": int(time.time()), "schedules": shown, "keep_warm": []})

    return endpoint
