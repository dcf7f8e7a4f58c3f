"""What the fast client relies on inside nats-py: when one of these fails, read `libs/bus/jetstream_client.py` again.

The contract suite shows that messages flow; this says what changed when they do not.
"""

import inspect
from pathlib import Path

import pytest
from nats.aio.client import PING_PROTO, Client
from nats.aio.subscription import Subscription
from nats.protocol.parser import AWAITING_CONTROL_LINE, PERMISSIONS_ERR, Parser

from libs.bus.jetstream import JetStreamBus
from libs.bus.jetstream_client import FastClient
from libs.bus.jetstream_connection import Connection
from libs.bus.jetstream_parser import MessageParser
from libs.testing.nats import running_nats
from libs.testing.wait import eventually


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_process_msg", ["self", "sid", "subject", "reply", "data", "headers"]),
        ("_process_pong", ["self"]),
        ("_process_err", ["self", "err_msg"]),
        ("_process_op_err", ["self", "e"]),
        ("_send_subscribe", ["self", "sub"]),
        ("_send_unsubscribe", ["self", "sid", "limit"]),
    ],
)
def test_method_that_is_replaced_or_called_is_what_it_was(name: str, expected: list[str]) -> None:
    method = getattr(Client, name)
    assert inspect.iscoroutinefunction(method)
    assert parameters(method) == expected
    assert parameters(getattr(FastClient, name)) == expected


def test_subscription_is_made_as_before() -> None:
    assert parameters(Subscription)[:4] == ["conn", "id", "subject", "queue"]
    assert PING_PROTO == b"PING\r\n"
    assert PERMISSIONS_ERR == "permissions violation"


async def test_attributes_that_are_used_are_there() -> None:
    client = FastClient()
    for name, kind in (
        ("_pending", list),
        ("_pending_data_size", int),
        ("_subs", dict),
        ("_sid", int),
        ("_pongs", list),
        ("_pongs_received", int),
        ("_pings_outstanding", int),
        ("_transport", type(None)),
        ("_ps", MessageParser),
    ):
        assert isinstance(getattr(client, name), kind), name


def test_parser_of_the_client_keeps_its_state_where_ours_looks() -> None:
    assert isinstance(getattr(Client(), "_ps"), Parser)  # noqa: B009  an inner name of nats-py's
    assert inspect.iscoroutinefunction(Parser.parse)
    parser = Parser()  # pyright: ignore[reportUnknownMemberType]  untyped parameter
    assert (parser.buf, parser.needed, parser.state) == (bytearray(), 0, AWAITING_CONTROL_LINE)


async def test_messages_take_the_short_way(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        client = FastClient()
        await client.connect(server.url)
        found: list[bytes] = []
        sid = await client.listen("a", "", lambda _subject, _reply, data, _headers: found.append(data))
        client.send("a", b"x", "", b"")
        await client.round_trip()
        await eventually(lambda: found)
        subscription = getattr(client, "_subs")[sid]  # noqa: B009  an inner name of nats-py's
        assert getattr(subscription, "_wait_for_msgs_task") is None  # noqa: B009  no task per subscription
        assert subscription.pending_msgs == 0
        await client.close()


async def test_error_of_the_server_leads_to_a_new_connection_instead_of_the_end(tmp_path: Path) -> None:
    async with running_nats(tmp_path) as server:
        client = FastClient()
        connection = Connection(client, name="gateway", inbox="_INBOX_gateway.x")
        await connection.open([server.url], user="", password="")
        bus = JetStreamBus(connection)
        states: list[bool] = []
        bus.on_state(states.append)
        # A command that no server knows: it answers with an error and closes.
        getattr(client, "_transport").write(b"NONSENSE\r\n")  # noqa: B009  an inner name of nats-py's
        await eventually(lambda: states == [False, True])
        found: list[bytes] = []
        await bus.subscribe("a", lambda message: found.append(message.data))
        await bus.publish("a", b"x")
        await eventually(lambda: found)
        await bus.close()
