"""The gateway as a program: settings from the environment, the bus, and the parts put together."""

from libs import lifecycle, processes, settings
from libs.bus import jetstream
from libs.lifecycle import Service
from libs.telemetry import tracing
from services.gateway.assembly import start
from services.gateway.settings import GatewaySettings


def main() -> int:
    """Run until told to stop; return the exit code."""
    found = settings.load(GatewaySettings)

    async def build(service: Service) -> None:
        tracer = tracing.connect(service="gateway", endpoint=found.otlp_endpoint, replica=processes.replica_name())
        service.stack.callback(tracer.close)
        bus = await jetstream.connect(
            url=found.nats_url, user=found.nats_user, password=found.nats_password.get_secret_value(), name="gateway"
        )
        service.stack.push_async_callback(bus.close)
        await start(service, bus, found, tracer)

    return lifecycle.run("gateway", found, build)
