"""A function as FastFN's console API shows it. Pure."""

import re
from dataclasses import asdict
from typing import Any, cast
from urllib.parse import urlencode

import orjson

from libs.messages.catalog import FunctionEntry, Policy, Resolution, RouteEntry, Schedule, VersionEntry
from libs.messages.functions import FunctionDetail
from services.gateway.routing.index import DEFAULT_LABEL

HIDDEN = "<hidden>"

_PARAMETER = re.compile(r":([A-Za-z_][A-Za-z0-9_-]*)(\*?)|\*")
_BACKENDS = {"inferred": "native"}
_RUNTIMES = ("python", "node", "php", "rust", "deno")
_MANIFEST_KEYS = {
    "python": "requirements",
    "node": "package_json",
    "deno": "deno_json",
    "php": "composer_json",
    "rust": "cargo_toml",
}


def detail(found: FunctionDetail, *, base_url: str, health: Any, schedule_state: Any, code: bool) -> dict[str, Any]:
    """Return everything about a version.

    Args:
        found: what the registry says.
        base_url: where the gateway was asked, for examples.
        health: of the function's runtime.
        schedule_state: what became of its schedule; None without one.
        code: whether the handler's text is shown.
    """
    return {
        **_names(found),
        "function_dir": found.function_dir,
        "file_path": found.file_path,
        "config_path": found.config_path,
        "revision": found.entry.revision,
        "versions": [version.label for version in found.entry.versions if version.label != DEFAULT_LABEL],
        "policy": policy(_version(found).policy, found),
        "fn_env": env(found),
        "runtime_health": health,
        **({"code": found.code, "code_truncated": found.code_truncated} if code else {}),
        "metadata": metadata(found, base_url=base_url, schedule_state=schedule_state),
    }


def summary(found: FunctionDetail, *keys: str, base_url: str) -> dict[str, Any]:
    """Return what an endpoint for one side of a function shows: its names, and these keys of its detail."""
    whole = detail(found, base_url=base_url, health=None, schedule_state=None, code="code" in keys)
    return {
        **_names(found),
        **{key: whole[key] for key in keys},
        "revision": found.entry.revision,
        "metadata": whole["metadata"],
        "file_path": found.file_path,
        "function_dir": found.function_dir,
        **({"code_truncated": found.code_truncated} if "code" in keys else {}),
    }


def files(found: FunctionDetail) -> dict[str, Any]:
    """Return the files of a version."""
    return {
        "runtime": found.entry.runtime,
        "name": found.entry.name,
        "function_dir": found.function_dir,
        "files": [
            {"name": each.path.rpartition("/")[2], "path": each.path, "size": each.size, "type": each.kind}
            for each in found.files
        ],
        "versions": [version.label for version in found.entry.versions if version.label != DEFAULT_LABEL],
    }


def policy(given: Policy, found: FunctionDetail) -> dict[str, Any]:
    """Return a version's policy, with what its own config says of it beyond."""
    pool, warm = given.worker_pool, given.keep_warm
    version, config = _version(found), _config(found)
    return {
        "timeout_ms": given.timeout_ms,
        "max_concurrency": given.max_concurrency,
        "max_body_bytes": given.max_body_bytes,
        "include_debug_headers": given.include_debug_headers,
        "methods": list(given.methods),
        "routes": [route.pattern for route in _routes(found)],
        "worker_pool": asdict(pool),
        "keep_warm": asdict(warm),
        "limits": asdict(version.limits),
        "permissions": asdict(version.permissions),
        "schedule": schedule(version.schedule),
        "shared_deps": _shared(config),
        **{name: config[name] for name in ("group", "edge") if name in config},
    }


def env(found: FunctionDetail) -> dict[str, Any]:
    """Return the environment values, the secret ones masked."""
    return {each.name: {"value": HIDDEN if each.is_secret else each.value, "is_secret": each.is_secret} for each in found.env}


def metadata(found: FunctionDetail, *, base_url: str, schedule_state: Any) -> dict[str, Any]:
    """Return what is known of a version besides its policy."""
    entry, version, config = found.entry, _version(found), _config(found)
    runtimes = {name: _language(found, name) for name in _RUNTIMES if name == entry.runtime}
    return {
        "handler_file": found.file_path.rpartition("/")[2],
        "response": {"include_debug_headers": version.policy.include_debug_headers},
        "group": config.get("group"),
        "schedule": {"configured": schedule(version.schedule), "state": schedule_state},
        "env": {"exists": found.has_env, "keys": [each.name for each in found.env]},
        "shared_deps": {
            "packs_root": found.packs_root,
            "configured": _shared(config),
            "missing": list(found.missing_packs),
        },
        "dependency_resolution": resolution(entry, version.resolution),
        "endpoints": _endpoints(found, base_url),
        "invoke": _invoke(found, base_url),
        **runtimes,
    }


