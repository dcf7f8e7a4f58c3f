"""The table of the console API's endpoints for functions."""

from collections.abc import Mapping

from services.gateway.dialects.fastfn.console import files, functions, trees, whole
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler


def endpoints(plane: Plane) -> Mapping[str, dict[str, Handler]]:
    """Return the endpoints by path, then method."""
    reload = whole.reload(plane)
    return {
        "/_fn/function": {"GET": functions.detail(plane), "POST": functions.create(plane), "DELETE": functions.delete(plane)},
        "/_fn/function-config": {"GET": functions.config(plane), "PUT": functions.set_config(plane)},
        "/_fn/function-env": {"GET": functions.env(plane), "PUT": functions.set_env(plane)},
        "/_fn/function-code": {"PUT": functions.set_code(plane)},
        "/_fn/function-files": {"GET": files.listing(plane)},
        "/_fn/function-file-content": {"GET": files.content(plane), "PUT": files.put(plane), "DELETE": files.remove(plane)},
        "/_fn/files": {"GET": trees.listing(plane), "PUT": trees.change(plane)},
        "/_fn/reload": {"GET": reload, "POST": reload},
        "/_fn/packs": {"GET": whole.packs(plane)},
        "/_fn/api/functions": {"GET": whole.functions(plane)},
    }
