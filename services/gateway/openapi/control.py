"""The platform's own endpoints as OpenAPI's paths, for documents that include them. Pure.

Which endpoints there are is told by the application; what is known of them is in one table here. One that the table does not
know is listed all the same.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

TAG = "internal"

_WORD = re.compile(r"[^A-Za-z0-9]+")
_PARAMETER = re.compile(r"\{([^}]+)\}")
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_REFUSALS = {
    "400": "Something about the request does not fit.",
    "401": "A login is asked for.",
    "403": "The client is not one that may do this.",
    "404": "There is nothing of that name, or this part of the API is switched off.",
    "405": "The function does not take this method; `Allow` names those that it takes.",
    "409": "It was changed meanwhile, or is in a state in which this cannot be done.",
    "413": "The body is too large.",
    "429": "Too many requests; try again after `Retry-After` seconds.",
    "500": "The platform is not set up for this.",
    "502": "The function failed without an answer.",
    "503": "A service that answers for this is away; try again after `Retry-After` seconds.",
    "504": "The function took longer than it may.",
}
_OPEN = ("404",)
"""What anybody may read: it may be switched off."""
_GUARDED = ("400", "401", "403", "404", "429", "503")
_WRITES = (*_GUARDED, "409", "413")
_RUNS = (*_WRITES, "405")
_OBJECT: dict[str, Any] = {"type": "object"}
_TEXT: dict[str, Any] = {"type": "string"}


def _number(least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


class Known(NamedTuple):
    """What is known of an endpoint."""

    summary: str
    query: Mapping[str, dict[str, Any]] = {}
    """Schemas of query parameters; a name that ends with `!` is required."""
    body: Mapping[str, Any] = {}
    """Schema of the body; empty: none."""
    status: str = "200"
    """Of success."""
    kind: str = "application/json"
    refusals: tuple[str, ...] = ()
    """Statuses of errors; empty: those that all reads, or all writes, have."""
    also: Mapping[str, str] = {}
    """Further statuses, and what they say."""


_FUNCTION = {"runtime!": _TEXT, "name!": _TEXT, "version": _TEXT}
_TARGET: dict[str, Any] = {
    "name": _TEXT,
    "runtime": {"type": ["string", "null"]},
    "version": {"type": ["string", "null"]},
    "method": {"enum": ["GET", "POST", "PUT", "PATCH", "DELETE", None]},
    "route": {"type": ["string", "null"]},
    "params": {"type": ["object", "null"]},
    "query": {"type": ["object", "null"]},
    "headers": {"type": ["object", "null"]},
    "body": {},
    "context": {"type": ["object", "null"]},
}
_CALL = {"type": "object", "required": ["name"], "properties": _TARGET}
_JOB = {
    "type": "object",
    "required": ["name"],
    "properties": _TARGET | {"max_attempts": {"type": "integer", "minimum": 1}, "retry_delay_ms": {"type": "integer"}},
}
_CODE = {"type": "object", "required": ["code"], "properties": {"code": _TEXT}}
_CONTENT = {"type": "object", "required": ["path", "content"], "properties": {"path": _TEXT, "content": _TEXT}}
_SECRET = {"type": "object", "required": ["key", "value"], "properties": {"key": _TEXT, "value": _TEXT}}
_LOGIN = {"type": "object", "required": ["username", "password"], "properties": {"username": _TEXT, "password": _TEXT}}
_LIMIT = {"limit": _number(1, 500)}
_SWITCHES: dict[str, Any] = {
    "type": "object",
    "properties": {
        name: {"type": "boolean"}
        for name in (
            "ui_enabled", "api_enabled", "admin_api_enabled", "write_enabled", "local_only", "login_enabled",
            "login_api_enabled", "public_explore",
        )
    },
}  # fmt: skip
_STEERED = {"runtime": {"type": ["string", "null"]}, "name": _TEXT, "version": {"type": ["string", "null"]}}
_ROLLBACK = {"type": "object", "required": ["name"], "properties": _STEERED | {"digest": {"type": ["string", "null"]}}}
_ALIAS = {
    "type": "object",
    "required": ["name", "alias", "versions"],
    "properties": _STEERED
    | {"alias": _TEXT, "versions": {"type": ["object", "string"], "additionalProperties": {"type": "integer"}}},
}
_FILE = {"type": "object", "properties": {"content": _TEXT, "content_base64": _TEXT}}
_TREE = {
    "type": "object",
    "properties": {
        "put": {"type": "object", "additionalProperties": _FILE},
        "remove": {"type": "array", "items": _TEXT},
    },
}
_NAMED = {"name!": _TEXT, "runtime": _TEXT}
_YES = {"enum": ["0", "1"]}

KNOWN: Mapping[tuple[str, str], Known] = {
    ("GET", "/_fn/health"): Known("How the platform is", refusals=("503",)),
    ("GET", "/system/metrics"): Known("How the platform is", refusals=("503",)),
    ("GET", "/_fn/catalog"): Known("All routes and functions"),
    ("GET", "/_fn/reload"): Known("Look at the functions folder now"),
    ("POST", "/_fn/reload"): Known("Look at the functions folder now"),
    ("GET", "/_fn/packs"): Known("Dependencies that functions share"),
    ("GET", "/_fn/schedules"): Known("Schedules, and what became of them"),
    ("GET", "/_fn/executions"): Known(
        "The newest executions", {**_LIMIT, "function": _TEXT, "failed": {"type": "boolean"}, "since_ms": {"type": "integer"}}
    ),
    ("GET", "/_fn/executions/{id}"): Known("One execution"),
    ("GET", "/_fn/dead-letters"): Known("Messages that were given up", _LIMIT),
    ("GET", "/_fn/dashboard"): Known("Figures of the last 24 hours"),
    ("GET", "/_fn/logs"): Known(
        "What functions print, how calls ended, and what failed",
        {
            "file": {"enum": ["error", "access", "runtime"]},
            "lines": _number(1, 2000),
            "format": {"enum": ["text", "json"]},
            "runtime": _TEXT,
            "fn": _TEXT,
            "version": _TEXT,
            "stream": {"enum": ["stdout", "stderr"]},
        },
        kind="text/plain",
    ),
    ("GET", "/_fn/logs/stream"): Known("What a function prints, while it prints it", {"fn!": _TEXT}, kind="text/event-stream"),
    ("POST", "/_fn/invoke"): Known("Run a function by name", body=_CALL, refusals=(*_RUNS, "502", "504")),
    ("POST", "/_fn/jobs"): Known("Run a function later", body=_JOB, status="201", refusals=_RUNS),
    ("GET", "/_fn/jobs"): Known("The newest jobs", {"limit": _number(1, 200), "state": _TEXT}),
    ("GET", "/_fn/jobs/{id}"): Known("One job"),
    ("DELETE", "/_fn/jobs/{id}"): Known("Cancel a job"),
    ("GET", "/_fn/jobs/{id}/result"): Known("A job's answer", also={"202": "It has not ended yet."}),
    ("POST", "/_fn/jobs/{id}/retry"): Known("Have a job tried anew that was given up"),
    ("GET", "/_fn/function"): Known("One function", {**_FUNCTION, "include_code": {"enum": [0, 1]}}),
    ("POST", "/_fn/function"): Known("Make a function", _FUNCTION, _OBJECT, "201"),
    ("DELETE", "/_fn/function"): Known("Remove a function", _FUNCTION),
    ("GET", "/_fn/function-config"): Known("A function's configuration", _FUNCTION),
    ("PUT", "/_fn/function-config"): Known("Change a function's configuration", _FUNCTION, _OBJECT),
    ("GET", "/_fn/function-env"): Known("A function's environment, secrets masked", _FUNCTION),
    ("PUT", "/_fn/function-env"): Known("Change a function's environment", _FUNCTION, _OBJECT),
    ("PUT", "/_fn/function-code"): Known("Change a function's code", _FUNCTION, _CODE),
    ("GET", "/_fn/function-files"): Known("A function's files", _FUNCTION),
    ("GET", "/_fn/function-file-content"): Known("One file of a function", {**_FUNCTION, "path!": _TEXT}),
    ("PUT", "/_fn/function-file-content"): Known("Write one file of a function", _FUNCTION, _CONTENT),
    ("DELETE", "/_fn/function-file-content"): Known("Remove one file of a function", {**_FUNCTION, "path!": _TEXT}),
    ("GET", "/_fn/api/functions"): Known("All functions, as a list"),
    ("GET", "/_fn/files"): Known("The files of all functions", {"contents": _YES, "after": _TEXT}),
    ("PUT", "/_fn/files"): Known("Write and remove files of any functions", {"dry_run": _YES}, _TREE),
    ("GET", "/_fn/versions"): Known("The versions of a function that are kept", {**_NAMED, **_LIMIT}),
    ("POST", "/_fn/rollback"): Known("Go back to an earlier version", body=_ROLLBACK),
    ("DELETE", "/_fn/rollback"): Known("Take a rollback back", {**_NAMED, "version": _TEXT}),
    ("GET", "/_fn/aliases"): Known(
        "A function's aliases, or without a name those of all functions", {"name": _TEXT, "runtime": _TEXT}
    ),
    ("PUT", "/_fn/aliases"): Known("Add or change an alias", body=_ALIAS),
    ("DELETE", "/_fn/aliases"): Known("Remove an alias", {**_NAMED, "alias!": _TEXT}),
    ("GET", "/_fn/audit"): Known("Who changed what", {"function": _TEXT, **_LIMIT, "before": _TEXT}),
    ("GET", "/_fn/secrets"): Known("The names of secrets", {"namespace": _TEXT}),
    ("POST", "/_fn/secrets"): Known("Set a secret", {"namespace": _TEXT}, _SECRET, "201"),
    ("POST", "/_fn/secrets/rotate"): Known("Seal everything anew with the newest key, a step at a time", {"after": _TEXT}),
    ("DELETE", "/_fn/secrets"): Known("Remove a secret", {"key!": _TEXT, "namespace": _TEXT}),
    ("POST", "/_fn/login"): Known("Log in", body=_LOGIN, refusals=(*_WRITES, "500")),
    ("POST", "/_fn/logout"): Known("Log out"),
    ("GET", "/_fn/ui-state"): Known("What of the console is switched on"),
    **{(method, "/_fn/ui-state"): Known("Switch parts of the console", body=_SWITCHES) for method in ("POST", "PUT", "PATCH")},
    ("DELETE", "/_fn/ui-state"): Known("Take what was switched back"),
    ("GET", "/openapi.json"): Known("This document", refusals=_OPEN),
    ("GET", "/_fn/openapi.json"): Known("This document", refusals=_OPEN),
    ("GET", "/docs"): Known("This document as a page", kind="text/html", refusals=_OPEN),
    ("GET", "/_fn/docs"): Known("This document as a page", kind="text/html", refusals=_OPEN),
    ("GET", "/_fn/docs/{id}"): Known("A file of that page", kind="*/*", refusals=_OPEN, also={"304": "It is the same."}),
}


def paths(endpoints: Iterable[tuple[str, Iterable[str]]]) -> dict[str, dict[str, Any]]:
    """Return the paths of endpoints, given as path templates with their methods."""
    return {
        path: {method.lower(): _operation(method, path) for method in methods if method != "HEAD"}
        for path, methods in sorted(endpoints)
    }


def _operation(method: str, path: str) -> dict[str, Any]:
    known = KNOWN.get((method, path)) or Known(f"{method} {path}")
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}_internal{_WORD.sub('_', path).rstrip('_')}",
        "summary": known.summary,
        "tags": [TAG],
    }
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in _PARAMETER.findall(path)
    ]
    parameters += [
        {"name": name.removesuffix("!"), "in": "query", "required": name.endswith("!"), "schema": schema}
        for name, schema in known.query.items()
    ]
    if parameters:
        operation["parameters"] = parameters
    if known.body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": known.body}}}
    elif method in ("POST", "PUT", "PATCH"):
        operation["requestBody"] = {"required": False, "content": {"application/json": {}}}
    refusals = known.refusals or (_GUARDED if method == "GET" else _WRITES)
    operation["responses"] = {
        known.status: {"description": "Done.", "content": {known.kind: {}}},
        **{status: {"description": text} for status, text in known.also.items()},
        **{status: {"description": _REFUSALS[status], "content": _ERROR} for status in sorted(refusals)},
    }
    return operation
