"""What a person can do when a gateway says no: its guards' texts, and which flag or command opens them. Pure."""

from collections.abc import Mapping

_OPENER = "give its admin token (FNBUS_TOKEN, --token, or `fnbus profile add NAME --url URL --token-stdin`)"
_HINTS: Mapping[str, str] = {
    "console api disabled": "start it with FN_CONSOLE_API_ENABLED=1",
    "admin api disabled": "start it with FN_ADMIN_API_ENABLED=1",
    "console api local-only": f"this gateway takes commands from its own machine only: {_OPENER}",
    "console write disabled": f"start it with FN_CONSOLE_WRITE_ENABLED=1, or {_OPENER}",
    "console write local-only": f"this gateway takes changes from its own machine only: {_OPENER}",
    "login required": f"log in with `fnbus login`, or {_OPENER}",
    "login disabled": f"start it with FN_CONSOLE_LOGIN_ENABLED=1 and a user, or {_OPENER}",
}
_EXPIRED = "the session has ended: log in again with `fnbus login`"
_TOO_MANY = 429


def words(said: str, *, status: int, detail: str = "", has_session: bool = False, retry_after: str = "") -> str:
    """Return a gateway's refusal as a line that says what to do, where that is known.

    Args:
        said: its own text.
        status: HTTP status.
        detail: what else it said.
        has_session: whether a session was sent along.
        retry_after: seconds, as its header says.
    """
    hint = detail or _HINTS.get(said, "")
    if said == "login required" and has_session:
        hint = _EXPIRED
    if status == _TOO_MANY and retry_after:
        hint = f"try again in {retry_after} s"
    return f"{said}: {hint}" if hint else said
