"""The edge proxy: fetches what a handler asked for instead of answering itself.

A reply that asks for it is told by its head, which is none that an answer could have. So a plain answer pays nothing for this.
"""

import logging
import time
from dataclasses import replace

import orjson

from libs.messages import calls
from libs.outbound.client import Client, OutboundError, TimeoutExceededError
from services.gateway import directives
from services.gateway.callee import Callee
from services.gateway.outcomes import Failed

log = logging.getLogger(__name__)

_LEAST_SECONDS = 0.001


class Forwarding:
    """Fetches."""

    def __init__(self, client: Client) -> None:
        """Fetch by `client`."""
        self._client = client
        self.fetched = 0
        """Requests that were sent for functions."""

    async def resolve(self, callee: Callee, reply: calls.Reply, *, began: float) -> calls.Reply | Failed:
        """Return what the caller gets.

        Args:
            callee: whose reply it is.
            reply: what asks for the fetch.
            began: when the call began (`perf_counter`): one deadline is for all of it.
        """
        edge = callee.version.policy.edge
        if edge is None:
            return Failed(502, "edge proxy disabled for this function")
        seconds = max(_LEAST_SECONDS, callee.budget_ms / 1000 - (time.perf_counter() - began))
        try:
            request = directives.parse(reply.body, edge, seconds=seconds)
            self.fetched += 1
            response = await self._client.send(request)
        except TimeoutExceededError as error:
            return Failed(504, f"edge proxy failed: {error}")
        except (directives.UnfitDirectiveError, OutboundError) as error:
            log.info(
                "a fetch for a function failed: %s",
                error,
                extra={"action": "edge_proxy_failed", "function": callee.function.name},
            )
            return Failed(502, f"edge proxy failed: {error}")
        head = orjson.dumps(directives.kept(response.headers))
        return replace(reply, status=response.status, head=head, body=response.body)
