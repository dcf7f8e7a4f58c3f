"""A worker process: handshake, calls, and every way in which a guest can misbehave."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from libs import errors
from libs.messages.calls import FailureCode
from libs.messages.catalog import Limits
from libs.testing.wait import eventually
from services.executor.sandbox.base import Sandbox
from services.executor.sandbox.choice import probe
from services.executor.sandbox.process import ProcessSandbox
from services.executor.workers.descriptor import GuestDescriptor
from services.executor.workers.frames import WINDOW, Frame, FrameType
from services.executor.workers.output import KEPT_BYTES, Output
from services.executor.workers.process import Stage, Worker, WorkerEndedError
from tests.unit.executor.scripted import PATIENCE, Caller, start


@pytest.fixture(params=["process", "bubblewrap"])
async def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    """Every behaviour holds in both."""
    if request.param == "process":
        return ProcessSandbox()
    try:
        return await probe(tmp_path / "state")
    except errors.UnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
async def caller(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Caller]:
    """A worker that has loaded its code."""
    made = await Caller.of(tmp_path, sandbox=sandbox)
    yield made
    await made.worker.kill()


def gone(pid: int) -> bool:
    """Return whether there is no such process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_worker_gives_back_head_and_body_unchanged(caller: Caller) -> None:
    body = bytes(range(256)) * 10
    frame, _ = await caller.ask(body, head=b'{"a":1}')
    assert (frame.type, frame.status, frame.head, frame.body) == (FrameType.ANSWER, 200, b'{"a":1}', body)


async def test_worker_gives_back_large_bodies(caller: Caller) -> None:
    body = os.urandom(900_000)
    frame, _ = await caller.ask(body)
    assert frame.body == body


async def test_worker_takes_an_answer_that_comes_in_pieces(caller: Caller) -> None:
    frame, _ = await caller.ask(b"piecemeal")
    assert frame.body == b"piecemeal"


async def test_worker_tells_what_a_call_used_by_the_kernel_s_word(caller: Caller) -> None:
    await caller.ask(b"burn 0.2")
    assert 200_000 <= caller.worker.account.used_us < 20_000_000
    await caller.ask(b"x")
    assert caller.worker.account.used_us < 200_000
    before = caller.worker.account.peak_kib
    await caller.ask(b"grow 64")
    assert caller.worker.account.peak_kib >= before + 60 * 1024


async def test_output_belongs_to_the_call_that_printed_it(caller: Caller) -> None:
    _, output = await caller.ask(b"print first 1")
    assert (output.stdout, output.stderr, output.truncated) == ("first", "complaint\n", False)
    _, output = await caller.ask(b"quiet")
    assert (output.stdout, output.stderr) == ("", "")


async def test_output_is_cut_and_says_so_when_there_is_too_much(caller: Caller) -> None:
    _, output = await caller.ask(b"print 0123456789 100000")
    assert len(output.stdout) == KEPT_BYTES
    assert output.truncated


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"exit 3", "worker ended with exit code 3"),
        (b"exit 0", "worker ended with exit code 0"),
        (b"signal 9", "worker ended with signal 9"),
        (b"signal 11", "worker ended with signal 11"),
    ],
)
async def test_worker_tells_how_it_ended_when_it_crashes(caller: Caller, body: bytes, text: str) -> None:
    assert await caller.crash(body) == text


@pytest.mark.parametrize("body", [b"garbage", b"other", b"close", b"huge", b"flood", b"chunk-without-start", b"start-twice"])
async def test_worker_is_killed_when_it_breaks_the_protocol(caller: Caller, body: bytes) -> None:
    pid = caller.worker.pid
    assert (await caller.crash(body)).startswith("worker was ended: ")
    assert gone(pid)
    assert caller.worker.too_large == (body == b"huge")


