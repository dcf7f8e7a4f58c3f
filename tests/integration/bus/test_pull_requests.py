"""Credit is neither lost nor doubled, whatever becomes of the requests that a server holds for us."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import orjson
import pytest

from libs.bus import jetstream_api as api
from libs.bus import streams
from libs.bus.jetstream import JetStreamBus, connect
from libs.bus.jetstream_client import FastClient
from libs.bus.jetstream_connection import Connection
from libs.bus.jetstream_consumer import JetStreamConsumer
from libs.bus.jetstream_pull import PullTiming
from libs.bus.port import ConsumerSpec, Delivery
from libs.bus.server import NatsServer, ServerOptions
from libs.testing.nats import required_nats_server
from libs.testing.wait import eventually

SPEC = ConsumerSpec(stream="JOBS", name="python-normal", filter="job.python.>", ack_wait_seconds=60)
FAST = PullTiming(expires=0.5, heartbeat=0.1, silence=0.6)
SUBJECT = "job.python.normal.default.hello"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[NatsServer]:
    made = NatsServer(required_nats_server(), ServerOptions(folder=tmp_path, sync_interval="2m"))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def connection(server: NatsServer) -> AsyncGenerator[Connection]:
    made = Connection(FastClient(), name="executor", inbox="_INBOX_executor.x")
    await made.open([server.url], user="", password="")
    await JetStreamBus(made).ensure_stream(streams.JOBS)
    yield made
    await made.close()


async def info(connection: Connection) -> api.Json:
    return await api.call(connection, "CONSUMER.INFO.JOBS.python-normal")


async def started(connection: Connection, found: list[Delivery]) -> JetStreamConsumer:
    consumer = JetStreamConsumer(connection, SPEC, found.append, timing=FAST)
    await consumer.start()
    return consumer


def pid_of(folder: Path) -> int:
    """Return the server's process id, which is a part of the name of its ports file."""
    return int(next(folder.glob("*.ports")).stem.rpartition("_")[2])


async def check_credit(connection: Connection, found: list[Delivery], count: int) -> None:
    """Have more messages than credit, and see that exactly the credit comes."""
    bus = JetStreamBus(connection)
    before = len(found)
    for _ in range(count + 5):
        await bus.append(SUBJECT, b"x")
    await eventually(lambda: len(found) == before + count)

    async def settled() -> bool:
        told = await info(connection)
        return told["num_ack_pending"] == before + count and told["num_pending"] == 5

    await eventually(settled)
    assert len(found) == before + count


async def test_requests_that_expire_are_made_again(connection: Connection) -> None:
    found: list[Delivery] = []
    consumer = await started(connection, found)
    for _ in range(3):
        consumer.pull(1)
        await asyncio.sleep(0)
    await asyncio.sleep(2)  # several times what a request lives
    await check_credit(connection, found, 3)


async def test_requests_in_flight_become_one_when_slots_fall_free_together(connection: Connection) -> None:
    found: list[Delivery] = []
    consumer = await started(connection, found)
    for _ in range(50):
        consumer.pull(1)

    async def one() -> bool:
        return (await info(connection))["num_waiting"] == 1

    await eventually(one)
    await check_credit(connection, found, 50)


async def test_consumer_that_was_deleted_is_made_again(connection: Connection) -> None:
    found: list[Delivery] = []
    consumer = await started(connection, found)
    consumer.pull(3)
    await eventually(lambda: info(connection))
    await api.call(connection, "CONSUMER.DELETE.JOBS.python-normal")
    bus = JetStreamBus(connection)
    for _ in range(8):
        await bus.append(SUBJECT, b"x")
    await eventually(lambda: len(found) == 3)


async def test_server_that_gives_no_sign_is_asked_afresh(server: NatsServer, connection: Connection, tmp_path: Path) -> None:
    found: list[Delivery] = []
    consumer = await started(connection, found)
    consumer.pull(3)
    await asyncio.sleep(0.2)
    pid = pid_of(tmp_path)
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(1.5)  # more than the silence that is borne
    finally:
        os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(1)
    await check_credit(connection, found, 3)


async def test_server_that_crashed_gets_no_more_credit_than_there_is(server: NatsServer, connection: Connection) -> None:
    found: list[Delivery] = []
    consumer = await started(connection, found)
    consumer.pull(2)
    consumer.pull(2)
    for _ in range(3):
        await server.kill()
        await server.start()
        await eventually(lambda: connection.up)
    await check_credit(connection, found, 4)


async def test_delivery_beyond_the_credit_is_handed_back(connection: Connection) -> None:
    found: list[Delivery] = []
    consumer = await started(connection, found)
    consumer.pull(1)
    bus = JetStreamBus(connection)
    # Somebody asks in our name, which is what a forgotten request looks like.
    inbox = cast("dict[str, str]", vars(vars(consumer)["_puller"]))["_inbox"]
    ask = orjson.dumps({"batch": 5, "expires": 1_000_000_000})
    await bus.publish("$JS.API.CONSUMER.MSG.NEXT.JOBS.python-normal", ask, reply=f"{inbox}.99")
    for _ in range(4):
        await bus.append(SUBJECT, b"x")
    others: list[Delivery] = []
    (await started(connection, others)).pull(3)
    await eventually(lambda: len(found) + len(others) == 4)
    assert len(found) == 1


async def test_connect_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    server = NatsServer(required_nats_server(), ServerOptions(folder=tmp_path))
    await server.start()
    await server.kill()
    early = asyncio.ensure_future(connect(url=server.url, user="", password="", name="gateway-1"))
    await asyncio.sleep(0.1)
    assert not early.done()
    await server.start()
    async with asyncio.timeout(30):
        bus = await early
    assert bus.connected
    await bus.close()
    await server.stop()
