"""The Jaeger that the trace tests ask: what was sent over OTLP can be read back."""

import time

import httpx

from libs.testing.jaeger import running_jaeger
from libs.testing.wait import eventually

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_jaeger_returns_what_was_sent_over_otlp() -> None:
    now = time.time_ns()
    span = {
        "traceId": TRACE,
        "spanId": "b7ad6b7169203331",
        "name": "work",
        "kind": 2,
        "startTimeUnixNano": str(now - 1_000_000),
        "endTimeUnixNano": str(now),
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "tester"}}]}
    request = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
    async with running_jaeger() as jaeger, httpx.AsyncClient() as client:
        assert await jaeger.trace(TRACE) is None
        assert await jaeger.traces("tester") == []
        (await client.post(f"{jaeger.otlp_endpoint}/v1/traces", json=request)).raise_for_status()

        async def spans() -> list[str]:
            trace = await jaeger.trace(TRACE)
            assert trace is not None
            return [span["operationName"] for span in trace["spans"]]

        assert await eventually(spans) == ["work"]
        assert "tester" in await jaeger.services()
        assert [found["traceID"] for found in await jaeger.traces("tester")] == [TRACE]
