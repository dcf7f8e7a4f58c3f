"""`GET /_fn/dashboard`: how much ran in the last 24 hours, by the sums that the registry keeps."""

from starlette.requests import Request
from starlette.responses import Response

from libs.messages.figures import Figures, FiguresGet
from services.gateway.dialects.fastfn.plane import Plane
from services.gateway.dialects.fastfn.shapes import Handler, json_response


def dashboard(plane: Plane) -> Handler:
    """Return the endpoint that tells the figures; the hours are those of UTC, and the last one is under way."""

    async def endpoint(_: Request) -> Response:
        found = await plane.ask_registry("figures", FiguresGet(), Figures)
        calls = sum(hour.calls for hour in found.hours)
        micros = sum(hour.micros for hour in found.hours)
        return json_response(
            {
                "requests_24h": calls,
                "errors_24h": sum(hour.failed for hour in found.hours),
                "avg_latency_ms": round(micros / calls / 1000, 3) if calls else 0,
                "invocations_chart": {
                    "labels": [f"{hour.began_at:%H:%M}" for hour in found.hours],
                    "data": [hour.calls for hour in found.hours],
                },
            }
        )

    return endpoint
