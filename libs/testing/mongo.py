"""A real server of the MongoDB protocol for a test: its own folder, a free port, ended with the test."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

from libs.ports import unused_port
from libs.testing import programs


class MongoServer:
    """A server that can be killed and started again on its port and its data.

    Attributes:
        url: for clients; stays the same over restarts.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._port = unused_port()
        self._process: asyncio.subprocess.Process | None = None
        self._sockets: tempfile.TemporaryDirectory[str] | None = None
        self.url = f"mongodb://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start, and return when it listens.

        Raises:
            RuntimeError: it ended instead.
            TimeoutError: it did not listen within 20 seconds.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        # Its inner socket must have a short path, and must not outlive it.
        self._sockets = tempfile.TemporaryDirectory(prefix="mongo", ignore_cleanup_errors=True)
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._program,
                *("-listen", f"127.0.0.1:{self._port}", "-dir", str(self._folder)),
                env={**os.environ, "TMPDIR": self._sockets.name},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            if not await self._process.stdout.readline():
                raise RuntimeError(f"the server ended at its start; its log is in {self._folder}")

    async def stop(self) -> None:
        """End it, as an operator would; a second time does nothing."""
        await self._end(force=False)

    async def kill(self) -> None:
        """End it at once, as a crash would; what it had acknowledged is there when it starts again."""
        await self._end(force=True)

    async def _end(self, *, force: bool) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            if force:
                process.kill()
            else:
                process.terminate()
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._sockets is not None:
            self._sockets.cleanup()


@contextlib.asynccontextmanager
async def running_mongo(folder: Path) -> AsyncGenerator[MongoServer]:
    """Run a server with its data in `folder` for the length of the block; without the program skip, or fail in CI."""
    server = MongoServer(programs.required_program("mongo"), folder)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
