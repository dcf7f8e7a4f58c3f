"""Typed requests: answers, errors and overload cross the bus as what they are."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from libs import errors
from libs.bus import rpc
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.bus.port import Message, NoRespondersError, RequestTimeoutError
from libs.messages import codec, subjects
from libs.messages.jobs import JobGet, JobList, JobResultGet
from libs.testing.wait import eventually

GET = subjects.rpc("scheduler", "get")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def bus() -> AsyncGenerator[MemoryBus]:
    made = MemoryBus(MemoryBroker(max_payload=10_000))
    yield made
    await made.close()


async def ask(bus: MemoryBus, text: str = "x", *, seconds: float = 20) -> JobGet:
    return await rpc.call(bus, GET, JobGet(id=text), JobGet, timeout=seconds)


async def test_answer_is_what_the_handler_returned(bus: MemoryBus) -> None:
    async def handler(request: JobGet, traceparent: str) -> JobResultGet:
        return JobResultGet(id=f"{request.id} {traceparent}")

    async with asyncio.TaskGroup() as tasks:
        server = rpc.Server(bus, "scheduler", tasks)
        await server.serve("get", JobGet, handler)
        answer = await rpc.call(bus, GET, JobGet(id="x"), JobResultGet, timeout=20, traceparent=TRACEPARENT)
        assert answer == JobResultGet(id=f"x {TRACEPARENT}")
        await server.stop()


@pytest.mark.parametrize(
    ("raised", "caught"),
    [
        (errors.NotFoundError("no such job"), errors.NotFoundError),
        (errors.ConflictError("no such job"), errors.ConflictError),
        (errors.PermanentError("no such job"), errors.PermanentError),
        (errors.UnavailableError("no such job"), errors.UnavailableError),
        (errors.TemporaryError("no such job"), errors.TemporaryError),
        (errors.DeadlineError("no such job"), errors.TemporaryError),
    ],
)
async def test_error_is_raised_again_as_its_own_kind(
    bus: MemoryBus, raised: errors.FnbusError, caught: type[errors.FnbusError]
) -> None:
    async def handler(_request: JobGet, _traceparent: str) -> JobGet:
        raise raised

    async with asyncio.TaskGroup() as tasks:
        await rpc.Server(bus, "scheduler", tasks).serve("get", JobGet, handler)
        with pytest.raises(errors.FnbusError, match="no such job") as found:
            await ask(bus)
        assert type(found.value) is caught


async def test_when_to_ask_again_crosses_the_bus(bus: MemoryBus) -> None:
    async def handler(_request: JobGet, _traceparent: str) -> JobGet:
        raise errors.UnavailableError("not now", retry_after=2.5)

    async with asyncio.TaskGroup() as tasks:
        await rpc.Server(bus, "scheduler", tasks).serve("get", JobGet, handler)
        with pytest.raises(errors.UnavailableError) as found:
            await ask(bus)
        assert found.value.retry_after == 2.5


async def test_defect_of_a_handler_is_temporary_and_tells_nothing_of_the_inside(bus: MemoryBus) -> None:
    async def handler(_request: JobGet, _traceparent: str) -> JobGet:
        raise KeyError("password=hunter2")

    async with asyncio.TaskGroup() as tasks:
        await rpc.Server(bus, "scheduler", tasks).serve("get", JobGet, handler)
        with pytest.raises(errors.TemporaryError, match=r"^internal error$"):
            await ask(bus)


async def test_request_that_cannot_be_parsed_is_a_permanent_error(bus: MemoryBus) -> None:
    async def handler(_request: JobGet, _traceparent: str) -> JobGet:
        raise AssertionError("not reached")

    async with asyncio.TaskGroup() as tasks:
        await rpc.Server(bus, "scheduler", tasks).serve("get", JobGet, handler)
        with pytest.raises(errors.PermanentError, match=r"JobGet\.id: required"):
            await rpc.call(bus, GET, JobList(), JobGet, timeout=20)


async def test_answer_that_cannot_be_parsed_is_malformed(bus: MemoryBus) -> None:
    await bus.subscribe(GET, lambda message: bus.post(message.reply, b"garbage"))
    with pytest.raises(codec.MalformedMessageError):
        await ask(bus)


async def test_answer_larger_than_a_message_is_an_error_and_the_server_goes_on(bus: MemoryBus) -> None:
    async def handler(request: JobGet, _traceparent: str) -> JobGet:
        return JobGet(id=request.id * 10_000)

    async with asyncio.TaskGroup() as tasks:
        await rpc.Server(bus, "scheduler", tasks).serve("get", JobGet, handler)
        with pytest.raises(errors.PermanentError, match="bytes"):
            await ask(bus, "xx")
        with pytest.raises(errors.PermanentError, match="bytes"):
            await ask(bus, "yy")


async def test_requests_are_handled_at_once_up_to_the_limit_and_refused_above(bus: MemoryBus) -> None:
    running: list[str] = []
    go_on = asyncio.Event()

    async def handler(request: JobGet, _traceparent: str) -> JobGet:
        running.append(request.id)
        await go_on.wait()
        return request

    async with asyncio.TaskGroup() as tasks:
        await rpc.Server(bus, "scheduler", tasks, limit=3).serve("get", JobGet, handler)
        asked = [tasks.create_task(ask(bus, str(number))) for number in range(3)]
        await eventually(lambda: len(running) == 3)
        with pytest.raises(errors.TemporaryError, match="overloaded"):
            await ask(bus)
        go_on.set()
        assert [(await each).id for each in asked] == ["0", "1", "2"]
        assert await ask(bus, "again") == JobGet(id="again")


async def test_replicas_share_the_requests(bus: MemoryBus) -> None:
    other = MemoryBus(bus.broker)
    served: list[str] = []

    async with asyncio.TaskGroup() as tasks:
        for name, each in (("one", bus), ("two", other)):

            async def handler(request: JobGet, _traceparent: str, name: str = name) -> JobGet:
                served.append(name)
                return request

            await rpc.Server(each, "scheduler", tasks).serve("get", JobGet, handler)
        await asyncio.gather(*(ask(bus, str(number)) for number in range(100)))
    assert len(served) == 100
    assert set(served) == {"one", "two"}


async def test_stopped_server_takes_no_more_but_finishes_what_it_has(bus: MemoryBus) -> None:
    running = asyncio.Event()
    go_on = asyncio.Event()

    async def handler(request: JobGet, _traceparent: str) -> JobGet:
        running.set()
        await go_on.wait()
        return request

    async with asyncio.TaskGroup() as tasks:
        server = rpc.Server(bus, "scheduler", tasks)
        await server.serve("get", JobGet, handler)
        asked = tasks.create_task(ask(bus, "kept"))
        await asyncio.wait_for(running.wait(), 20)
        await server.stop()
        with pytest.raises(NoRespondersError):
            await ask(bus)
        go_on.set()
        assert await asked == JobGet(id="kept")


async def test_message_without_a_reply_subject_is_handled_and_not_answered(bus: MemoryBus) -> None:
    handled = asyncio.Event()

    async def handler(request: JobGet, _traceparent: str) -> JobGet:
        handled.set()
        return request

    async with asyncio.TaskGroup() as tasks:
        await rpc.Server(bus, "scheduler", tasks).serve("get", JobGet, handler)
        await bus.publish(GET, codec.encode(JobGet(id="x")))
        await asyncio.wait_for(handled.wait(), 20)


async def test_server_survives_a_lost_connection_while_it_works(bus: MemoryBus) -> None:
    running = asyncio.Event()
    go_on = asyncio.Event()

    async def handler(request: JobGet, _traceparent: str) -> JobGet:
        running.set()
        await go_on.wait()
        return request

    async with asyncio.TaskGroup() as tasks:
        await rpc.Server(bus, "scheduler", tasks).serve("get", JobGet, handler)
        asked = asyncio.ensure_future(bus.request(GET, codec.encode(JobGet(id="x")), timeout=20))
        await asyncio.wait_for(running.wait(), 20)
        bus.broker.stop()
        with pytest.raises(errors.UnavailableError):
            await asked
        go_on.set()
        await eventually(lambda: bus.dropped == 1)
        bus.broker.start()
        assert await ask(bus, "again") == JobGet(id="again")


async def test_call_says_that_nobody_listens_or_answers(bus: MemoryBus) -> None:
    with pytest.raises(NoRespondersError):
        await ask(bus)
    silent: list[Message] = []
    await bus.subscribe(GET, silent.append)
    with pytest.raises(RequestTimeoutError):
        await ask(bus, seconds=0.02)
