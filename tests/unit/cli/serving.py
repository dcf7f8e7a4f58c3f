"""An HTTP server of a few lines, a gateway made of it, and the command as a person types it."""

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cli.main import main

type Answer = Callable[[str, dict[str, str], bytes], tuple[int, bytes]]
"""From a request (`METHOD /path?query`), its headers and its body to a status and a body."""
type Headers = dict[str, dict[str, str]]
"""What is sent with the answer to `METHOD /path`."""


@contextlib.contextmanager
def serving(answer: Answer, sent: Headers | None = None) -> Generator[str]:
    """Serve for the length of the block; give the server's URL."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, data = answer(f"{self.command} {self.path}", headers, body)
            self.send_response(status)
            for name, value in (sent or {}).get(f"{self.command} {self.path}", {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  the standard library's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass
class FakeGateway:
    """Answers from a table, in order where there are several; remembers what it was asked."""

    url: str = ""
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict[str, list[tuple[int, Any]]])
    headers: Headers = field(default_factory=dict[str, dict[str, str]])
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list[tuple[str, dict[str, str], bytes]])

    def on(self, request: str, *answers: tuple[int, Any]) -> None:
        """Answer `METHOD /path` so; the last answer stays."""
        self.answers[request] = list(answers)

    def take(self, request: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.asked.append((request, headers, body))
        known = self.answers.get(request.partition("?")[0]) or [(404, {"error": "not found"})]
        status, content = known.pop(0) if len(known) > 1 else known[0]
        return status, content if isinstance(content, bytes) else json.dumps(content).encode()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["fnbus", *arguments])
    try:
        return main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
