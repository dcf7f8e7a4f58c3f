"""`/_fn/ui-state`: the switches of the control plane, shown and overridden at all gateways."""

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn.shapes import Handler, json_response, read_object
from services.gateway.guard.board import Board
from services.gateway.guard.flags import NAMES
from services.gateway.guard.gate import caller_of

_MOST_BYTES = 128 * 1024
_ONLY_SHOWN = frozenset({"current_user"})
"""What is part of the answer, and not of what can be set: who sends back what was shown means no harm."""


def show(board: Board) -> Handler:
    """Return the endpoint that shows the switches as they are."""

    async def endpoint(request: Request) -> Response:
        return _state(board, request)

    return endpoint


def change(board: Board) -> Handler:
    """Return the endpoint that overrides some of them."""

    async def endpoint(request: Request) -> Response:
        given = await read_object(request, limit=_MOST_BYTES)
        for name, value in given.items():
            if name in NAMES and not isinstance(value, bool):
                raise Refusal(400, f"{name} must be boolean")
            if name not in NAMES and name not in _ONLY_SHOWN:
                raise Refusal(400, f"unknown field: {name}")
        await board.override({name: given[name] for name in NAMES if name in given})
        return _state(board, request)

    return endpoint


def reset(board: Board) -> Handler:
    """Return the endpoint that takes all overrides back."""

    async def endpoint(request: Request) -> Response:
        await board.reset()
        return _state(board, request)

    return endpoint


def _state(board: Board, request: Request) -> Response:
    return json_response(board.flags.shown() | {"current_user": caller_of(request.scope).user or None})
