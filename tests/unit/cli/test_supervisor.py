"""The supervisor's rules, with children that live in memory and a clock that is moved by hand."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest

from cli import backoff
from cli.supervisor import Supervisor, how_it_ended
from libs import errors
from libs.clock import ManualClock
from libs.testing.wait import eventually


class _Child:
    """A process that ends when told to; `stubborn` obeys nothing but a kill."""

    def __init__(self, name: str, journal: list[str], *, stubborn: bool = False) -> None:
        self._name = name
        self._journal = journal
        self._stubborn = stubborn
        self._ended: asyncio.Queue[int] = asyncio.Queue()
        self.starts = 0
        self.faults: list[errors.FnbusError] = []
        """Raised by the next starts."""

    @property
    def name(self) -> str:
        return self._name

    async def start(self) -> None:
        if self.faults:
            raise self.faults.pop()
        self.starts += 1

    async def wait(self) -> int:
        code = await self._ended.get()
        self._journal.append(self._name)
        return code

    def end(self, code: int) -> None:
        self._ended.put_nowait(code)

    def terminate(self) -> None:
        if not self._stubborn:
            self.end(0)

    def kill(self) -> None:
        self.end(-signal.SIGKILL)


class _Scene:
    """A supervisor, what it said, and the order in which children ended."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.said: list[str] = []
        self.ended: list[str] = []
        self.supervisor = Supervisor(tasks=tasks, clock=self.clock, say=self.said.append)

    async def start(self, name: str, *, stubborn: bool = False) -> _Child:
        child = _Child(name, self.ended, stubborn=stubborn)
        await self.supervisor.start(child)
        return child


@contextlib.asynccontextmanager
async def _scene() -> AsyncGenerator[_Scene]:
    async with asyncio.TaskGroup() as tasks:
        yield _Scene(tasks)


def test_pause_doubles_up_to_ten_seconds() -> None:
    assert [backoff.pause(failures) for failures in range(1, 9)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert backoff.pause(10_000) == 10.0


def test_failures_are_counted_anew_after_half_a_minute_up() -> None:
    assert backoff.failures_in_row(0, seconds_up=0) == 1
    assert backoff.failures_in_row(3, seconds_up=29.9) == 4
    assert backoff.failures_in_row(3, seconds_up=30) == 1


@pytest.mark.parametrize(
    ("code", "text"),
    [(1, "ended with exit code 1"), (0, "ended"), (-9, "was killed by SIGKILL"), (-250, "was killed by signal 250")],
)
def test_end_of_a_child_is_told_in_words(code: int, text: str) -> None:
    assert how_it_ended(code) == text


async def test_supervisor_starts_a_dead_child_again_and_says_so() -> None:
    async with _scene() as scene:
        child = await scene.start("executor")
        child.end(-signal.SIGKILL)
        await eventually(lambda: child.starts == 2)
        assert scene.said == [
            "executor was killed by SIGKILL; it is started again in 0.2 s",
            "executor is running again",
        ]
        await scene.supervisor.stop(["executor"])


async def test_supervisor_waits_longer_after_each_death_and_forgives_after_a_steady_time() -> None:
    async with _scene() as scene:
        child = await scene.start("executor")
        for starts in (2, 3):
            child.end(1)
            await eventually(lambda starts=starts: child.starts == starts)
        scene.clock.advance(timedelta(seconds=31))
        child.end(1)
        await eventually(lambda: child.starts == 4)
        pauses = [text.rpartition(" in ")[2] for text in scene.said if "started again" in text]
        assert pauses == ["0.2 s", "0.4 s", "0.2 s"]
        await scene.supervisor.stop(["executor"])


async def test_supervisor_tries_again_when_a_start_fails() -> None:
    async with _scene() as scene:
        child = await scene.start("nats-server")
        child.faults.append(errors.UnavailableError("the port is taken"))
        child.end(1)
        await eventually(lambda: child.starts == 2)
        assert "nats-server could not be started (the port is taken); it is started again in 0.4 s" in scene.said
        await scene.supervisor.stop(["nats-server"])


async def test_supervisor_gives_up_when_a_setting_is_wrong() -> None:
    async with _scene() as scene:
        child = await scene.start("gateway")
        child.end(2)
        async with asyncio.timeout(10):
            await scene.supervisor.gave_up.wait()
        assert scene.supervisor.reason.code == 2
        assert child.starts == 1
        await scene.supervisor.stop(["gateway"])


async def test_supervisor_raises_when_a_first_start_fails() -> None:
    async with _scene() as scene:
        child = _Child("nats-server", scene.ended)
        child.faults.append(errors.UnavailableError("no such program"))
        with pytest.raises(errors.UnavailableError, match="no such program"):
            await scene.supervisor.start(child)


async def test_supervisor_stops_children_in_the_order_given() -> None:
    async with _scene() as scene:
        for name in ("nats-server", "registry", "gateway"):
            await scene.start(name)
        await scene.supervisor.stop(["gateway", "executor", "registry", "nats-server"])
        assert scene.ended == ["gateway", "registry", "nats-server"]
        assert scene.said == []


async def test_supervisor_kills_who_does_not_stop_in_time() -> None:
    async with _scene() as scene:
        await scene.start("gateway", stubborn=True)
        await scene.start("nats-server")
        async with asyncio.timeout(10):
            await scene.supervisor.stop(["gateway", "nats-server"])
        assert scene.ended == ["gateway", "nats-server"]


async def test_supervisor_does_not_wait_for_a_pause_when_it_stops() -> None:
    async with _scene() as scene:
        child = await scene.start("executor")
        for starts in range(2, 5):
            child.end(1)
            await eventually(lambda starts=starts: child.starts == starts)
        child.end(1)
        await eventually(lambda: len([text for text in scene.said if "started again" in text]) == 4)
        await scene.supervisor.stop(["executor"])
        assert child.starts == 4
