"""A service's life, seen from outside: each test runs one as a process and tells it to stop, or lets it fail."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

type Start = Callable[[str], subprocess.Popen[str]]

_ROOT = Path(__file__).parents[3]
_PATIENCE = 60.0

_PROGRAM = """
import asyncio, sys
from libs import errors, lifecycle
from libs.settings import ServiceSettings

def say(text):
    print(text, flush=True)

{main}

sys.exit(lifecycle.run("gateway", ServiceSettings(log_format="json", drain_seconds=20), main))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run a service whose `main` is given as text."""
    running: list[subprocess.Popen[str]] = []

    def run(main: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(main=textwrap.dedent(main))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={"PYTHONPATH": str(_ROOT), "PATH": os.environ["PATH"]},
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _end(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    out, err = process.communicate(timeout=_PATIENCE)
    return process.returncode, out.split(), err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_service_undoes_its_parts_in_reverse_order_when_told_to_stop(start: Start, number: signal.Signals) -> None:
    process = start("""
        async def main(service):
            for part in ("bus", "pool", "intake"):
                service.stack.callback(say, part)
            say("up")
    """)
    assert _line(process) == "up"
    process.send_signal(number)
    code, said, _ = _end(process)
    assert (code, said) == (0, ["intake", "pool", "bus"])


def test_service_ends_at_once_when_told_to_stop_twice(start: Start) -> None:
    process = start("""
        async def main(service):
            async def drain():
                say("draining")
                await asyncio.Event().wait()
            service.stack.push_async_callback(drain)
            say("up")
    """)
    assert _line(process) == "up"
    process.send_signal(signal.SIGTERM)
    assert _line(process) == "draining"
    process.send_signal(signal.SIGTERM)
    assert _end(process)[0] == 70


def test_service_cancels_its_start_when_told_to_stop_meanwhile(start: Start) -> None:
    process = start("""
        async def main(service):
            service.stack.callback(say, "bus")
            say("starting")
            await asyncio.Event().wait()
    """)
    assert _line(process) == "starting"
    process.send_signal(signal.SIGTERM)
    code, said, _ = _end(process)
    assert (code, said) == (0, ["bus"])


def test_service_keeps_its_loops_alive_while_it_drains(start: Start) -> None:
    process = start("""
        async def main(service):
            wish = asyncio.Event()
            done = asyncio.Event()
            async def worker():
                await wish.wait()
                say("worked")
                done.set()
                await asyncio.Event().wait()
            async def drain():
                wish.set()
                await done.wait()
            service.spawn(worker(), name="worker")
            service.stack.push_async_callback(drain)
            say("up")
    """)
    assert _line(process) == "up"
    process.send_signal(signal.SIGTERM)
    code, said, _ = _end(process)
    assert (code, said) == (0, ["worked"])


@pytest.mark.parametrize("end", ["raise ValueError('broken')", "return"])
def test_service_stops_with_1_and_names_the_task_when_a_loop_ends(start: Start, end: str) -> None:
    process = start(f"""
        async def main(service):
            async def loop():
                {end}
            service.stack.callback(say, "undone")
            service.spawn(loop(), name="heartbeat")
    """)
    code, said, err = _end(process)
    assert (code, said) == (1, ["undone"])
    assert '"task":"heartbeat"' in err
    assert "task_died" in err


def test_service_stops_with_1_when_bounded_work_fails(start: Start) -> None:
    process = start("""
        async def main(service):
            async def work():
                raise ValueError("broken")
            service.stack.callback(say, "undone")
            service.tasks.create_task(work())
    """)
    code, said, err = _end(process)
    assert (code, said) == (1, ["undone"])
    assert "broken" in err
    assert "task_died" in err


def test_service_undoes_what_had_started_when_its_start_fails(start: Start) -> None:
    process = start("""
        async def main(service):
            service.stack.callback(say, "bus")
            raise errors.PermanentError("cannot listen on 127.0.0.1:80")
    """)
    code, said, err = _end(process)
    assert (code, said) == (1, ["bus"])
    assert "cannot listen on 127.0.0.1:80" in err
    assert "Traceback" not in err


def test_service_ends_by_force_when_stopping_takes_too_long(start: Start) -> None:
    process = start("""
        lifecycle._CLOSE_GRACE_SECONDS = -19.5
        async def main(service):
            service.stack.push_async_callback(asyncio.Event().wait)
            say("up")
    """)
    assert _line(process) == "up"
    process.send_signal(signal.SIGTERM)
    code, _, err = _end(process)
    assert code == 70
    assert "forced_exit" in err


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of a parent's death on Linux only")
def test_service_stops_when_its_parent_has_gone(tmp_path: Path) -> None:
    program = _PROGRAM.replace("drain_seconds=20", "drain_seconds=1, exit_with_parent=True").format(
        main="async def main(service):\n    service.stack.callback(say, 'undone')\n    say('up')"
    )
    # The parent is SIGKILLed as soon as the service is up: nothing of it can pass the message on.
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(_ROOT), "PATH": os.environ["PATH"]},
    )
    assert _line(parent) == "up"
    parent.kill()
    out, _ = parent.communicate(timeout=_PATIENCE)  # returns when the service has closed its end of the pipe
    assert out.split() == ["undone"]
