"""The records of the catalogue: what the registry projects and gateways, executors and schedulers follow."""

from dataclasses import field
from datetime import datetime
from typing import Any

from libs.messages.codec import record
from libs.messages.web import Assets, Cors, Edge, Home


@record()
class WorkerPoolPolicy:
    """How many workers a function may have and how calls queue for them."""

    enabled: bool = True
    min_warm: int = 0
    max_workers: int = 0
    """0: `max_concurrency` counts."""
    max_queue: int = 0
    idle_ttl_seconds: int = 300
    queue_timeout_ms: int = 0
    queue_poll_ms: int = 20
    overflow_status: int = 429


@record()
class KeepWarm:
    """How many workers of a function stay although nobody calls it."""

    enabled: bool = False
    min_warm: int = 1
    ping_every_seconds: int = 45
    idle_ttl_seconds: int = 300


@record()
class Limits:
    """What one worker of a version may use. A worker beyond one of these is ended, and the call's failure names it."""

    memory_mb: int = 128
    """Memory of its own (not shared with other processes), of all its processes together; 64 to 1024."""
    cpu_ms: int = 0
    """Processor time of one call; 0: only the deadline counts."""
    processes: int = 128
    """Processes and threads at once."""
    open_files: int = 1024
    """Descriptors of one process."""
    disk_mb: int = 64
    """Size of its `/tmp`, which counts as memory while it is filled."""
    max_response_bytes: int = 0
    """Size of one answer; 0: the platform's cap."""


@record()
class Permissions:
    """What the code of a version may do."""

    network: bool = True
    """Whether it reaches the network at all."""
    hosts: tuple[str, ...] = ()
    """When not empty, the only hosts that it reaches (by HTTP and HTTPS): `api.example.com`, `*.example.com`, `host:port`."""
    local: bool = False
    """Whether the network that it reaches includes the executor's own machine: its loopback and link-local addresses."""
    write: bool = False
    """Whether it may write to its own folder: to a copy that ends with the worker."""
    env: bool = True
    """Whether it sees its environment values."""
    run: bool = True
    """Whether it may start programs."""


@record()
class Resolution:
    """What came of a version's dependencies."""

    state: str = "none"
    """`none`: nothing to build; `pending`: under way; `ok`; `error`."""
    mode: str = "manifest"
    """`manifest`, or `inferred` from imports."""
    manifest: str = ""
    """Path of the manifest inside the bundle."""
    tool: str = ""
    """Name and version of what installed."""
    message: str = ""
    """For `error`: the last lines of the tool."""
    resolved: tuple[str, ...] = ()
    """What was installed, `name==version` each, as far as the tool tells."""
    duration_ms: int = 0
    imports: tuple[str, ...] = ()
    """For `inferred`: what the code imports from outside, sorted."""
    unresolved: tuple[str, ...] = ()
    """Those of which nobody knows the package."""
    generated: bool = False
    """Whether the manifest was made from imports."""
    infer_ms: int = 0
    """How long it took to look at the imports."""


@record()
class Policy:
    """A version's limits and what its public routes accept."""

    timeout_ms: int = 2500
    max_concurrency: int = 20
    """Calls at once; 0: no limit."""
    max_body_bytes: int = 1_048_576
    include_debug_headers: bool = False
    methods: tuple[str, ...] = ("GET",)
    worker_pool: WorkerPoolPolicy = WorkerPoolPolicy()
    keep_warm: KeepWarm = KeepWarm()
    edge: Edge | None = None
    """None: the gateway fetches nothing for it."""
    cors: Cors | None = None
    """None: browsers keep pages of other origins from reading its answers."""


@record()
class Retry:
    """How a scheduled run is tried again."""

    max_attempts: int = 3
    base_delay_seconds: float = 1.0
    max_delay_seconds: float = 30.0
    jitter: float = 0.2


@record()
class Schedule:
    """When a function fires by itself and with which request. Either `every_seconds` or `cron` is set."""

    enabled: bool = True
    every_seconds: int = 0
    cron: str = ""
    timezone: str = "UTC"
    """IANA name, `UTC`, `Z`, `local`, or a fixed offset `+HH:MM`."""
    method: str = "GET"
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    body: str = ""
    context: dict[str, Any] = field(default_factory=dict)
    retry: Retry | None = None


@record()
class Interface:
    """What is told of a version to those who call it: a line, examples, and what requests are held to.

    Examples and schemas are JSON text, so that nothing on their way has to understand them. Empty: nothing is said.
    """

    summary: str = ""
    default_method: str = ""
    """The method that examples use."""
    query: str = ""
    """Object: an example of each query parameter."""
    body: str = ""
    """An example of a body; a body that is no JSON is a string."""
    content_type: str = ""
    query_schema: str = ""
    """JSON Schema that the query, as an object, has to meet."""
    body_schema: str = ""
    """JSON Schema that a body has to meet, parsed as JSON."""
    params: str = ""
    """Object: a JSON Schema of path parameters, by name; told only, for they reach the handler as text."""


