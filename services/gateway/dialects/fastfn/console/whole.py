"""What concerns all functions: `/_fn/reload`, `/_fn/packs`, `/_fn/api/functions`."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from libs.messages.functions import ListPacks, Pack, Packs, Reload, Reloaded
from services.gateway.dialects.fastfn.console import asking
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response, millis
from services.gateway.dialects.fastfn.shown import function_of
from services.gateway.routing.index import RUNTIME_ORDER


def reload(plane: Plane) -> Handler:
    """Return the endpoint that has everything looked at anew."""

    async def endpoint(_: Request) -> Response:
        found = await asking.ask(plane, "reload", Reload(), Reloaded)
        return json_response(
            {
                "ok": True,
                "reloaded_at": millis(found.at),
                "functions_root": found.functions_root,
                "runtime_order": list(RUNTIME_ORDER),
                "catalog_generated_at": millis(found.generated_at),
            }
        )

    return endpoint


def packs(plane: Plane) -> Handler:
    """Return the endpoint that lists the dependency packs that functions may share."""

    async def endpoint(_: Request) -> Response:
        found = await asking.ask(plane, "packs", ListPacks(), Packs)
        runtimes: dict[str, Any] = {runtime: {"packs": []} for runtime in RUNTIME_ORDER}
        for pack in found.packs:
            runtimes.setdefault(pack.runtime, {"packs": []})["packs"].append(_pack(pack))
        return json_response(
            {
                "generated_at": int(time.time() * 1000),
                "packs_root": found.packs_root,
                "runtimes": runtimes,
            }
        )

    return endpoint


def functions(plane: Plane) -> Handler:
    """Return the endpoint that lists all functions of the catalogue, flat."""

    async def endpoint(_: Request) -> Response:
        found = [function for function in plane.catalogue.table.names.functions() if not function.file_route]
        found.sort(key=lambda function: (function.name, function.runtime))
        return json_response([{"runtime": function.runtime, **function_of(function)} for function in found])

    return endpoint


def _pack(pack: Pack) -> dict[str, Any]:
    if pack.runtime == "python":
        more = {"requirements_txt": pack.manifest or None, "deps_dir": None}
    else:
        more = {"package_json": pack.manifest or None, "lock_file": pack.lock or None, "node_modules": None}
    return {"name": pack.name, "dir": pack.dir, **more}