def resolution(entry: FunctionEntry, given: Resolution) -> dict[str, Any]:
    """Return what came of a version's dependencies, in FastFN's terms."""
    resolved = list(given.resolved)
    status = {"none": "skipped", "pending": "pending", "ok": "ok"}.get(given.state, "error")
    return {
        "runtime": entry.runtime,
        "mode": given.mode,
        "manifest_path": given.manifest or None,
        "manifest_generated": given.generated,
        "infer_backend": _BACKENDS.get(given.mode),
        "inference_duration_ms": given.infer_ms,
        "inferred_imports": list(given.imports),
        "resolved_packages": resolved,
        "unresolved_imports": list(given.unresolved),
        "last_install_status": status,
        "last_error": given.message or None,
        "lockfile_path": None,
        "install_duration_ms": given.duration_ms,
        "tool": given.tool or None,
    }


def schedule(given: Schedule | None) -> dict[str, Any] | None:
    """Return a schedule as it is written."""
    if given is None:
        return None
    when = {"cron": given.cron} if given.cron else {"every_seconds": given.every_seconds}
    return {
        "enabled": given.enabled,
        **when,
        "timezone": given.timezone,
        "method": given.method,
        "query": given.query,
        "headers": given.headers,
        "body": given.body,
        "context": given.context,
        "retry": asdict(given.retry) if given.retry else None,
    }


def _endpoints(found: FunctionDetail, base_url: str) -> dict[str, Any]:
    public = [route.pattern for route in _routes(found)]
    preferred = public[0] if public else _own_route(found)
    return {
        "public_route": preferred,
        "mapped_routes": public,
        "public_routes": public,
        "public_urls": [base_url + route for route in public],
        "preferred_public_route": preferred,
        "preferred_public_url": base_url + preferred,
        "invoke_api": "/_fn/invoke",
        "jobs_api": "/_fn/jobs",
    }


def _invoke(found: FunctionDetail, base_url: str) -> dict[str, Any]:
    version, public = _version(found), [route.pattern for route in _routes(found)]
    told, methods = version.interface, list(version.policy.methods)
    query: dict[str, Any] = _object(_json(told.query))
    body = _json(told.body)
    sent = "" if body is None else body if isinstance(body, str) else told.body
    route = public[0] if public else _own_route(found)
    example = _example(route) + (f"?{urlencode(query, doseq=True)}" if query else "")
    url = f"{base_url}{example}".replace("'", "%27")
    content_type = told.content_type or "application/json"
    writes = next((method for method in methods if method != "GET"), None)
    quoted = sent.replace("'", "'\\''")
    post = f"curl -sS -X {writes} '{url}' -H 'Content-Type: {content_type}' --data '{quoted}'"
    return {
        "summary": told.summary or None,
        "methods": methods,
        "default_method": told.default_method or methods[0],
        "query_example": query,
        "body_example": sent,
        "content_type": content_type,
        "route": route,
        "canonical_route": _own_route(found),
        "public_routes": public,
        "mapped_public_routes": public,
        "effective_methods": methods,
        "effective_route": route,
        "effective_routes": public,
        "full_route_example": example,
        "curl_get_example": f"curl -sS '{url}'",
        **({"curl_post_example": post} if writes else {}),
    }


def _example(pattern: str) -> str:
    """Return a route with something in place of its parameters."""
    return _PARAMETER.sub(lambda found: "demo" if found[1] and not found[2] else "demo/path", pattern)


def _language(found: FunctionDetail, runtime: str) -> dict[str, Any]:
    key = _MANIFEST_KEYS[runtime]
    if runtime == "python":
        lines = [line.strip() for line in found.manifest.splitlines()]
        return {"requirements": {"inline": [], "file": [line for line in lines if line and not line.startswith("#")]}}
    return {key: found.manifest or None}


def _own_route(found: FunctionDetail) -> str:
    name = found.entry.name
    return f"/{name}@{found.version}" if found.version != DEFAULT_LABEL else f"/{name}"


def _names(found: FunctionDetail) -> dict[str, Any]:
    version = found.version if found.version != DEFAULT_LABEL else None
    return {"runtime": found.entry.runtime, "name": found.entry.name, "version": version}


def _version(found: FunctionDetail) -> VersionEntry:
    return next(version for version in found.entry.versions if version.label == found.version)


def _routes(found: FunctionDetail) -> list[RouteEntry]:
    routes = [route for route in found.entry.routes if route.version == found.version]
    return sorted(routes, key=lambda route: ("*" in route.pattern or ":" in route.pattern, len(route.pattern)))


def _config(found: FunctionDetail) -> dict[str, Any]:
    return _object(_json(found.config))


def _json(text: str | bytes) -> object:
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return None


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _shared(config: dict[str, Any]) -> list[str]:
    given = config.get("shared_deps")
    names = cast("list[object]", given) if isinstance(given, list) else [given]
    return [name for name in names if isinstance(name, str) and name]