@record()
class VersionEntry:
    """An immutable version of a function: its code, how to start it, and its sealed environment."""

    label: str
    """`default`, or what follows `@` in a pinned call."""
    digest: str
    """sha-256 (hex) of everything that a worker holds: bundle, entry, handler, style, sealed environment."""
    bundle: str
    """sha-256 (hex) of the bundle, its key in the bundle store."""
    entrypoint: str
    """Path of the entry file inside the bundle."""
    handler: str = "handler"
    handler_style: str = "auto"
    """What the handler takes and returns: `native`, `fetch`, `fluxbase`, `aws-lambda`, `cloudflare-worker`, `asgi`, `wsgi`;
    `auto`: the guest tells by what the code exports."""
    env_sealed: bytes = b""
    """Environment as sealed JSON object of text values; empty when there is none."""
    secret_env: tuple[str, ...] = ()
    """Names of its environment values that are secret, sorted: they are in `event.secrets` as well."""
    secret_names: tuple[str, ...] = ()
    """Names of the namespace's secrets that it asks for, sorted."""
    secrets: dict[str, bytes] = field(default_factory=dict)
    """Those of them, and of `secret_env`, that there are: each sealed for itself, by name."""
    policy: Policy
    schedule: Schedule | None = None
    limits: Limits = Limits()
    permissions: Permissions = Permissions()
    settings: str = ""
    """sha-256 (hex) of what its own config says and which values its environment has: what changes, is another revision."""
    layer: str = ""
    """Key, in the layer store, of what was built for it; empty when there is nothing, or not yet."""
    layer_mount: str = ""
    """Where the layer's files lie below the code's root: `node_modules`, `.deps`, `vendor` …"""
    resolution: Resolution = Resolution()
    interface: Interface = Interface()
    sealed_for: str = ""
    """Label under which its environment was sealed; empty: its own."""


@record()
class RouteEntry:
    """A public URL pattern of a function."""

    pattern: str
    """Normalised: `/a/b`, `:name` one segment, `:name*` one or more, `*` one or more under the name `wildcard`."""
    methods: tuple[str, ...]
    version: str = "default"
    hosts: tuple[str, ...] = ()
    """Exact names or `*.example.com`; empty: all."""
    rank: int = 1
    """1 file, 2 `fn.routes.json`, 3 function directory or config."""
    force_url: bool = False


@record()
class Pin:
    """A label that was rolled back: it has another version than its source gives, until the source gives a new one."""

    held: VersionEntry
    """What the source gives for the label, held back."""
    since: datetime
    by: str = ""
    """Who rolled it back."""


@record()
class Share:
    """A part of an alias's calls."""

    version: str
    """Label of the version that gets them: one of the function's own, or of `FunctionEntry.kept`."""
    weight: int = 100
    """How many of them, beside the weights of the other shares."""


@record()
class Alias:
    """A label that leads to versions: `/<name>@<alias>`. One named like a version's label says where its calls go."""

    name: str
    shares: tuple[Share, ...]
    """More than one: each call goes to one of them by weight."""


@record()
class FunctionEntry:
    """A function as the other services see it."""

    namespace: str
    runtime: str
    name: str
    revision: int
    """Rises with each change."""
    source: str
    """Where its files are: `folder`, a functions folder, or `api`, the registry's store."""
    versions: tuple[VersionEntry, ...]
    routes: tuple[RouteEntry, ...] = ()
    """Only the routes that won: conflicts are in `CatalogMeta`."""
    file_route: bool = False
    """A single file that is a route (shown under `mapped_routes` only)."""
    pins: tuple[Pin, ...] = ()
    """Labels that were rolled back, sorted."""
    aliases: tuple[Alias, ...] = ()
    """Sorted by name."""
    kept: tuple[VersionEntry, ...] = ()
    """Versions that have no label of the source's and that aliases lead to; labelled by the start of their digest. Sorted."""

    @property
    def runnable(self) -> tuple[VersionEntry, ...]:
        """All versions that may be called."""
        return self.versions + self.kept if self.kept else self.versions

    def alias(self, name: str) -> Alias | None:
        """Return the alias of that name."""
        return next((alias for alias in self.aliases if alias.name == name), None) if self.aliases else None

    def version(self, label: str) -> VersionEntry | None:
        """Return the version that has a label itself, whatever aliases say."""
        return next((version for version in self.runnable if version.label == label), None)


@record()
class Problem:
    """Something in a functions folder that does not work as written, said so that it can be mended."""

    path: str
    """File or folder, relative to the functions root."""
    message: str


@record()
class CatalogMeta:
    """What concerns all functions of the catalogue."""

    generated_at: datetime
    functions_root: str = ""
    functions: int = 0
    """How many functions the catalogue holds when it is complete."""
    conflicts: tuple[str, ...] = ()
    """Route patterns with more than one owner: every request to them is 409."""
    problems: tuple[Problem, ...] = ()
    defaults: Policy = Policy()
    """What holds where no config says anything."""
    homes: tuple[Home, ...] = ()
    """What `/` and the URLs of folders lead to where no function has them."""
    assets: Assets | None = None


@record()
class BundleFile:
    """One file of a bundle."""

    path: str
    """Relative, `/`-separated, no `..`."""
    data: bytes
    executable: bool = False


@record()
class Bundle:
    """A function's code as it lies in the object store. Its key is `bundle_digest` of it."""

    files: tuple[BundleFile, ...]
    """Sorted by path."""
