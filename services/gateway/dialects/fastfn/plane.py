"""What FastFN's endpoints work with, and whether the gateway can do its work."""

from dataclasses import dataclass, field

from libs.bus import port
from libs.messages.calls import Heartbeat
from libs.telemetry.tracing import Tracing
from services.gateway.calls import Caller
from services.gateway.catalogue import Catalogue
from services.gateway.executors import Executors
from services.gateway.forwarding import Forwarding
from services.gateway.journal import Journal


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
