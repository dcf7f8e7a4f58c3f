"""Calls that are sent to a worker before it has answered others: each runs at most once, and owns what it prints."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.messages.calls import FailureCode, Reply
from libs.messages.catalog import Policy, VersionEntry
from libs.testing import builds
from libs.testing.buses import MemoryNet
from libs.testing.wait import eventually
from services.executor.pool.growth import Growth
from services.executor.pool.pace import Pace
from services.executor.runtimes.base import Runtime
from tests.integration.executor import ahead_handlers
from tests.integration.executor.harness import Platform
from tests.integration.runtimes.present import present

TAKING_PART = ("python", "node", "rust")
HEAD = b'{"id":"1","context":{},"params":{},"headers":{}}'


def as_deep_as_may_be(pace: Pace, most: int, now: float) -> int:
    """Return the most, however long calls take here."""
    del pace, now
    return most


@pytest.fixture(scope="module", params=TAKING_PART)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each one whose workers may get calls ahead."""
    return present(request.param)


@pytest.fixture
async def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> AsyncIterator[Platform]:
    """A platform in memory with one worker at most, which gets calls ahead however long they take here."""
    monkeypatch.setattr(Growth, "computes", property(lambda _: True))  # pyright: ignore[reportUnknownLambdaType]  any
    monkeypatch.setattr(Pace, "depth", as_deep_as_may_be)
    net = MemoryNet()
    made = Platform(net, tmp_path)
    made.runtimes = {runtime.name: runtime}
    async with made.running(max_workers=1) as running:
        yield running
    await net.close()


class Function:
    """A function with a warm worker."""

    def __init__(self, platform: Platform, language: str, version: VersionEntry, folder: Path) -> None:
        self.platform = platform
        self.language = language
        self.version = version
        self.folder = folder
        self.begun = folder / "begun"
        self.gate = folder / "gate"

    @classmethod
    async def warm(cls, platform: Platform, runtime: Runtime, folder: Path) -> "Function":
        """Deploy it and start its worker."""
        entrypoint, source = ahead_handlers.SOURCES[runtime.name]
        code = folder / "code"
        code.mkdir()
        (code / entrypoint).write_text(source)
        plan = runtime.build(code, entrypoint) if runtime.name == "rust" else None
        if plan is not None:
            builds.build(plan, code)
        files = {str(path.relative_to(code)): path.read_bytes() for path in code.rglob("*") if path.is_file()}
        version = await platform.deploy(
            runtime=runtime.name, entrypoint=entrypoint, files=files, policy=Policy(max_concurrency=1000)
        )
        made = cls(platform, runtime.name, version, folder)
        assert (await made.call("0", "nothing")).status == 200
        made.begun.unlink()
        return made

    async def call(self, number: str, what: str, **fields: object) -> Reply:
        """Call it."""
        body = f"{number} {what} {self.folder}".encode()
        invocation = self.platform.invocation(
            self.version, runtime=self.language, head=HEAD, body=body, id=f"call-{number}", **fields
        )
        return await self.platform.send(invocation)

    async def crowd(self, whats: list[str]) -> list[Reply]:
        """Call it many times while a call goes on until these have come."""
        calls = [asyncio.create_task(self.call(str(number), what)) for number, what in enumerate(["pause", *whats])]
        await self.release(len(calls))
        _, *replies = [await call for call in calls]
        return replies

    async def release(self, count: int) -> None:
        """End the pause once so many calls have come."""
        await eventually(lambda: self.platform.executor.dispatch.pool.unfinished >= count)
        self.gate.touch()

    def times_begun(self) -> list[int]:
        """Return the calls that were begun, in order."""
        return [int(line) for line in self.begun.read_text().splitlines()]


@pytest.fixture
async def function(platform: Platform, runtime: Runtime, tmp_path: Path) -> Function:
    """A warm function."""
    return await Function.warm(platform, runtime, tmp_path)


def knowing(function: Function, what: str) -> None:
    """Leave a language out that has no form of what is tried."""
    if not ahead_handlers.does(function.language, what):
        pytest.skip(f"{function.language} has no form of it")


async def test_calls_are_sent_ahead_and_answered_in_order(platform: Platform, function: Function) -> None:
    replies = await function.crowd(["nothing"] * 40)
    assert [reply.body for reply in replies] == [b"%d" % number for number in range(1, 41)]
    assert function.times_begun() == list(range(41))
    assert platform.executor.dispatch.pool.sent_ahead > 10
    assert platform.executor.dispatch.pool.ahead == 0
    executions = [await platform.execution(f"call-{number}") for number in range(1, 41)]
    # What the worker had spent when an answer was read counts for that answer's call, what it had run of the next included.
    assert sum(each.cpu_us for each in executions) > 0


