"""The revision of a function, as requests name it and answers show it.

A change is answered when this gateway's own catalogue shows it, so that whoever has the answer can rely on it.
"""

from collections.abc import Callable

from starlette.requests import Request

from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn.plane import Plane

_SHOWN_SECONDS = 5.0


def etag(revision: int) -> bytes:
    """Return a revision as an ETag."""
    return f'"{revision}"'.encode()


def expected(request: Request) -> int:
    """Return the revision that a request's `If-Match` asks for; 0 for any.

    Raises:
        Refusal: 400, it is no revision.
    """
    given = request.headers.get("if-match", "").strip().removeprefix("W/").strip('"')
    if given in ("", "*"):
        return 0
    if not given.isdecimal() or len(given) > 15 or int(given) == 0:
        raise Refusal(400, "If-Match must be the revision of the function, its ETag", detail=given[:100])
    return int(given)


async def shown(plane: Plane, is_shown: Callable[[], bool], *, revision: int) -> None:
    """Return when this gateway's catalogue shows a change that is stored.

    Args:
        plane: has the catalogue.
        is_shown: whether it does.
        revision: of the function, for the refusal.

    Raises:
        Refusal: 503, it does not show it yet.
    """
    if not await plane.catalogue.until(is_shown, within=_SHOWN_SECONDS):
        text = "the change is stored, and this gateway does not show it yet"
        raise Refusal(503, text, (b"retry-after", b"1"), revision=revision)
