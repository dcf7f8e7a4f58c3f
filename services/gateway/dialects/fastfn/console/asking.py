"""What a request of the console API names, and the registry asked about it."""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from libs.messages import codec, functions
from libs.messages.functions import Changed, ChangeFunction, ChangeKind, FunctionDetail, FunctionRef
from services.gateway.actors import actor_of
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn import revisions
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import json_response, read_object
from services.gateway.routing.index import DEFAULT_LABEL

MAX_BODY_BYTES = 16 * 1024 * 1024
"""What a request of a few fields may have: 2 MiB of code have up to six times as much as JSON."""

_RUNTIME = re.compile(r"[a-zA-Z0-9_-]{1,100}")
_NAME = re.compile(r"[a-zA-Z0-9_.\[\]/ -]{1,500}")
_VERSION = re.compile(r"[a-zA-Z0-9_.-]{1,100}")
_REGISTRY_SECONDS = 25.0


def target(request: Request, *, missing: int = 404) -> FunctionRef:
    """Return the version that a query names.

    Args:
        request: has `runtime`, `name` and, when it is not the default one, `version`.
        missing: status of the refusal of a name that is none.

    Raises:
        Refusal: with FastFN's text.
    """
    query = request.query_params
    runtime, name = query.get("runtime", ""), query.get("name", "")
    version = query.get("version") or DEFAULT_LABEL
    if not _RUNTIME.fullmatch(runtime):
        raise Refusal(missing, "invalid runtime")
    if not _NAME.fullmatch(name) or any(part in ("", ".", "..") for part in name.split("/")):
        raise Refusal(missing, "invalid function")
    if not _VERSION.fullmatch(version):
        raise Refusal(missing, "invalid version")
    return FunctionRef(runtime=runtime, name=name, version=version)


async def ask[T](plane: Plane, operation: str, request: codec.Record, reply: type[T]) -> T:
    """Ask the registry.

    Raises:
        errors.FnbusError: what it raised, or that it cannot be reached.
    """
    return await plane.ask_registry(operation, request, reply, seconds=_REGISTRY_SECONDS)


async def detail(plane: Plane, wanted: FunctionRef, *, code: bool) -> FunctionDetail:
    """Return everything about a version.

    Raises:
        errors.FnbusError: as in `ask`.
    """
    return await ask(plane, "function", functions.GetFunction(target=wanted, code=code), FunctionDetail)


async def change(
    plane: Plane, request: Request, kind: ChangeKind, *, wanted: FunctionRef, body: bytes = b"", path: str = ""
) -> Changed:
    """Have a function changed, and wait until this gateway's catalogue shows it.

    Raises:
        Refusal: 409, it is not what the request's `If-Match` says; 503, the catalogue does not show the change yet.
        errors.FnbusError: as in `ask`.
    """
    expected = revisions.expected(request)
    order = ChangeFunction(
        target=wanted,
        kind=kind,
        body=body,
        path=path,
        expected=expected,
        actor=actor_of(request),
    )
    changed = await ask(plane, "change", order, Changed)
    if changed.outdated:
        text = "the function was changed meanwhile"
        raise Refusal(
            409, text, (b"etag", revisions.etag(changed.revision)), expected_revision=expected, revision=changed.revision
        )
    await _shown(plane, wanted, changed.revision)
    return changed


def answer(content: object, detail: FunctionDetail, status: int = 200) -> Response:
    """Return a JSON response that has the function's revision as its ETag."""
    return json_response(content, status, {"etag": revisions.etag(detail.entry.revision).decode()})


async def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that a request holds; an empty one without a body.

    Raises:
        Refusal: 400, it holds something else; 413, it is too large.
    """
    return await read_object(request, limit=MAX_BODY_BYTES, may_lack=True)


async def _shown(plane: Plane, wanted: FunctionRef, revision: int) -> None:
    """Return when the catalogue has a function in that revision or a later one; for 0, when the version is gone."""
    names = plane.catalogue.table.names

    def is_shown() -> bool:
        named = names.find(wanted.name, version=wanted.version, runtime=wanted.runtime)
        return named is None if revision == 0 else named is not None and named.function.revision >= revision

    await revisions.shown(plane, is_shown, revision=revision)
