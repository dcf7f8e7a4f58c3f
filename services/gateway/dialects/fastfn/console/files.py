"""`/_fn/function-files` and `/_fn/function-file-content`."""

import base64

from starlette.requests import Request
from starlette.responses import Response

from libs.messages.functions import MAX_CONTENT_BYTES, ChangeKind, FileContent, FunctionRef, GetFile
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn import revisions
from services.gateway.dialects.fastfn.console import asking, shown
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response


def listing(plane: Plane) -> Handler:
    """Return the endpoint that lists the files of a function."""

    async def endpoint(request: Request) -> Response:
        found = await asking.detail(plane, asking.target(request), code=False)
        return asking.answer(shown.files(found), found)

    return endpoint


def content(plane: Plane) -> Handler:
    """Return the endpoint that shows a file; what is no text is in `content_base64`."""

    async def endpoint(request: Request) -> Response:
        wanted = _target(request)
        path = _path(request.query_params.get("path"))
        found = await asking.ask(plane, "file", GetFile(target=wanted, path=path), FileContent)
        shown_as: dict[str, object]
        try:
            shown_as = {"content": found.data.decode()}
        except UnicodeDecodeError:
            shown_as = {"content": "", "is_base64": True, "content_base64": base64.b64encode(found.data).decode()}
        return json_response({**shown_as, "path": path, "truncated": found.truncated})

    return endpoint


def put(plane: Plane) -> Handler:
    """Return the endpoint that writes a file."""

    async def endpoint(request: Request) -> Response:
        wanted = _target(request)
        body = await asking.json_body(request)
        path = _path(body.get("path", request.query_params.get("path")))
        data = _data(body)
        if len(data) > MAX_CONTENT_BYTES:
            raise Refusal(413, "payload too large")
        changed = await asking.change(plane, request, ChangeKind.PUT_FILE, wanted=wanted, body=data, path=path)
        return json_response({"ok": True, "path": path}, headers={"etag": revisions.etag(changed.revision).decode()})

    return endpoint


def remove(plane: Plane) -> Handler:
    """Return the endpoint that removes a file."""

    async def endpoint(request: Request) -> Response:
        wanted = _target(request)
        path = _path(request.query_params.get("path"))
        changed = await asking.change(plane, request, ChangeKind.DELETE_FILE, wanted=wanted, path=path)
        return json_response({"ok": True, "path": path}, headers={"etag": revisions.etag(changed.revision).decode()})

    return endpoint


def _target(request: Request) -> FunctionRef:
    if not request.query_params.get("runtime") or not request.query_params.get("name"):
        raise Refusal(400, "runtime and name required")
    return asking.target(request)


def _path(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Refusal(400, "path required")
    return value


def _data(body: dict[str, object]) -> bytes:
    coded = body.get("content_base64")
    if isinstance(coded, str):
        try:
            return base64.b64decode(coded, validate=True)
        except ValueError:  # what is not ASCII is no binascii.Error
            raise Refusal(400, "content_base64 must be base64") from None
    text = body.get("content")
    if not isinstance(text, str):
        raise Refusal(400, "content must be a string")
    return text.encode(errors="surrogatepass")
