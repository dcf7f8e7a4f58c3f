"""`fn.config.json` and `fn.routes.json`, parsed. Pure: text to typed records and problems.

A field that is wrong is named in a problem and left at None, so that the function keeps the default and stays live.
"""

import hashlib
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import PurePosixPath
from typing import cast

from libs import runtime_names
from libs.messages import catalog
from libs.messages.web import Cors, Edge, Home
from services.registry.source import bounds, interfaces, patterns, reading, schedules, web
from services.registry.source.bounds import Bounds
from services.registry.source.patterns import METHODS
from services.registry.source.reading import Reader
from services.registry.source.web import AssetsSaid

NAME = re.compile(r"[a-zA-Z0-9_-]+(?:/[a-zA-Z0-9_-]+)*")
"""What a function may be called."""
MAX_NAME = 200

_HANDLER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9_.:\[\]-]{1,198}")
_SECRET = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_MOST_SECRETS = 64
_PACK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_LONGEST_GROUP = 80
_STYLES = {
    **{style: style for style in ("auto", "native", "fetch", "fluxbase", "asgi", "wsgi")},
    **dict.fromkeys(("aws-lambda", "lambda", "apigw-v2", "api-gateway-v2"), "aws-lambda"),
    **dict.fromkeys(("cloudflare-worker", "cloudflare-workers", "worker", "workers"), "cloudflare-worker"),
}
_FORCE = ("force-url", "force_url", "forceUrl")
_KNOWN = frozenset({
    "runtime", "name", "entrypoint", "group", "timeout_ms", "max_concurrency", "max_body_bytes", "include_debug_headers",
    "response", "invoke", "schedule", "keep_warm", "worker_pool", "shared_deps", "edge", "cors", "home", "assets",
    "zero_config", "discovery", "routing", "zero_config_ignore_dirs", "strict_fs", "methods", "routes", "route", "permissions",
    "secrets",
    *bounds.LIMITS, *_FORCE,
})  # fmt: skip
_KNOWN_INVOKE = frozenset({
    "methods", "routes", "route", "allow_hosts", "handler", "adapter", *interfaces.FIELDS, *_FORCE,
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What an `fn.config.json` says; None where it says nothing, or nothing that can be used."""

    runtime: str | None = None
    name: str | None = None
    entrypoint: str | None = None
    routes: tuple[str, ...] | None = None
    """Patterns of `invoke.routes`, normalised."""
    schedule: catalog.Schedule | None = None
    schedule_file: str = ""
    """`schedule.file`: which of a folder's files fires."""
    ignore_dirs: tuple[str, ...] = ()
    home: Home | None = None
    assets: AssetsSaid | None = None
    timeout_ms: int | None = None
    max_concurrency: int | None = None
    max_body_bytes: int | None = None
    include_debug_headers: bool | None = None
    methods: tuple[str, ...] | None = None
    allow_hosts: tuple[str, ...] | None = None
    force_url: bool | None = None
    handler: str | None = None
    handler_style: str | None = None
    worker_pool: catalog.WorkerPoolPolicy | None = None
    keep_warm: catalog.KeepWarm | None = None
    edge: Edge | None = None
    cors: Cors | None = None
    secrets: tuple[str, ...] | None = None
    """Names of the secrets that handlers get."""
    shared_deps: tuple[str, ...] | None = None
    """Names of dependency packs."""
    bounds: Bounds = field(default_factory=Bounds)
    """Limits and permissions."""
    interface: catalog.Interface = field(default_factory=catalog.Interface)
    """What is told to callers."""
    digest: str = ""
    """sha-256 (hex) of the file."""
    problems: tuple[catalog.Problem, ...] = ()

    @property
    def names_function(self) -> bool:
        """Whether the folder says of itself that it is a function, rather than a policy for what lies below."""
        return any((self.runtime, self.name, self.entrypoint, self.routes))

    def below(self, parent: "Config") -> "Config":
        """Return what holds in this config's folder: its own policy, and field by field its parent's where it has none."""
        taken_over = {name: getattr(parent, name) for name in _POLICY if getattr(self, name) is None}
        interface = interfaces.over(self.interface, parent.interface)
        return replace(self, bounds=self.bounds.below(parent.bounds), interface=interface, **taken_over)


_OWN = frozenset({
    "runtime", "name", "entrypoint", "routes", "schedule", "schedule_file", "ignore_dirs", "home", "assets", "bounds",
    "interface", "digest", "problems",
})  # fmt: skip
_POLICY = tuple(each.name for each in fields(Config) if each.name not in _OWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRoute:
    """One line of an `fn.routes.json`."""

    pattern: str
    methods: tuple[str, ...]
    target: str
    """Path of the file, relative to the manifest's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an `fn.routes.json` says."""

    routes: tuple[ManifestRoute, ...] = ()
    problems: tuple[catalog.Problem, ...] = ()


def parse_config(path: str, data: bytes) -> Config:
    """Return what an `fn.config.json` says; never raises."""
    problems: list[catalog.Problem] = []
    config = Reader(path, reading.read_object(path, data, problems), problems=problems)
    config.warn_unknown(_KNOWN)
    invoke = config.section("invoke")
    invoke.warn_unknown(_KNOWN_INVOKE)
    schedule, schedule_file = schedules.parse_schedule(config)
    _check_group(config)
    debug = (config.flag("include_debug_headers"), config.section("response").flag("include_debug_headers"))
    return Config(
        runtime=_parse_runtime(config),
        name=_parse_name(config),
        entrypoint=_parse_entrypoint(config),
        routes=_parse_routes(invoke if invoke.value("routes", "route") is not None else config),
        schedule=schedule,
        schedule_file=schedule_file,
        ignore_dirs=_parse_ignored(config),
        timeout_ms=config.integer("timeout_ms", minimum=1, rule="must be > 0"),
        max_concurrency=config.integer("max_concurrency", minimum=0, rule="must be >= 0"),
        max_body_bytes=config.integer("max_body_bytes", minimum=1, rule="must be > 0"),
        include_debug_headers=None if debug == (None, None) else any(debug),
        methods=_parse_methods(invoke if invoke.value("methods") is not None else config),
        allow_hosts=_parse_hosts(invoke),
        force_url=_parse_force(config, invoke),
        handler=_parse_handler(invoke),
        handler_style=_parse_style(invoke),
        worker_pool=_parse_pool(config),
        keep_warm=bounds.parse_keep_warm(config),
        home=web.parse_home(config),
        assets=web.parse_assets(config),
        edge=web.parse_edge(config),
        cors=web.parse_cors(config),
        secrets=_parse_secrets(config),
        shared_deps=_parse_packs(config),
        bounds=bounds.parse_bounds(config),
        interface=interfaces.parse_interface(invoke),
        digest=hashlib.sha256(data).hexdigest(),
        problems=tuple(problems),
    )


def parse_manifest(path: str, data: bytes) -> Manifest:
    """Return what an `fn.routes.json` says; never raises."""
    problems: list[catalog.Problem] = []
    manifest = Reader(path, reading.read_object(path, data, problems), problems=problems)
    manifest.warn_unknown(("routes",))
    entries = manifest.value("routes")
    if entries is not None and not isinstance(entries, dict):
        manifest.refuse("routes", "must be an object")
    routes: list[ManifestRoute] = []
    for key, target in cast("dict[str, object]", entries).items() if isinstance(entries, dict) else ():
        try:
            routes.append(_parse_manifest_route(key, target))
        except patterns.UnfitNameError as error:
            manifest.say(f"routes: {key!r}: {error}")
    return Manifest(routes=tuple(routes), problems=tuple(problems))


def safe_path(text: str) -> str | None:
    """Return a relative path in its normal form; None when it leads out of its folder."""
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in text:
        return None
    return str(path)


def _parse_manifest_route(key: str, target: object) -> ManifestRoute:
    methods_text, _, route = key.strip().rpartition(" ")
    methods = tuple(method.strip().upper() for method in methods_text.split(",") if method.strip()) or ("GET",)
    if not set(methods) <= set(METHODS):
        raise patterns.UnfitNameError(f"the methods must be of {', '.join(METHODS)}")
    path = safe_path(target) if isinstance(target, str) else None
    if path is None:
        raise patterns.UnfitNameError("the target must be the path of a file below this folder")
    return ManifestRoute(pattern=patterns.parse_route(route), methods=in_order(methods), target=path)


def in_order(methods: tuple[str, ...] | set[str]) -> tuple[str, ...]:
    """Return methods once each, in the order in which they are shown."""
    return tuple(method for method in METHODS if method in methods)


def _check_group(config: Reader) -> None:
    """Say what is wrong with what only the console shows."""
    group = config.value("group")
    if group is not None and not (isinstance(group, str) and len(group) <= _LONGEST_GROUP):
        config.refuse("group", f"must be a string of at most {_LONGEST_GROUP} characters")


def _parse_runtime(config: Reader) -> str | None:
    runtime = config.text("runtime")
    known = runtime_names.known()
    if runtime is None or runtime.lower() in known:
        return runtime and runtime.lower()
    later = " (not supported yet)" if runtime.lower() in patterns.LATER else ""
    config.refuse("runtime", f"must be one of {', '.join(known)}, not {runtime}{later}")
    return None


def _parse_name(config: Reader) -> str | None:
    name = config.text("name")
    if name is None or (NAME.fullmatch(name) and len(name) <= MAX_NAME):
        return name
    config.refuse("name", "must match ^[a-zA-Z0-9_/-]+$")
    return None


def _parse_entrypoint(config: Reader) -> str | None:
    text = config.text("entrypoint")
    if text is None:
        return None
    path = safe_path(text)
    if path is None:
        config.refuse("entrypoint", "must be a relative path without ..")
    return path


def _parse_routes(reader: Reader) -> tuple[str, ...] | None:
    rule = "must contain valid URL paths (absolute, non-reserved)"
    texts = reader.texts("routes", "route", rule=rule)
    found: list[str] = []
    for text in texts or ():
        try:
            found.append(patterns.parse_route(text))
        except patterns.UnfitNameError as error:
            reader.say(f"invoke.routes {rule}: {error}")
    return tuple(dict.fromkeys(found)) or None


def _parse_methods(reader: Reader) -> tuple[str, ...] | None:
    rule = f"must be a list of {', '.join(METHODS)}"
    texts = reader.texts("methods", rule=rule)
    if texts is None:
        return None
    methods = {text.upper() for text in texts}
    if not methods or not methods <= set(METHODS):
        reader.refuse("methods", rule)
        return None
    return in_order(methods)


def _parse_hosts(invoke: Reader) -> tuple[str, ...] | None:
    rule = "must be an array of host strings or null"
    texts = invoke.texts("allow_hosts", rule=rule)
    if texts is None:
        return None
    hosts = tuple(sorted({text.lower() for text in texts}))
    if not all(_HOST.fullmatch(host) for host in hosts):
        invoke.refuse("allow_hosts", rule)
        return None
    return hosts


def _parse_secrets(config: Reader) -> tuple[str, ...] | None:
    rule = "must be an array of names of secrets"
    names = config.texts("secrets", rule=rule)
    if names is None:
        return None
    if len(names) > _MOST_SECRETS or not all(_SECRET.fullmatch(name) for name in names):
        config.refuse("secrets", rule)
        return None
    return tuple(sorted(set(names)))


def _parse_force(config: Reader, invoke: Reader) -> bool | None:
    nested = invoke.flag(*_FORCE)
    return config.flag(*_FORCE) if nested is None else nested


def _parse_handler(invoke: Reader) -> str | None:
    handler = invoke.text("handler")
    if handler is None or _HANDLER.fullmatch(handler):
        return handler
    invoke.refuse("handler", "must match ^[A-Za-z_][A-Za-z0-9_]*$")
    return None


def _parse_style(invoke: Reader) -> str | None:
    adapter = invoke.text("adapter")
    if adapter is None:
        return None
    style = _STYLES.get(adapter.lower())
    if style is None:
        invoke.refuse("adapter", f"must be one of {', '.join(dict.fromkeys(_STYLES.values()))}")
    return style


def _parse_pool(config: Reader) -> catalog.WorkerPoolPolicy | None:
    if config.value("worker_pool") is None:
        return None
    pool = config.section("worker_pool")
    default = catalog.WorkerPoolPolicy()
    pool.warn_unknown(each.name for each in fields(default))

    def count(name: str, maximum: int = reading.LARGEST) -> int:
        value = pool.integer(name, minimum=0, rule="must be >= 0", maximum=maximum)
        return cast("int", getattr(default, name)) if value is None else value

    enabled = pool.flag("enabled") is not False
    if not enabled and pool.value("max_workers", "max_queue") is None:
        return None
    overflow = pool.value("overflow_status")
    if overflow not in (None, 429, 503):
        pool.refuse("overflow_status", "must be 429 or 503")
        overflow = None
    max_workers = count("max_workers")
    min_warm = count("min_warm")
    return catalog.WorkerPoolPolicy(
        enabled=enabled,
        min_warm=min(min_warm, max_workers) if max_workers else min_warm,
        max_workers=max_workers,
        max_queue=count("max_queue"),
        idle_ttl_seconds=count("idle_ttl_seconds"),
        queue_timeout_ms=count("queue_timeout_ms"),
        queue_poll_ms=count("queue_poll_ms", 200),
        overflow_status=503 if overflow == 503 else 429,
    )


def _parse_packs(config: Reader) -> tuple[str, ...] | None:
    rule = "must be an array of strings, a string, or null"
    names = config.texts("shared_deps", rule=rule)
    if names is not None and not all(_PACK.fullmatch(name) for name in names):
        config.refuse("shared_deps", rule)
        return None
    return names and tuple(dict.fromkeys(names))


def _parse_ignored(config: Reader) -> tuple[str, ...]:
    rule = "must be a list of folder names"
    found = config.texts("zero_config_ignore_dirs", rule=rule) or ()
    for name in ("zero_config", "discovery", "routing"):
        found += config.section(name).texts("ignore_dirs", rule=rule) or ()
    return found
