"""What has happened to functions is told on the bus, once everybody can see it."""

from collections.abc import AsyncIterator

import pytest

from libs import errors
from libs.bus import streams
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.bus.port import ConsumerSpec, Delivery
from libs.clock import ManualClock
from libs.messages import codec, subjects
from libs.messages.audit import Actor
from libs.messages.catalog import FunctionEntry
from libs.messages.facts import FunctionFact, FunctionFacts
from libs.messages.functions import ChangeKind
from libs.storage.memory import MemoryStore
from libs.testing.wait import eventually
from services.registry.deploys.facts import Facts, Happened
from tests.unit.registry.editing.stand import NOON, Registry, running, stored

ADA = Actor(principal="ada")
ENTRY = FunctionEntry(namespace="default", runtime="python", name="demo", revision=1, source="api", versions=())


class Listener:
    """Hears what is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, FunctionFact]] = []
        self.messages = 0

    def hear(self, delivery: Delivery) -> None:
        self.messages += 1
        happened = delivery.subject.rpartition(".")[2]
        self.heard += [(happened, fact) for fact in codec.decode(FunctionFacts, delivery.data).facts]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
async def listener(broker: MemoryBroker) -> Listener:
    made, bus = Listener(), MemoryBus(broker)
    await bus.ensure_stream(streams.EVENTS)
    spec = ConsumerSpec(stream=subjects.EVENTS_STREAM, name="test", filter="event.function.>")
    (await bus.consume(spec, made.hear)).pull(1000)
    return made


@pytest.fixture
async def registry(broker: MemoryBroker) -> AsyncIterator[Registry]:
    store = MemoryStore()
    async with running(stored(store), store=store, broker=broker) as made:
        yield made


async def test_each_change_of_a_function_is_told_with_who_made_it(registry: Registry, listener: Listener) -> None:
    made = await registry.change(ChangeKind.CREATE, actor=ADA)
    await registry.change(ChangeKind.ENV, {"TOKEN": "s3cret"}, actor=ADA)
    await registry.change(ChangeKind.DELETE, actor=ADA)
    await registry.facts.flush()
    await eventually(lambda: len(listener.heard) == 3)
    told = [(happened, fact.name, fact.revision, fact.source, fact.actor) for happened, fact in listener.heard]
    assert told == [("created", "demo", 1, "api", ADA), ("updated", "demo", 2, "api", ADA), ("deleted", "demo", 2, "api", ADA)]
    assert made.detail is not None
    assert listener.heard[0][1].versions == {"default": made.detail.entry.versions[0].digest}
    assert listener.heard[2][1].versions == {}
    assert "s3cret" not in repr(listener.heard)


async def test_what_changes_nothing_is_not_told(registry: Registry, listener: Listener) -> None:
    await registry.change(ChangeKind.CREATE)
    await registry.detail()
    await registry.facts.flush()
    await eventually(lambda: listener.heard)
    assert [happened for happened, _ in listener.heard] == ["created"]


async def test_facts_wait_until_everybody_can_see_them_and_the_bus_is_there(broker: MemoryBroker, listener: Listener) -> None:
    bus = MemoryBus(broker)
    facts = Facts(bus=bus, clock=ManualClock(NOON))
    facts.note(Happened.CREATED, ENTRY, ADA)
    await facts.flush()
    assert listener.heard == []
    facts.release()
    broker.stop()
    with pytest.raises(errors.TemporaryError):
        await facts.flush()
    broker.start()
    await facts.flush()
    await eventually(lambda: len(listener.heard) == 1)


async def test_many_facts_go_in_few_messages_and_in_order(broker: MemoryBroker, listener: Listener) -> None:
    facts = Facts(bus=MemoryBus(broker), clock=ManualClock(NOON))
    for happened in (Happened.CREATED, Happened.UPDATED, Happened.CREATED):
        for _ in range(250):
            facts.note(happened, ENTRY, ADA)
    facts.release()
    await facts.flush()
    await eventually(lambda: len(listener.heard) == 750)
    assert [happened for happened, _ in listener.heard] == ["created"] * 250 + ["updated"] * 250 + ["created"] * 250
    assert listener.messages == 6
