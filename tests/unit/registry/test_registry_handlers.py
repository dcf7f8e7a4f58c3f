"""The history is asked for over the bus: newest first, by function, by id."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from libs import errors
from libs.bus import rpc
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.clock import ManualClock
from libs.messages import codec, subjects
from libs.messages.calls import FailureCode
from libs.messages.executions import (
    Execution,
    ExecutionBatch,
    ExecutionGet,
    ExecutionKind,
    ExecutionList,
    ExecutionRow,
    Executions,
)
from libs.storage.memory import MemoryStore
from services.registry.audit import Audit
from services.registry.history import intake as history
from services.registry.history.handlers import Handlers
from services.registry.history.intake import EXECUTIONS

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def execution(
    number: int,
    *,
    function: str = "hello",
    namespace: str = "default",
    stdout: str = "",
    status: int = 200,
    code: FailureCode = FailureCode.NONE,
) -> Execution:
    return Execution(
        id=f"req-{number}",
        namespace=namespace,
        runtime="python",
        function=function,
        version="default",
        digest="d",
        kind=ExecutionKind.CALL,
        executor="one",
        started_at=NOON + timedelta(seconds=number),
        status=status,
        code=code,
        stdout=stdout,
    )


async def holding(*executions: Execution) -> MemoryStore:
    store = MemoryStore()
    await store.ensure(EXECUTIONS)
    batch = ExecutionBatch(executor="one", executions=list(map(ExecutionRow.of, executions)))
    await store.insert_many(EXECUTIONS, history.parse(codec.encode(batch)))
    return store


@asynccontextmanager
async def serving(store: MemoryStore, *, max_payload: int = 1 << 20) -> AsyncGenerator[MemoryBus]:
    bus = MemoryBus(MemoryBroker(max_payload=max_payload))
    async with asyncio.TaskGroup() as tasks:
        server = rpc.Server(bus, "registry", tasks)
        await Handlers(bus=bus, store=store, audit=Audit(store=store, clock=ManualClock(NOON))).serve(server)
        yield bus
        await server.stop()


async def newest(bus: MemoryBus, request: ExecutionList) -> list[str]:
    answer = await rpc.call(bus, subjects.rpc("registry", "executions"), request, Executions)
    return [each.id for each in answer.executions]


async def test_executions_come_newest_first() -> None:
    async with serving(await holding(*(execution(number) for number in range(5)))) as bus:
        assert await newest(bus, ExecutionList(limit=3)) == ["req-4", "req-3", "req-2"]


async def test_executions_are_those_of_the_function_that_was_asked_for() -> None:
    store = await holding(execution(1), execution(2, function="other"), execution(3, namespace="acme"))

    async with serving(store) as bus:
        assert await newest(bus, ExecutionList(function="hello")) == ["req-1"]
        assert await newest(bus, ExecutionList(function="hello", namespace="acme")) == ["req-3"]
        assert await newest(bus, ExecutionList(namespace="default")) == ["req-2", "req-1"]


async def test_executions_are_those_that_failed() -> None:
    good = [execution(number) for number in range(1500)]  # more than are looked at together
    bad = [
        execution(2000, status=404),
        execution(1, status=500),
        execution(2, status=0, code=FailureCode.CRASH),
        execution(1400, status=200, code=FailureCode.HANDLER_ERROR),
    ]
    async with serving(await holding(*bad, *(each for each in good if each.id not in {one.id for one in bad}))) as bus:
        assert await newest(bus, ExecutionList(failed=True)) == ["req-1400", "req-2", "req-1"]
        assert await newest(bus, ExecutionList(failed=True, limit=2)) == ["req-1400", "req-2"]
        assert await newest(bus, ExecutionList(function="other", failed=True)) == []


async def test_executions_are_those_since_a_moment() -> None:
    since = int((NOON + timedelta(seconds=3)).timestamp() * 1000)
    async with serving(await holding(*(execution(number) for number in range(5)))) as bus:
        assert await newest(bus, ExecutionList(function="hello", since_ms=since)) == ["req-4", "req-3"]


async def test_executions_are_as_many_as_fit_into_a_message() -> None:
    store = await holding(*(execution(number, stdout="x" * 10_000) for number in range(50)))

    async with serving(store, max_payload=65_536) as bus:
        assert await newest(bus, ExecutionList()) == [f"req-{number}" for number in range(49, 44, -1)]


async def test_executions_leave_out_what_a_newer_registry_wrote() -> None:
    store = await holding(execution(1), execution(2))
    document = await store.get(EXECUTIONS, "req-2")
    assert document is not None
    await store.replace(EXECUTIONS, document | {"execution": b"another form"}, revision=1)

    async with serving(store) as bus:
        assert await newest(bus, ExecutionList()) == ["req-1"]


async def test_execution_is_found_by_its_id() -> None:
    async with serving(await holding(execution(7, stdout="hi\n"))) as bus:
        found = await rpc.call(bus, subjects.rpc("registry", "execution"), ExecutionGet(id="req-7"), Execution)

    assert found == execution(7, stdout="hi\n")


async def test_execution_is_not_found_when_there_is_none() -> None:
    async with serving(MemoryStore()) as bus:
        with pytest.raises(errors.NotFoundError, match="execution nobody not found"):
            await rpc.call(bus, subjects.rpc("registry", "execution"), ExecutionGet(id="nobody"), Execution)


async def test_executions_are_unavailable_while_the_store_is_away() -> None:
    store = MemoryStore()
    store.reachable = False

    async with serving(store) as bus:
        with pytest.raises(errors.UnavailableError):
            await newest(bus, ExecutionList())
        store.reachable = True
        assert await newest(bus, ExecutionList()) == []