async def test_worker_sends_no_more_pieces_than_it_has_credit_for(caller: Caller) -> None:
    caller.send(b"stream 20 4")
    await eventually(lambda: len(caller.answers) == 1 + WINDOW, within=PATIENCE)
    assert not caller.worker.has_credit
    caller.worker.credit(2)
    await eventually(lambda: len(caller.answers) == 1 + WINDOW + 2, within=PATIENCE)
    assert caller.worker.stage is Stage.STREAMING
    caller.worker.credit(20)
    await eventually(lambda: caller.worker.stage is Stage.NONE, within=PATIENCE)
    kinds = [frame.type for frame, _ in caller.answers]
    assert kinds == [FrameType.START, *[FrameType.CHUNK] * 19, FrameType.END]
    caller.answers.clear()
    frame, _ = await caller.ask(b"after")
    assert frame.body == b"after"


async def test_worker_does_not_rest_when_its_answer_lies_unread(caller: Caller) -> None:
    caller.send(b"sleep 1")
    await eventually(caller.worker.rests)
    await caller.happened()
    caller.send(b"short")
    stat = Path(f"/proc/{caller.worker.cell.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "S":  # noqa: ASYNC240  see below
        time.sleep(0.001)  # noqa: ASYNC251  if the loop turned, it would read the answer
    assert not caller.worker.rests()


async def test_worker_is_busy_while_the_handler_goes_on_after_its_answer(caller: Caller) -> None:
    frame, _ = await caller.ask(b"background 0.2 /dev/null")
    assert frame.body == b"answered"
    assert caller.worker.busy
    await eventually(lambda: not caller.worker.busy, within=PATIENCE)
    assert caller.answers[-1][0].type == FrameType.END


@contextlib.asynccontextmanager
async def reading_ahead(sandbox: Sandbox, code: Path, *bodies: bytes) -> AsyncGenerator[tuple[Worker, list[Frame]]]:
    """Yield a worker that was sent these calls, numbered from 1, and where its frames are noted."""
    worker = await start(code, script="reads-ahead", sandbox=sandbox)
    await worker.assign(b"{}", limits=Limits(), seconds=PATIENCE)
    came: list[Frame] = []

    def on_frame(frame: Frame, output: Output) -> None:
        del output
        came.append(frame)
        if len(came) < len(bodies):
            worker.begin()

    worker.serve(on_frame=on_frame, on_end=lambda _: None)
    worker.call(1, b"", bodies[0])
    for number, body in enumerate(bodies[1:], start=2):
        worker.call_ahead(number, b"", body)
    try:
        yield worker, came
    finally:
        await worker.kill()


async def test_worker_answers_calls_that_were_sent_ahead_in_order(sandbox: Sandbox, tmp_path: Path) -> None:
    async with reading_ahead(sandbox, tmp_path, b"burn 0.05", b"b", b"c") as (worker, came):
        await eventually(lambda: len(came) == 3)
        assert [each.body for each in came] == [b"burn 0.05", b"b", b"c"]
        assert not worker.busy


@pytest.mark.parametrize(
    ("bodies", "begun"),
    [
        pytest.param((b"hang", b"b", b"c"), 0, id="the first hangs"),
        pytest.param((b"exit 3", b"b", b"c"), 0, id="the first crashes"),
        pytest.param((b"garbage", b"b", b"c"), 2, id="the first breaks the protocol"),
    ],
)
async def test_worker_tells_how_many_calls_it_had_begun_when_it_ends(
    sandbox: Sandbox, tmp_path: Path, bodies: tuple[bytes, ...], begun: int
) -> None:
    async with reading_ahead(sandbox, tmp_path, *bodies) as (worker, came):
        if bodies[0] == b"hang":
            worker.kill_soon()
        await eventually(lambda: worker.ended)
        assert not came
        assert worker.begun == begun


async def test_calls_count_as_begun_when_the_answers_before_them_lay_unread_as_the_worker_was_killed(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    bodies = (b"a", b"b", b"child %s" % bytes(tmp_path / "pid"), b"d")
    async with reading_ahead(sandbox, tmp_path, *bodies) as (worker, came):
        children = Path(f"/proc/{worker.cell.pid}/task/{worker.cell.pid}/children")
        deadline = time.monotonic() + PATIENCE
        while not children.read_text() and time.monotonic() < deadline:  # noqa: ASYNC240  see below
            time.sleep(0.001)  # noqa: ASYNC251  if the loop turned, it would read the answers
        worker.kill_soon()
        await eventually(lambda: worker.ended)
        assert not came
        assert worker.begun == 2


async def test_worker_is_killed_when_it_answers_twice(caller: Caller) -> None:
    await caller.ask(b"twice")
    assert "sent ANSWER" in await caller.end()


async def test_answer_counts_when_the_worker_ends_right_after_it(caller: Caller) -> None:
    frame, _ = await caller.ask(b"answer-and-exit")
    assert frame.body == b"answer-and-exit"
    assert await caller.end() == "worker ended with exit code 0"


async def test_kill_returns_when_a_guest_that_ignores_sigterm_is_dead(caller: Caller) -> None:
    pid = caller.worker.pid
    caller.send(b"hang")
    await caller.worker.kill()
    assert gone(pid)
    assert caller.ends == ["worker ended with signal 9"]


async def test_kill_ends_children_of_the_guest_too_without_a_sandbox(tmp_path: Path) -> None:
    caller = await Caller.of(tmp_path, sandbox=ProcessSandbox())
    told = tmp_path / "child"
    caller.send(b"child " + bytes(told))
    pid = int(await eventually(lambda: told.exists() and told.read_text(), within=PATIENCE))
    await caller.worker.kill()
    await eventually(lambda: gone(pid), within=PATIENCE)


async def test_start_fails_when_the_guest_never_gets_ready(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(WorkerEndedError, match="did not get ready within"):
        await start(tmp_path, script="never-ready", sandbox=sandbox, ready_seconds=0.2)


async def test_start_fails_with_the_guests_last_words_when_it_dies(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(WorkerEndedError, match="exit code 5: no such library"):
        await start(tmp_path, script="dies", sandbox=sandbox)


async def test_start_fails_when_the_guest_speaks_something_else(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(WorkerEndedError, match="broke the protocol"):
        await start(tmp_path, script="garbage", sandbox=sandbox)


async def test_load_fails_when_it_takes_too_long(sandbox: Sandbox, tmp_path: Path) -> None:
    worker = await start(tmp_path, script="load-hangs", sandbox=sandbox)
    with pytest.raises(WorkerEndedError, match="did not load the code"):
        await worker.assign(b"{}", limits=Limits(), seconds=0.2)
    assert worker.ended


async def test_load_gives_back_the_guests_error(sandbox: Sandbox, tmp_path: Path) -> None:
    worker = await start(tmp_path, script="load-fails", sandbox=sandbox)
    frame = await worker.assign(b"{}", limits=Limits(), seconds=PATIENCE)
    assert frame.type == FrameType.ERROR
    await worker.kill()


async def test_worker_leaves_no_descriptor_behind(sandbox: Sandbox, tmp_path: Path) -> None:
    await (await start(tmp_path, sandbox=sandbox)).kill()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await (await start(tmp_path, sandbox=sandbox)).kill()
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_start_fails_when_the_program_is_not_there(tmp_path: Path) -> None:
    class Nowhere(ProcessSandbox):
        """A sandbox that starts nothing."""

        def __init__(self) -> None:
            super().__init__()
            self._prefix = ("/nowhere/at/all",)

    with pytest.raises(WorkerEndedError, match="could not be started"):
        await start(tmp_path, sandbox=Nowhere())


def test_descriptor_is_the_guest_s_only_while_a_child_is_started() -> None:
    descriptor = GuestDescriptor()
    ours, theirs = socket.socketpair()
    with contextlib.closing(descriptor), ours, theirs:
        with descriptor.of(theirs) as number:
            assert os.path.samestat(os.fstat(number), os.fstat(theirs.fileno()))
            assert os.get_inheritable(number)
        assert os.path.samestat(os.fstat(descriptor.number), os.stat(os.devnull))
        assert not os.get_inheritable(descriptor.number)


def test_descriptor_is_low_enough_for_every_guest_when_it_is_taken_first() -> None:
    program = "from services.executor.workers.descriptor import GuestDescriptor; print(GuestDescriptor().number)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 15


async def test_call_is_unheard_when_its_worker_is_condemned_already(caller: Caller) -> None:
    caller.worker.breach(FailureCode.NONE, "it went on computing")
    caller.worker.call(7, b"{}", b"")
    assert caller.worker.unheard
    await eventually(lambda: caller.worker.ended, within=PATIENCE)
