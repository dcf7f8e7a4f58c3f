"""The history of executions: from the event stream into the store.

Executors append what ran in batches; a durable consumer brings them here at the pace of the store. Losing the registry or
its store never blocks a call: the stream waits, within its bound. What is asked for later is in `handlers`, what is
forgotten in `retention`.

At full load thousands of executions a second pass, on cores that calls need. So they are stored as the bytes that came, beside
the few fields that are searched for, and only parsed when somebody asks for them.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from libs import errors
from libs.bus import port, streams
from libs.clock import Clock
from libs.messages import codec, subjects
from libs.messages.executions import Execution, ExecutionBatch
from libs.messages.jobs import DeadLetter
from libs.storage.port import Collection, Document, Index, Store
from services.registry.history.figures import FigureKeeper
from services.registry.metrics import Metrics
from services.registry.parallel import in_parallel

log = logging.getLogger(__name__)

EXECUTIONS = Collection("executions", (Index(("started_at",)), Index(("namespace", "function", "started_at"))))
"""One document for each execution, `_id` is its id."""

CONSUMER = port.ConsumerSpec(
    stream=subjects.EVENTS_STREAM, name="registry-executions", filter=subjects.EXECUTION_FINISHED, ack_wait_seconds=30
)

_CREDIT = 12
"""Batches in memory at once; each is at most one message."""
_TOGETHER = 4
"""Batches stored at once; the others are on their way meanwhile."""
_MAX_DELIVERIES = 5
"""Tries of a batch that fails for an unknown reason."""
_ENVELOPE_BYTES = 4096
"""Room for what a dead letter says besides the bytes it carries."""


class History:
    """Takes execution batches from the stream into the store."""

    def __init__(
        self,
        *,
        bus: port.Bus,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        replica: str,
        figures: FigureKeeper,
        retry_seconds: float = 1.0,
    ) -> None:
        """Make it; `run` starts it.

        Args:
            bus: where the batches come from.
            store: where they are kept.
            clock: stamps dead letters.
            metrics: what is counted.
            replica: name of this process, said in dead letters.
            figures: counts what was stored.
            retry_seconds: first pause while the store is away; it doubles up to 30 s.
        """
        self._bus = bus
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._replica = replica
        self._figures = figures
        self._retry_seconds = retry_seconds
        self._pause = retry_seconds

    async def run(self) -> None:
        """Take batches for ever."""
        await self._prepared()
        arrived: asyncio.Queue[port.Delivery] = asyncio.Queue()  # bounded by the credit
        consumer = await self._joined(arrived)
        try:
            consumer.pull(_CREDIT)
            while True:
                deliveries = [await arrived.get()]
                while len(deliveries) < _TOGETHER and not arrived.empty():
                    deliveries.append(arrived.get_nowait())
                if any(delivery.deliveries > 1 for delivery in deliveries):
                    for delivery in deliveries:  # each by itself, to see which of them was stored before
                        await self._take([delivery])
                else:
                    await self._take(deliveries)
                consumer.pull(len(deliveries))
        finally:
            await _hand_back(consumer, arrived)

    async def _prepared(self) -> None:
        while True:
            try:
                await self._store.ensure(EXECUTIONS)
                await self._bus.ensure_stream(streams.EVENTS)
            except errors.TemporaryError as error:
                await self._wait(error)
            else:
                return

    async def _joined(self, arrived: asyncio.Queue[port.Delivery]) -> port.Consumer:
        while True:
            try:
                return await self._bus.consume(CONSUMER, arrived.put_nowait)
            except errors.TemporaryError as error:
                await self._wait(error)

    async def _take(self, deliveries: Sequence[port.Delivery]) -> None:
        """Store what the deliveries hold and settle each of them."""
        documents: list[Document] = []
        good: list[port.Delivery] = []
        for delivery in deliveries:
            try:
                documents += parse(delivery.data)
            except codec.MalformedMessageError as error:
                await self._give_up(delivery, str(error))
            else:
                good.append(delivery)
        try:
            if documents:
                await self._add(documents)
        except errors.TemporaryError as error:
            await in_parallel(good, lambda delivery: _settled(delivery.nak(delay=self._pause)))
            await self._wait(error)
        except Exception as error:
            log.exception("executions could not be stored", extra={"action": "history_failed"})
            await self._split(good, error)
        else:
            self._pause = self._retry_seconds
            await in_parallel(good, lambda delivery: _settled(delivery.ack()))

    async def _add(self, documents: Sequence[Document]) -> None:
        """Store executions, and count them unless they came before."""
        added = await self._store.insert_many(EXECUTIONS, documents)
        self._metrics.history_rows.inc(added)
        if added:
            self._figures.count(documents)

    async def _split(self, deliveries: Sequence[port.Delivery], error: Exception) -> None:
        """After an unknown fault: try batches one by one, and give up the one that stays at fault."""
        if len(deliveries) > 1:
            for delivery in deliveries:
                await self._take([delivery])
        elif deliveries[0].deliveries >= _MAX_DELIVERIES:
            await self._give_up(deliveries[0], f"{type(error).__name__}: {error}")
        else:
            await _settled(deliveries[0].nak(delay=self._retry_seconds))

    async def _give_up(self, delivery: port.Delivery, reason: str) -> None:
        """Dead-letter a message and end its deliveries."""
        letter = DeadLetter(
            subject=delivery.subject,
            reason=reason,
            data=delivery.data[: max(self._bus.max_payload - _ENVELOPE_BYTES, 0)],
            source=f"registry {self._replica}",
            at=self._clock.now(),
        )
        try:
            await self._bus.append(
                subjects.DEAD_LETTER, codec.encode(letter), message_id=f"{CONSUMER.name}@{delivery.sequence}"
            )
        except errors.TemporaryError:
            await _settled(delivery.nak(delay=self._pause))
            return
        await _settled(delivery.term())
        self._metrics.dead_letters.inc()
        log.warning(
            "a batch of executions was given up: %s",
            reason,
            extra={"action": "message_dead_lettered", "subject": delivery.subject},
        )

    async def _wait(self, error: errors.TemporaryError) -> None:
        if self._pause == self._retry_seconds:
            log.warning("executions wait: %s", error, extra={"action": "history_waits"})
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, 30.0)


def parse(data: bytes) -> list[Document]:
    """Return the documents of the executions that an `ExecutionBatch` holds.

    Raises:
        codec.MalformedMessageError: it is not one.
    """
    return [
        {
            "_id": row.id,
            "namespace": row.namespace,
            "function": row.function,
            "started_at": row.started_at,
            "execution": row.packed,
        }
        for row in codec.decode(ExecutionBatch, data).rows()
    ]


def execution_of(document: Document) -> Execution:
    """Return the execution that a document holds.

    Raises:
        codec.MalformedMessageError: the document was written by a newer registry, or by something else.
    """
    return codec.decode(Execution, document.get("execution", b""))


async def _hand_back(consumer: port.Consumer, arrived: asyncio.Queue[port.Delivery]) -> None:
    with contextlib.suppress(errors.TemporaryError):
        await consumer.stop()
    while not arrived.empty():
        await _settled(arrived.get_nowait().nak())


async def _settled(settling: Any) -> None:
    """Settle a delivery; without the server it comes again by itself, and storing it twice does no harm."""
    with contextlib.suppress(errors.TemporaryError):
        await settling
