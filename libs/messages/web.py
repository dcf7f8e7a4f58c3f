"""How functions meet the web: what may be fetched for them, whose pages may call them, home pages and static files."""

from libs.messages.codec import record


@record()
class Edge:
    """Where the gateway may fetch from when a handler answers with `proxy`."""

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


@record()
class Home:
    """What a folder's URL leads to where no function has it."""

    path: str
    """`/`, or the URL of the folder."""
    target: str = ""
    """A path of a route (`/users/me`), or a function's name."""
    redirect: str = ""
    """Where the caller is sent instead."""


@record()
class Assets:
    """The static files of a functions folder."""

    index: str
    """Key, in the store of assets, of their `AssetIndex`: sha-256 (hex) of its bytes."""
    single_page: bool = False
    """Whether `index.html` answers for pages that are not there."""
    functions_first: bool = False
    """Whether a function goes before a file of the same path."""


@record()
class AssetFile:
    """One static file."""

    path: str
    """Below the assets folder, `/` between the parts."""
    digest: str
    """sha-256 (hex) of its bytes: its key in the store; empty when it is too large for that."""
    size: int
    modified: int
    """Seconds since 1970."""


@record()
class AssetIndex:
    """All static files of a functions folder, as it lies in the store of assets."""

    files: tuple[AssetFile, ...]
    """Sorted by path."""
