"""`fnbus dev` as a person uses it: one process that starts everything, and leaves nothing behind."""

import asyncio
import contextlib
import os
import re
import signal
import socket
from pathlib import Path

import httpx
import pytest

from libs.testing.wait import eventually
from tests.acceptance.running_dev import alive, command, environment, running

_ROOT = Path(__file__).parents[2]
_STOP_SECONDS = 5.0
_SLACK_SECONDS = 20.0
"""For a machine that is busy with other tests."""
_HELLO = 'def handler(event):\n    return {"hello": "world"}\n'


async def _refused(*arguments: str | Path, code: int = 1, **settings: str) -> str:
    """Run `fnbus dev`, which is to end with `code`; return the one line that it printed."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment() | settings
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
    async with running(functions, tmp_path / "state") as dev:
        assert re.search(r"GET +/hello +-> get\.hello\.py \(python\)", dev.printed)
        assert re.search(r"runtimes +.*python 3\.", dev.printed)
        assert re.search(r"isolation +(bubblewrap|process)", dev.printed)
        assert re.search(rf"state +{re.escape(str(tmp_path / 'state'))}", dev.printed)
        assert "broken/fn.config.json" in dev.printed
        async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
            answer = await client.get("/hello")
        assert (answer.status_code, answer.json()) == (200, {"hello": "world"})


async def test_dev_runs_the_new_code_of_a_saved_file_and_says_so(functions: Path, tmp_path: Path) -> None:
    async with running(functions, tmp_path / "state") as dev, httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
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
    async with running(_ROOT / "examples" / "functions", tmp_path / "state") as dev:
        assert "/hello" in dev.printed
        assert "problems" not in dev.printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_dev_stops_everything_and_says_how_long_that_took(
    functions: Path, tmp_path: Path, number: signal.Signals
) -> None:
    async with running(functions, tmp_path / "state") as dev:
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
        await eventually(lambda: not alive(started), within=_SLACK_SECONDS)
        assert "Traceback" not in dev.printed
        assert "started again" not in dev.printed


async def test_dev_stops_with_a_call_under_way(functions: Path, tmp_path: Path) -> None:
    (functions / "slow").mkdir()
    (functions / "slow" / "handler.py").write_text("import time\n\ndef handler(event):\n    time.sleep(60)\n")
    (functions / "slow" / "fn.config.json").write_text('{"timeout_ms": 60000}')
    async with running(functions, tmp_path / "state") as dev, httpx.AsyncClient(base_url=dev.url, timeout=60) as client:
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
        await eventually(lambda: not alive(started), within=_SLACK_SECONDS)


async def test_dev_leaves_no_process_when_it_is_killed(functions: Path, tmp_path: Path) -> None:
    async with running(functions, tmp_path / "state") as dev:
        async with httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
            assert (await client.get("/hello")).status_code == 200
        started = dev.children()
        assert len(started) >= 5, started
        dev.process.kill()
        await dev.process.wait()

        def nothing_left() -> bool:
            assert not alive(started), alive(started)
            return True

        await eventually(nothing_left)


async def test_dev_leaves_no_process_when_it_is_killed_while_it_starts(functions: Path, tmp_path: Path) -> None:
    async with running(functions, tmp_path / "state", up=False) as dev:
        await eventually(lambda: len(dev.children()) >= 3)
        started = dev.children()
        dev.process.kill()
        await dev.process.wait()
        await eventually(lambda: not alive(started))


@pytest.mark.parametrize("service", ["executor", "gateway", "registry", "scheduler", "nats-server"])
async def test_dev_starts_a_dead_service_again_and_says_so(functions: Path, tmp_path: Path, service: str) -> None:
    async with running(functions, tmp_path / "state") as dev, httpx.AsyncClient(base_url=dev.url, timeout=30) as client:
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
        async with running(functions, state) as dev:
            keys.append((state / "secret-keys").read_text())
            dev.process.send_signal(signal.SIGINT)
            assert await dev.process.wait() == 0
    assert keys[0] == keys[1]


async def test_dev_refuses_a_state_folder_in_use(functions: Path, tmp_path: Path) -> None:
    async with running(functions, tmp_path / "state", up=False) as dev:
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
        *command(functions, "--port", "0", "--data", tmp_path / "state"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment() | {"FNBUS_MAX_IN_FLIGHT": "none"},
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    printed = out.decode()
    assert process.returncode == 2, printed
    assert "setting FNBUS_MAX_IN_FLIGHT" in printed
    assert "Traceback" not in printed


async def test_dev_ends_at_once_when_told_twice(functions: Path, tmp_path: Path) -> None:
    async with running(functions, tmp_path / "state") as dev:
        started = dev.children()
        dev.process.send_signal(signal.SIGINT)
        dev.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_STOP_SECONDS + _SLACK_SECONDS):
            assert await dev.process.wait() in {0, 130}
        await eventually(lambda: not alive(started))


async def _call(client: httpx.AsyncClient, path: str) -> None:
    with contextlib.suppress(httpx.TransportError):
        await client.get(path)
