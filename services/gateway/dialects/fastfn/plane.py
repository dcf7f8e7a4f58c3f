"""What FastFN's endpoints work with, and whether the gateway can do its work."""

from dataclasses import dataclass, field

from libs.bus import port, rpc
from libs.messages import codec, subjects
from libs.messages.calls import Heartbeat
from libs.telemetry.tracing import Tracing
from services.gateway.calls import Caller
from services.gateway.catalogue import Catalogue
from services.gateway.executors import Executors
from services.gateway.forwarding import Forwarding
from services.gateway.journal import Journal

_SECONDS = 10.0
"""How long an endpoint waits for the service that knows, unless it says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """The parts of the gateway that the control plane asks."""

    bus: port.Bus
    catalogue: Catalogue
    executors: Executors
    caller: Caller
    forwarding: Forwarding
    tracer: Tracing
    max_body_bytes: int
    """The platform's cap on bodies."""
    jobs_enabled: bool = True
    journal: Journal = field(default_factory=Journal)
    """What went wrong before anything ran."""

    async def ask_registry[T](self, operation: str, request: codec.Record, reply: type[T], *, seconds: float = _SECONDS) -> T:
        """Return what the registry answers.

        Raises:
            errors.FnbusError: what it raised, or that it cannot be reached.
        """
        return await rpc.call(self.bus, subjects.rpc("registry", operation), request, reply, timeout=seconds)

    async def ask_scheduler[T](
        self, operation: str, request: codec.Record, reply: type[T], *, seconds: float = _SECONDS, traceparent: str = ""
    ) -> T:
        """Return what the scheduler answers; errors as in `ask_registry`."""
        subject = subjects.rpc("scheduler", operation)
        return await rpc.call(self.bus, subject, request, reply, timeout=seconds, traceparent=traceparent)

    def missing(self) -> str:
        """Return in words what is missing before calls can be taken; empty when nothing is."""
        if not self.bus.connected:
            return "the bus is not connected"
        if not self.catalogue.complete.is_set():
            return "the catalogue has not been read yet"
        return ""

    def alive(self) -> list[Heartbeat]:
        """Return what the executors that are alive said last."""
        return self.executors.alive()
