"""From the head and body of a request to the event that a handler sees."""

from __future__ import annotations

from .jsontext import loads  # noqa: TID252  see the package's docstring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def event_of(head: bytes, body: bytes, env: dict[str, str], secrets: dict[str, str]) -> dict[str, Any]:
    """Return a new event.

    Args:
        head: the request head as JSON (`libs.messages.heads`).
        body: the request body; it is None in the event when empty, and base64 beside it when it is not UTF-8.
        env: the function's environment; the event has a copy of its own.
        secrets: the secrets that it asks for; of them, too.
    """
    event: dict[str, Any] = loads(head)
    context = event["context"]
    context["request_id"] = event["id"]
    for name in ("traceparent", "user", "trigger"):
        value = event.pop(name, None)
        if value:
            context[name] = value
    event["path_params"] = event["params"]
    event["env"] = env.copy()
    event["secrets"] = secrets.copy()
    if body:
        try:
            event["body"] = body.decode()
        except UnicodeDecodeError:
            from binascii import b2a_base64

            event["body"] = None
            event["body_base64"] = b2a_base64(body, newline=False).decode()
            event["is_base64"] = True
    else:
        event["body"] = None
    cookie = event["headers"].get("cookie")
    if cookie is not None:
        event["session"] = _session(cookie if isinstance(cookie, str) else "; ".join(cookie))
    return event


def _session(raw: str) -> dict[str, Any]:
    cookies: dict[str, str] = {}
    for pair in raw.split(";"):
        name, equals, value = pair.strip().partition("=")
        if equals and name:
            cookies.setdefault(name, value.strip('"'))
    session_id = cookies.get("session_id") or cookies.get("sessionid") or cookies.get("sid")
    return {"id": session_id, "raw": raw, "cookies": cookies}