@pytest.mark.parametrize("what", ["print", "raw", "child", "flood"])
async def test_output_is_that_of_the_call_that_printed_it_when_calls_are_sent_ahead(
    platform: Platform, function: Function, what: str
) -> None:
    whats = [what if number % 7 == 3 or 20 < number < 25 else "nothing" for number in range(40)]
    await function.crowd(whats)
    assert platform.executor.dispatch.pool.sent_ahead
    for number, each in enumerate(whats, start=1):
        execution = await platform.execution(f"call-{number}")
        printed = execution.stdout + execution.stderr
        if each == "nothing":
            assert printed == ""
        elif each == "flood":
            assert set(printed.split("\n")[:-1]) <= {str(number), str(number)[:1]}
            assert len(printed) > 1000
        else:
            assert printed == f"{each} {number}\n"


async def test_calls_that_were_not_begun_run_elsewhere_when_their_worker_dies(platform: Platform, function: Function) -> None:
    whats = ["exit" if number in (3, 17) else "nothing" for number in range(30)]
    replies = await function.crowd(whats)
    assert [reply.code is FailureCode.CRASH for reply in replies] == [what == "exit" for what in whats]
    assert sorted(function.times_begun()) == list(range(31))
    assert platform.executor.dispatch.pool.sent_ahead


async def test_calls_run_elsewhere_when_the_one_before_them_is_over_its_deadline(
    platform: Platform, function: Function
) -> None:
    late = asyncio.create_task(function.call("100", "sleep", budget_ms=2000))
    replies = await function.crowd(["nothing"] * 20)
    assert (await late).code is FailureCode.TIMEOUT
    assert {reply.status for reply in replies} == {200}
    assert sorted(function.times_begun()) == [*range(21), 100]


async def test_calls_run_elsewhere_when_the_one_before_them_is_canceled(platform: Platform, function: Function) -> None:
    calls = [asyncio.create_task(function.call(str(number), "pause" if number == 1 else "nothing")) for number in range(1, 4)]
    sleeper = asyncio.create_task(function.call("4", "sleep"))
    calls += [asyncio.create_task(function.call(str(number), "nothing")) for number in range(5, 20)]
    await function.release(19)
    await eventually(lambda: function.begun.exists() and "\n4\n" in function.begun.read_text())
    assert platform.executor.dispatch.pool.ahead
    platform.cancel("call-6")
    platform.cancel("call-4")
    assert (await sleeper).code is FailureCode.CANCELED
    replies = [await each for each in calls]
    assert [reply.code for reply in replies] == [FailureCode.CANCELED if at == 4 else "" for at in range(len(replies))]
    assert sorted(function.times_begun()) == [*range(1, 6), *range(7, 20)]


async def test_worker_is_ended_when_a_call_that_was_sent_ahead_is_over_its_deadline(
    platform: Platform, function: Function
) -> None:
    calls = [asyncio.create_task(function.call(str(number), "pause" if number == 1 else "nothing")) for number in range(1, 4)]
    sleeper = asyncio.create_task(function.call("4", "sleep"))
    behind = asyncio.create_task(function.call("5", "nothing", budget_ms=5000))
    calls += [asyncio.create_task(function.call(str(number), "nothing")) for number in range(6, 12)]
    await function.release(11)
    assert (await behind).code is FailureCode.TIMEOUT
    assert (await behind).stage == "queue"
    assert (await sleeper).code is FailureCode.CRASH
    assert {(await each).status for each in calls} == {200}
    assert 5 not in function.times_begun()


async def test_calls_behind_an_error_or_a_stream_are_answered(platform: Platform, function: Function) -> None:
    stream = "stream" if ahead_handlers.does(function.language, "stream") else "nothing"
    whats = [stream if number == 20 else "fail" if number % 5 == 2 else "nothing" for number in range(30)]
    replies = await function.crowd(whats)
    for number, (what, reply) in enumerate(zip(whats, replies, strict=True), start=1):
        if what == "fail":
            assert reply.code is FailureCode.HANDLER_ERROR
        elif what == "nothing":
            assert reply.body == b"%d" % number
        else:
            assert reply.status == 200
    assert platform.executor.dispatch.pool.sent_ahead


async def test_calls_wait_for_a_promise_of_the_one_before_them(platform: Platform, function: Function) -> None:
    knowing(function, "later")
    whats = ["later" if number % 3 == 1 else "nothing" for number in range(30)]
    replies = await function.crowd(whats)
    assert [reply.body for reply in replies] == [b"%d" % number for number in range(1, 31)]
    assert function.times_begun() == list(range(31))
    assert platform.executor.dispatch.pool.sent_ahead
