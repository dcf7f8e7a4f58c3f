"""A streamed answer from the executor to the client, one piece after the other, at the client's pace."""

import asyncio

from services.gateway.outflow import ClientGoneError, Outflow
from services.gateway.pieces import BrokenOffError, Streamed

_LINGER_SECONDS = 1.0
"""How long an answer that nobody wants to read may take to end by itself before its worker is killed."""


async def relay(stream: Streamed, outflow: Outflow) -> str:
    """Pass on what follows the first piece; return what broke the answer off, empty when it is complete."""
    try:
        await outflow.writable()
        while (piece := await stream.next()) is not None:
            await outflow.write(piece)
            stream.taken()
    except (BrokenOffError, ClientGoneError) as error:
        outflow.break_off()
        return str(error)
    except asyncio.CancelledError:
        outflow.break_off()
        raise
    outflow.end()
    return ""


async def discard(stream: Streamed) -> str:
    """Let an answer end whose body nobody gets, for a moment: a worker that has to be killed is a worker less.

    The client has been answered; there is nothing to tell it, hence nothing broken to return.
    """
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while await stream.next() is not None:
                stream.taken()
    except (BrokenOffError, TimeoutError):
        pass  # closing the stream kills the worker
    return ""
