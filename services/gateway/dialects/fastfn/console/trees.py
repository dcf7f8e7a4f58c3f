"""`/_fn/files`: the files of all functions at once, as `fnbus deploy` brings and `fnbus export` takes them."""

import base64
from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from libs.messages.functions import FunctionRef
from libs.messages.trees import MAX_TREE_BYTES, ChangeTree, ListTree, NewFile, ReadTree, Tree, TreeChanged, TreeFile, TreePage
from services.gateway.actors import actor_of
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn.console import asking
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response
from services.gateway.routing.index import DEFAULT_LABEL


def listing(plane: Plane) -> Handler:
    """Return the endpoint that lists all files, or shows what is in them page by page; environment values never."""

    async def endpoint(request: Request) -> Response:
        query = request.query_params
        if query.get("contents") in ("1", "true"):
            page = await asking.ask(plane, "read-tree", ReadTree(after=query.get("after", "")), TreePage)
            shown = [{"path": each.path, **_content(each.data)} for each in page.files]
            return json_response({"files": shown, "has_more": page.has_more})
        found = await asking.ask(plane, "tree", ListTree(), Tree)
        return json_response({"files": [_listed(each) for each in found.files], "namespace": found.namespace})

    return endpoint


def change(plane: Plane) -> Handler:
    """Return the endpoint that writes and removes files."""

    async def endpoint(request: Request) -> Response:
        body = await asking.json_body(request)
        put = tuple(NewFile(path=path, data=_data(path, told)) for path, told in _object(body.get("put"), "put").items())
        if sum(len(file.data) for file in put) > MAX_TREE_BYTES:
            raise Refusal(413, "payload too large")
        order = ChangeTree(
            put=put,
            remove=_names(body.get("remove")),
            dry_run=request.query_params.get("dry_run") in ("1", "true"),
            actor=actor_of(request),
        )
        done = await asking.ask(plane, "change-tree", order, TreeChanged)
        return json_response({
            "changed": list(done.changed),
            "removed": list(done.removed),
            "functions": [_named(each) | _readiness(each, done) for each in done.functions],
            "problems": [{"path": each.path, "message": each.message} for each in done.problems],
        })  # fmt: skip

    return endpoint


def _listed(file: TreeFile) -> dict[str, Any]:
    told: dict[str, Any] = {"path": file.path, "size": file.size, "sha256": file.digest or None}
    return told | {"keys": list(file.keys)} if file.keys else told


def _content(data: bytes) -> dict[str, str]:
    try:
        return {"content": data.decode()}
    except UnicodeDecodeError:
        return {"content_base64": base64.b64encode(data).decode()}


def _named(function: FunctionRef) -> dict[str, Any]:
    version = function.version if function.version != DEFAULT_LABEL else None
    return {"runtime": function.runtime, "name": function.name, "version": version}


def _readiness(function: FunctionRef, done: TreeChanged) -> dict[str, Any]:
    return {} if done.unready is None else {"ready": function not in done.unready}


def _object(value: object, name: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(400, f"{name} must be an object")
    return cast("dict[str, object]", value)


def _names(value: object) -> tuple[str, ...]:
    found = cast("list[object]", value) if isinstance(value, list) else [] if value is None else [None]
    if not all(isinstance(each, str) for each in found):
        raise Refusal(400, "remove must be an array of strings")
    return tuple(cast("list[str]", found))


def _data(path: str, value: object) -> bytes:
    told = _object(value, "a file")
    content, coded = told.get("content"), told.get("content_base64")
    if isinstance(content, str):
        return content.encode(errors="surrogatepass")
    if not isinstance(coded, str):
        raise Refusal(400, "a file must have content or content_base64", path=path)
    try:
        return base64.b64decode(coded, validate=True)
    except ValueError:  # what is not ASCII is no binascii.Error
        raise Refusal(400, "content_base64 must be base64", path=path) from None
