"""A call's turn: it gets a slot of its function at once, or waits for one while its client does, or is refused."""

import asyncio
import time

from services.gateway.admission import Gate
from services.gateway.answers import CLIENT_GONE, Refusal
from services.gateway.outcomes import CLIENT_LEFT, Gone

_RETRY_AFTER = (b"retry-after", b"1")
_QUEUED = (b"x-fastfn-queued", b"true")


def overflow(gate: Gate) -> Refusal:
    """Return the refusal of a call for which there is no room, counted."""
    gate.shed += 1
    return Refusal(gate.overflow_status, "worker pool overflow", _RETRY_AFTER)


async def wait(gate: Gate, *, budget_ms: int, gone: Gone) -> float:
    """Wait for a slot as long as the policy and the call's budget allow; return for how many milliseconds.

    Raises:
        Refusal: too many wait, no slot came free in time, or the client left.
    """
    if gate.full:
        raise overflow(gate)
    began = time.perf_counter()
    seconds = min(gate.queue_seconds or budget_ms / 1000, budget_ms / 1000)
    async with asyncio.TaskGroup() as both:
        entering = both.create_task(gate.enter_in_turn(within=seconds), name="turn")
        leaving = both.create_task(_leave(gone, entering), name="client of a call that waits")
        await asyncio.wait((entering,))
        leaving.cancel()
    if entering.cancelled():
        raise Refusal(CLIENT_GONE, CLIENT_LEFT)
    if not entering.result():
        raise Refusal(gate.overflow_status, "worker pool queue timeout", _RETRY_AFTER, _QUEUED)
    return (time.perf_counter() - began) * 1000


async def _leave(gone: Gone, entering: asyncio.Task[bool]) -> None:
    await gone()
    entering.cancel()
