"""`fnbus dev` as a person uses it: one process that starts everything, and leaves nothing behind."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from libs.testing.wait import eventually

_ROOT = Path(__file__).parents[2]
_UP_SECONDS = 45.0
_STOP_SECONDS = 5.0
_SLACK_SECONDS = 20.0
"""For a machine that is busy with other tests."""
_HELLO = 'def handler(event):\n    return {"hello": "world"}\n'


class _Dev:
    """A run of `fnbus dev`, and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed = ""

    @property
    def url(self) -> str:
        """The address that was printed; empty as long as none was."""
        found = re.search(r"is up at (http://\S+)", self.printed)
        return found[1] if found else ""

    async def read(self) -> None:
        """Follow what is printed until the end."""
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(65536):
            self.printed += chunk.decode()

    async def says(self, text: str, *, within: float = 30.0) -> None:
        """Wait until `text` (a regular expression) was printed."""

        def check() -> bool:
            assert re.search(text, self.printed), f"{text!r} is not in:\n{self.printed}"
            return True

        await eventually(check, within=within)

    def children(self) -> dict[int, str]:
        """Return the processes that it started, and theirs, by process id, with their command lines."""
        parents: dict[int, int] = {}
        for path in Path("/proc").iterdir():
            if path.name.isdecimal():
                with contextlib.suppress(OSError):
                    parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        found: dict[int, str] = {}
        wanted = {self.process.pid}
        while wanted:
            wanted = {child for child, parent in parents.items() if parent in wanted}
            for child in wanted:
                with contextlib.suppress(OSError):
                    found[child] = (Path("/proc") / str(child) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def child(self, name: str) -> int:
        """Return the process id of a service, or of the bus."""
        program = "nats-server" if name == "nats-server" else f"services.{name}"
        return next(pid for pid, command in self.children().items() if program in command)


def _alive(started: dict[int, str]) -> dict[int, str]:
    """Return which of these processes still live (an id may have been given to another one since)."""
    found: dict[int, str] = {}
    for pid, command in started.items():
        with contextlib.suppress(OSError):
            folder = Path("/proc") / str(pid)
            same = folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode() == command
            if same and command and folder.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found[pid] = command
    return found


def _command(*arguments: str | Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "cli.main", "dev", *map(str, arguments))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FNBUS_", "FN_", "OTEL_"))}
    return kept | {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}


@contextlib.asynccontextmanager
async def _running(functions: Path, state: Path, *more: str, up: bool = True) -> AsyncGenerator[_Dev]:
    """Run `fnbus dev` on a free port, in a session of its own as a terminal would have it."""
    process = await asyncio.create_subprocess_exec(
        *_command(functions, "--port", "0", "--data", state, *more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_environment(),
        cwd=state.parent,
        start_new_session=True,
    )
    dev = _Dev(process)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dev.read())
        try:
            if up:
                await dev.says(r"is up at http", within=_UP_SECONDS)
            yield dev
        finally:
            started = dev.children()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            try:
                await eventually(lambda: not _alive(started))
            finally:
                for pid in _alive(started):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


async def _refused(*arguments: str | Path, code: int = 1, **settings: str) -> str:
    """Run `fnbus dev`, which is to end with `code`; return the one line that it printed."""
    process = await asyncio.create_subprocess_exec(
        *_command(*arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=_environment() | settings
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode == code, err
    assert out == b""
    (line,) = err.decode().splitlines()
    return line


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    """A folder with one function."""
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "get.hello.py").write_text(_HELLO)
    return folder


async def test_dev_tells_what_there_is_and_answers_calls(functions: Path, tmp_path: Path) -> None:
    (functions / "broken").mkdir()
    (functions / "broken" / "handler.py").write_text(_HELLO)
    (functions / "broken" / "fn.config.json").write_text("{not json")
    async with _running(functions, tmp_path / "state") as dev:
        assert re.search(r"GET +/hello +-> get\.hello\.py \(python\)", dev.printed)
        assert re.search(r"runtimes +.*python 3\.", dev.printed)
        assert re.search(r"isolation +(bubblewrap|process)", dev.printed)
        assert re.search(rf"state +{re.escape(str(tmp_path / 'state'))}", dev.printed)
        assert "broken/fn.config.json" in dev.printed
        async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
            answer = await client.get("/hello")
        assert (answer.status_code, answer.json()) == (200, {"hello": "world"})


async def test_dev_runs_the_new_code_of_a_saved_file_and_says_so(functions: Path, tmp_path: Path) -> None:
    async with _running(functions, tmp_path / "state") as dev, httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
        (functions / "get.hello.py").write_text('def handler(event):\n    return {"hello": "you"}\n')

        async def new_code() -> bool:
            return (await client.get("/hello")).json() == {"hello": "you"}

        await eventually(new_code)
        await dev.says(r"deployed .*hello")
        (functions / "added").mkdir()
        (functions / "added" / "handler.py").write_text(_HELLO)
        (functions / "added" / "fn.config.json").write_text("[]")
        await dev.says(r"added/fn\.config\.json")


async def test_dev_shows_the_examples(tmp_path: Path) -> None:
    async with _running(_ROOT / "examples" / "functions", tmp_path / "state") as dev:
        assert "/hello" in dev.printed
        assert "problems" not in dev.printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_dev_stops_everything_within_five_seconds(functions: Path, tmp_path: Path, number: signal.Signals) -> None:
    async with _running(functions, tmp_path / "state") as dev:
        async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
            assert (await client.get("/hello")).status_code == 200
        started = dev.children()
        assert len(started) >= 5, started
        os.killpg(dev.process.pid, number)  # as Ctrl-C on a terminal: to the whole group, in which nobody else is
        async with asyncio.timeout(_STOP_SECONDS + _SLACK_SECONDS):
            assert await dev.process.wait() == 0
        stopped = re.search(r"fnbus has stopped \(([\d.]+) s\)", dev.printed)
        assert stopped is not None, dev.printed
        assert float(stopped[1]) <= _STOP_SECONDS + _SLACK_SECONDS
        await eventually(lambda: not _alive(started), within=_SLACK_SECONDS)
        assert "Traceback" not in dev.printed
        assert "started again" not in dev.printed


async def test_dev_stops_with_a_call_under_way(functions: Path, tmp_path: Path) -> None:
    (functions / "slow").mkdir()
    (functions / "slow" / "handler.py").write_text("import time\n\ndef handler(event):\n    time.sleep(60)\n")
    (functions / "slow" / "fn.config.json").write_text('{"timeout_ms": 60000}')
    async with _running(functions, tmp_path / "state") as dev, httpx.AsyncClient(base_url=dev.url, timeout=60) as client:
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(_call(client, "/slow"))

            async def busy() -> bool:
                executors = (await client.get("/_fn/health")).json().get("executors", [])
                return any(executor["busy"] for executor in executors)

            await eventually(busy)
            started = dev.children()
            dev.process.send_signal(signal.SIGINT)
            async with asyncio.timeout(_STOP_SECONDS + _SLACK_SECONDS):
                await dev.process.wait()
            call.cancel()
        await eventually(lambda: not _alive(started), within=_SLACK_SECONDS)


async def test_dev_leaves_no_process_when_it_is_killed(functions: Path, tmp_path: Path) -> None:
    async with _running(functions, tmp_path / "state") as dev:
        async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
            assert (await client.get("/hello")).status_code == 200
        started = dev.children()
        assert len(started) >= 5, started
        dev.process.kill()
        await dev.process.wait()

        def nothing_left() -> bool:
            assert not _alive(started), _alive(started)
            return True

        await eventually(nothing_left)


async def test_dev_leaves_no_process_when_it_is_killed_while_it_starts(functions: Path, tmp_path: Path) -> None:
    async with _running(functions, tmp_path / "state", up=False) as dev:
        await eventually(lambda: len(dev.children()) >= 3)
        started = dev.children()
        dev.process.kill()
        await dev.process.wait()
        await eventually(lambda: not _alive(started))


@pytest.mark.parametrize("service", ["executor", "gateway", "registry", "scheduler", "nats-server"])
async def test_dev_starts_a_dead_service_again_and_says_so(functions: Path, tmp_path: Path, service: str) -> None:
    async with _running(functions, tmp_path / "state") as dev, httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
        os.kill(dev.child(service), signal.SIGKILL)
        await dev.says(rf"{service} was killed by SIGKILL; it is started again in 0\.2 s")
        await dev.says(rf"{service} is running again")

        async def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await client.get("/hello")).status_code == 200
            return False

        await eventually(answers)


async def test_dev_keeps_its_state_between_runs(functions: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    keys: list[str] = []
    for _ in range(2):
        async with _running(functions, state) as dev:
            keys.append((state / "secret-keys").read_text())
            dev.process.send_signal(signal.SIGINT)
            assert await dev.process.wait() == 0
    assert keys[0] == keys[1]


async def test_dev_refuses_a_state_folder_in_use(functions: Path, tmp_path: Path) -> None:
    async with _running(functions, tmp_path / "state", up=False) as dev:
        await eventually(lambda: len(dev.children()) >= 1)
        line = await _refused(functions, "--port", "0", "--data", tmp_path / "state")
        assert f"in use by another run (process {dev.process.pid})" in line


async def test_dev_refuses_a_port_in_use(functions: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = await _refused(functions, "--port", port, "--data", tmp_path / "state")
    assert f"port {port} is in use" in line


async def test_dev_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    line = await _refused(tmp_path / "missing", "--port", "0", "--data", tmp_path / "state")
    assert f"there is no folder {tmp_path / 'missing'}" in line
    assert not (tmp_path / "state").exists()


async def test_dev_refuses_a_wrong_setting_by_its_name(functions: Path, tmp_path: Path) -> None:
    line = await _refused(functions, "--port", "0", "--data", tmp_path / "state", code=2, FNBUS_LOG_LEVEL="loud")
    assert line.startswith("fnbus: setting FNBUS_LOG_LEVEL: ")


async def test_dev_stops_when_a_setting_of_one_service_is_wrong(functions: Path, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *_command(functions, "--port", "0", "--data", tmp_path / "state"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_environment() | {"FNBUS_MAX_IN_FLIGHT": "none"},
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    printed = out.decode()
    assert process.returncode == 2, printed
    assert "setting FNBUS_MAX_IN_FLIGHT" in printed
    assert "Traceback" not in printed


async def test_dev_ends_at_once_when_told_twice(functions: Path, tmp_path: Path) -> None:
    async with _running(functions, tmp_path / "state") as dev:
        started = dev.children()
        dev.process.send_signal(signal.SIGINT)
        dev.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_STOP_SECONDS + _SLACK_SECONDS):
            assert await dev.process.wait() in {0, 130}
        await eventually(lambda: not _alive(started))


async def _call(client: httpx.AsyncClient, path: str) -> None:
    with contextlib.suppress(httpx.TransportError):
        await client.get(path)
