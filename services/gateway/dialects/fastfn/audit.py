"""`GET /_fn/audit`: who changed what, newest first."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from libs.messages import audit
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response, millis, number

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 500


def listing(plane: Plane) -> Handler:
    """Return the endpoint that lists audit records.

    `function` says of which one, `before` is the `next` of the page before.
    """

    async def endpoint(request: Request) -> Response:
        ask = audit.AuditList(
            function=request.query_params.get("function", ""),
            limit=number(request, "limit", default=_DEFAULT_LIMIT, most=_MAX_LIMIT),
            before=request.query_params.get("before", ""),
        )
        page = await plane.ask_registry("audit", ask, audit.AuditPage)
        return json_response({"records": [_shape(each) for each in page.records], "next": page.next or None})

    return endpoint


def _shape(each: audit.AuditRecord) -> dict[str, Any]:
    return {
        "id": each.id,
        "at_ms": millis(each.at),
        "principal": each.actor.principal,
        "ip": each.actor.ip or None,
        "request_id": each.actor.request_id or None,
        "action": each.action,
        "runtime": each.runtime or None,
        "name": each.function or None,
        "subject": each.subject or None,
        "before": each.before,
        "after": each.after,
        "changed": list(each.changed),
    }
