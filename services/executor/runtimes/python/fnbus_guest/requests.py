"""What the styles of the web want to know of a request and its head does not say outright."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def scheme_of(head: dict[str, Any]) -> str:
    """Return `http` or `https`, by what the proxy in front of the gateway said."""
    said = head["headers"].get("x-forwarded-proto", "")
    scheme = (said if isinstance(said, str) else said[0]).partition(",")[0].strip().lower()
    return scheme if scheme in ("http", "https") else "http"


def host_of(head: dict[str, Any]) -> str:
    """Return the name, and the port if any, that the caller used."""
    host = head["headers"].get("host") or "localhost"
    return host if isinstance(host, str) else host[0]


def url_of(head: dict[str, Any]) -> str:
    """Return the whole URL of a request."""
    return f"{scheme_of(head)}://{host_of(head)}{head['raw_path']}"


def server_of(head: dict[str, Any]) -> tuple[str, int]:
    """Return name and port of the server that the caller spoke to."""
    name, colon, port = host_of(head).rpartition(":")
    if colon and port.isdigit():
        return name, int(port)
    return host_of(head), 443 if scheme_of(head) == "https" else 80


def header_pairs(head: dict[str, Any]) -> list[tuple[str, str]]:
    """Return all headers, a repeated one several times."""
    pairs: list[tuple[str, str]] = []
    for name, value in head["headers"].items():
        pairs += [(name, each) for each in (value if isinstance(value, list) else (value,))]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return pairs


def mount_of(head: dict[str, Any]) -> str:
    """Return the path that an application is mounted at: what comes before the wildcard of its route, or its own name.

    Behind a route that is neither, it is mounted at the root and sees whole paths.
    """
    path: str = head["path"]
    below = head["params"].get("wildcard")
    if below and path.endswith("/" + below):
        return path[: -len(below) - 1]
    name = "/" + head["context"]["function_name"]
    return name if path == name or path.startswith(name + "/") else ""
