"""How a function's answers meet the web: what may be fetched for it, and which other sites' pages may call it."""

from libs.messages.codec import record


@record()
class Edge:
    """Where the gateway may fetch from when a handler answers with `proxy` (FastFN contract 2.4)."""

    base_url: str = ""
    """What a `path` is put behind; empty: only whole URLs."""
    allow_hosts: tuple[str, ...] = ()
    """Exact names, `*.example.com`, or `host:port`; empty: the base URL's host, or any public one when there is no base URL."""
    allow_private: bool = False
    """Whether private networks and the gateway's own machine may be reached."""
    max_response_bytes: int = 2 * 1024 * 1024


@record()
class Cors:
    """Which pages of other origins may call a function from a browser, and how."""

    allow_origins: tuple[str, ...]
    """`https://app.example.com`, `https://*.example.com`, or `*` for all."""
    allow_methods: tuple[str, ...] = ()
    """Empty: the route's own."""
    allow_headers: tuple[str, ...] = ()
    """`*` or empty: those that the browser asks for."""
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    """Whether cookies and other credentials may be sent along."""
    max_age: int = 600
    """Seconds for which a browser may remember the answer to its preflight."""
