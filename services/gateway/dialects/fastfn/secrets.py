"""`/_fn/secrets`: which secrets there are, and setting and removing them. No value ever comes back."""

from typing import Any, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response

from libs.messages.secrets import (
    RemoveSecret,
    RotatedKeys,
    RotateKeys,
    SecretInfo,
    SecretList,
    SecretRemoved,
    Secrets,
    SetSecret,
)
from services.gateway.actors import actor_of
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response, namespace, read_body, seconds

_MOST_BYTES = 128 * 1024
_ROTATE_SECONDS = 30.0
"""For one step."""


def listing(plane: Plane) -> Handler:
    """Return the endpoint that lists the names."""

    async def endpoint(request: Request) -> Response:
        wanted = SecretList(namespace=namespace(request))
        found = await plane.ask_registry("secrets", wanted, Secrets)
        return json_response([_shown(each) for each in found.secrets])

    return endpoint


def put(plane: Plane) -> Handler:
    """Return the endpoint that keeps a value under a name."""

    async def endpoint(request: Request) -> Response:
        key, value = _key_and_value(await read_body(request, limit=_MOST_BYTES))
        wanted = SetSecret(namespace=namespace(request), key=key, value=value, actor=actor_of(request))
        await plane.ask_registry("set-secret", wanted, SecretInfo)
        return json_response({"status": "created", "key": key}, 201)

    return endpoint


def remove(plane: Plane) -> Handler:
    """Return the endpoint that forgets one; it is no error when there is none."""

    async def endpoint(request: Request) -> Response:
        key = request.query_params.get("key", "")
        if not key:
            raise Refusal(400, "missing key parameter")
        wanted = RemoveSecret(namespace=namespace(request), key=key, actor=actor_of(request))
        await plane.ask_registry("remove-secret", wanted, SecretRemoved)
        return json_response({"status": "deleted", "key": key})

    return endpoint


def rotate(plane: Plane) -> Handler:
    """Return the endpoint that has everything sealed anew with the key that seals now, a step at each request."""

    async def endpoint(request: Request) -> Response:
        wanted = RotateKeys(after=request.query_params.get("after", ""), actor=actor_of(request))
        done = await plane.ask_registry("rotate-keys", wanted, RotatedKeys, seconds=_ROTATE_SECONDS)
        return json_response(
            {
                "key": done.key,
                "total": done.total,
                "looked": done.looked,
                "resealed": done.resealed,
                "failed": list(done.failed),
                "after": done.after or None,
            }
        )

    return endpoint


def _key_and_value(data: bytes) -> tuple[str, str]:
    try:
        given: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        given = None
    fields: dict[str, Any] = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    key, value = fields.get("key"), fields.get("value")
    if not (isinstance(key, str) and key and isinstance(value, str)):
        raise Refusal(400, "invalid json body: require key/value")
    return key, value


def _shown(found: SecretInfo) -> dict[str, Any]:
    shown: dict[str, Any] = {"key": found.key, "created": seconds(found.created_at)}
    return shown if found.updated_at is None else shown | {"updated": seconds(found.updated_at)}
