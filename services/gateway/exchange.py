"""One request on its way through the gateway: what is known of it so far, and the invocation that it becomes."""

import time
from collections.abc import Mapping

from libs.messages import calls, heads
from libs.telemetry import tracing
from libs.telemetry.ops import Receive, Scope, Send
from services.gateway import requests
from services.gateway.callee import Callee
from services.gateway.checks import Checks
from services.gateway.requests import Origin


class Exchange:
    """One request and what is known of it so far."""

    __slots__ = (
        "admit_ms",
        "began",
        "began_ns",
        "callee",
        "given_id",
        "headers",
        "id",
        "method",
        "parent",
        "path",
        "pattern",
        "queued",
        "receive",
        "scope",
        "send",
        "trace",
        "traceparent",
        "waited_ms",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began = time.perf_counter()
        self.began_ns = 0
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        self.headers = requests.headers_of(scope["headers"])
        parent = self.headers.get("traceparent")
        given = tracing.parse(parent) if isinstance(parent, str) else None
        self.trace = given.child() if given else tracing.start()
        self.traceparent = self.trace.header()
        self.parent = given.span_id if given else ""
        self.id = ""
        self.given_id = ""
        """The same, when it is the client's own."""
        self.path = ""
        self.pattern = ""
        self.callee: Callee | None = None
        self.queued = False
        """Whether it had to wait for a slot of its function."""
        self.waited_ms = 0.0
        """For how long it did."""
        self.admit_ms = 0.0
        """From its head to its call, but for that wait."""

    async def gone(self) -> None:
        """Return when the client has gone away, or has been answered."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def check(self, checks: Checks, body: bytes) -> None:
        """Hold the request up to what a function declares.

        Raises:
            Refusal: 400, it does not meet it.
        """
        checks.require(method=self.method, query=requests.query_of(self.scope["query_string"]), body=body)

    def invocation(self, callee: Callee, params: Mapping[str, str], body: bytes, *, origin: Origin) -> calls.Invocation:
        """Return the call that the request asks for."""
        scope = self.scope
        query: bytes = scope["query_string"]
        raw_path: str = scope["raw_path"].decode("latin-1")
        headers = self.headers
        function = callee.function
        return calls.Invocation(
            id=self.id,
            namespace=function.namespace,
            function=function.name,
            runtime=function.runtime,
            version=callee.version.label,
            digest=callee.version.digest,
            budget_ms=max(1, callee.budget_ms - int(self.waited_ms)),
            head=heads.encode(
                id=self.id,
                method=self.method,
                path=self.path,
                raw_path=f"{raw_path}?{query.decode('latin-1')}" if query else raw_path,
                query=requests.query_of(query),
                headers=requests.public(headers),
                params=dict(params),
                client={"ip": origin.client_ip(scope["client"], headers), "ua": requests.first(headers, "user-agent")},
                context=callee.context,
                traceparent=self.trace.handler().header(),
                pinned=callee.pinned,
            ),
            body=body,
            streams=True,
            admit_us=round(self.waited_ms * 1000),
        )
