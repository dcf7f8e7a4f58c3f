"""`GET /_fn/health` and `GET /_fn/catalog`.

Health costs the same however many functions there are: it counts, and lists only functions that this gateway has called.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from libs.messages.calls import Heartbeat
from libs.messages.catalog import Policy
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response, millis
from services.gateway.dialects.fastfn.shown import Shown
from services.gateway.dialects.fastfn.states import States
from services.gateway.guard.gate import caller_of
from services.gateway.routing.index import RUNTIME_ORDER

_DEFAULTS = Policy()


def health(plane: Plane) -> Handler:
    """Return the endpoint that tells how things are: 200 as soon as calls can be taken, 503 before."""
    states = States(plane.catalogue)

    async def endpoint(request: Request) -> Response:
        table = plane.catalogue.table
        alive = plane.alive()
        missing = plane.missing() or ("" if alive else "no executor is there")
        runtimes = runtimes_of(alive)
        content: dict[str, Any] = {
            **_heading(plane),
            # Everybody may ask for health, and it is nobody else's business where things lie on this machine.
            **({} if caller_of(request.scope).local else {"functions_root": ""}),
            "socket_base_dir": "",
            "hot_reload": _hot_reload(plane),
            "routing": {"mapped_routes": len(table) - len(table.conflicts), "mapped_route_conflicts": len(table.conflicts)},
            "functions": states.shown(),
            "runtimes": runtimes,
            "executors": [_executor(each) for each in alive],
            "bus": {"connected": plane.bus.connected},
            "status": missing or "ok",
        }
        # The reference shows the runtimes at the top, FastFN itself under `runtimes`: both readings hold (decision 8).
        return json_response(runtimes | content, 503 if missing else 200)

    return endpoint


def catalog(plane: Plane) -> Handler:
    """Return the endpoint that shows every route and function, and what does not work as written."""
    shown = Shown(plane.catalogue)

    async def endpoint(_: Request) -> Response:
        meta = plane.catalogue.meta
        shown.refresh()
        runtimes = runtimes_of(plane.alive())
        for name in shown.functions.keys() - runtimes.keys():
            runtimes[name] = runtime_of(())
        content = {
            "generated_at": millis(meta.generated_at) if meta else None,
            **_heading(plane),
            "mapped_routes": shown.routes,
            "mapped_route_conflicts": shown.conflicts,
            "runtimes": {name: runtime | {"functions": shown.functions.get(name, [])} for name, runtime in runtimes.items()},
            "problems": shown.problems,
        }
        return json_response(content)

    return endpoint


def _heading(plane: Plane) -> dict[str, Any]:
    meta = plane.catalogue.meta
    defaults = meta.defaults if meta else _DEFAULTS
    return {
        "config_loaded_at": millis(meta.generated_at) if meta else None,
        "defaults": {
            "timeout_ms": defaults.timeout_ms,
            "max_concurrency": defaults.max_concurrency,
            "max_body_bytes": defaults.max_body_bytes,
        },
        "functions_root": meta.functions_root if meta else "",
        "runtime_order": list(plane.catalogue.runtime_order),
    }


def _hot_reload(plane: Plane) -> dict[str, Any]:
    """Return who looks for changed files, and when the catalogue last had some."""
    scanned = millis(plane.catalogue.meta.generated_at) if plane.catalogue.meta else None
    watchdog = {"enabled": True, "active": True, "backend": "registry", "last_scan_at": scanned, "error": None}
    return {"enabled": True, "last_catalog_scan_at": scanned, "watchdog": watchdog}


def runtimes_of(alive: list[Heartbeat]) -> dict[str, Any]:
    """Return the runtimes that these executors have."""
    names = sorted({name for each in alive for name in each.runtimes}, key=lambda name: (*RUNTIME_ORDER, name).index(name))
    return {name: runtime_of([each for each in alive if name in each.runtimes]) for name in names}


def runtime_of(executors: "list[Heartbeat] | tuple[()]") -> dict[str, Any]:
    """Return a runtime as these executors have it."""
    up = bool(executors)
    sockets = [
        {"index": at, "uri": f"executor:{each.executor}", "up": True, "reason": "ok"}
        for at, each in enumerate(executors, start=1)
    ]
    return {
        "socket": sockets[0]["uri"] if sockets else "",
        "sockets": sockets,
        "routing": "queue_group",
        "timeout_ms": _DEFAULTS.timeout_ms,
        "health": {"up": up, "reason": "ok" if up else "no executor"},
    }


def _executor(each: Heartbeat) -> dict[str, Any]:
    return {
        "id": each.executor,
        "runtimes": list(each.runtimes),
        "isolation": each.isolation,
        "workers": each.workers,
        "busy": each.busy,
        "waiting": each.waiting,
        "limit": each.limit,
    }
