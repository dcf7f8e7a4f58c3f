"""Deliveries of jobs that are in our hands: asked for, kept alive, and each settled once.

Each runtime has its own credit: no more deliveries are asked for than slots are free. A delivery is kept alive
(`in_progress`) for as long as it is held here, and settled as `policy` says; then another one may come in its place.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from libs import errors
from libs.bus import port, streams
from libs.bus.port import Consumer, ConsumerSpec, Delivery
from libs.clock import Clock
from libs.messages import codec, subjects
from libs.messages.jobs import DeadLetter, JobEvent, Outcome
from services.executor.jobs import policy
from services.executor.jobs.policy import Happened, Settle

log = logging.getLogger(__name__)

ACK_WAIT_SECONDS = 15.0
KEEP_ALIVE_SECONDS = ACK_WAIT_SECONDS / 3

_DELAY_SECONDS = 1.0

type OnDelivery = Callable[[Delivery, str], None]
"""Takes a delivery and the runtime whose queue it came from."""


class Held:
    """A delivery that is in our hands."""

    __slots__ = ("canceled", "delivery", "event", "outcome", "runtime")

    def __init__(self, delivery: Delivery, event: JobEvent, runtime: str) -> None:
        self.delivery = delivery
        self.event = event
        self.runtime = runtime
        self.canceled = False
        self.outcome: Outcome | None = None

    @property
    def id(self) -> str:
        """Id of the attempt, and of its execution."""
        return f"{self.event.job_id}@{self.event.attempt}"


class Deliveries:
    """What this executor holds of the work queue."""

    def __init__(self, *, bus: port.Bus, executor: str, clock: Clock, slots: int) -> None:
        """Hold at most `slots` attempts of each runtime at a time."""
        self._bus = bus
        self._executor = executor
        self._clock = clock
        self._slots = slots
        self._consumers: dict[str, Consumer] = {}
        self._held: dict[str, Held] = {}
        self._stopping = False
        self.settled = dict.fromkeys((each.value for each in Settle), 0)
        """Deliveries settled, by how."""

    @property
    def held(self) -> list[Held]:
        """All that are in our hands."""
        return list(self._held.values())

    async def start(self, runtimes: Sequence[str], on_delivery: OnDelivery) -> None:
        """Ask for jobs of these runtimes from now on."""
        for runtime in runtimes:
            spec = ConsumerSpec(
                stream=subjects.JOBS_STREAM,
                name=subjects.job_consumer(runtime=runtime),
                filter=subjects.job_all(runtime=runtime),
                ack_wait_seconds=ACK_WAIT_SECONDS,
            )
            consumer = await self._bus.consume(spec, lambda delivery, runtime=runtime: on_delivery(delivery, runtime))
            self._consumers[runtime] = consumer
            consumer.pull(self._slots)

    async def stop(self) -> None:
        """Ask for no more; what is held stays until it is settled."""
        self._stopping = True
        for consumer in self._consumers.values():
            await consumer.stop()

    async def keep_alive(self) -> None:
        """Tell the server for ever that what we hold is being worked on."""
        while True:
            await asyncio.sleep(KEEP_ALIVE_SECONDS)
            for held in self.held:
                await self._quietly(held.delivery.in_progress())

    def hold(self, held: Held) -> bool:
        """Take a delivery in hand; False when its attempt is here already."""
        known = self._held.get(held.id)
        if known is None:
            self._held[held.id] = held
            return True
        # Delivered again while we still work on it (the server forgot, or thinks that we are dead): one run will do.
        known.delivery = held.delivery
        self._more(held.runtime)
        return False

    async def settle(self, held: Held, happened: Happened) -> None:
        """Settle a delivery as the policy says and ask for another one in its place."""
        how = policy.settle(happened)
        self._held.pop(held.id, None)
        self.settled[how.value] += 1
        match how:
            case Settle.ACK:
                # Lost on its way, it costs a delivery that the scheduler declines: not worth a round trip for each job.
                await self._quietly(held.delivery.ack(confirm=False))
            case Settle.HAND_BACK:
                await self._quietly(held.delivery.nak())
            case Settle.DELAY:
                await self._quietly(held.delivery.nak(delay=_DELAY_SECONDS))
            case Settle.DEAD_LETTER:
                await self._quietly(held.delivery.term())
        self._more(held.runtime)

    async def settle_all(self, batch: Sequence[Held], happened: Happened) -> None:
        """Settle several in the same way."""
        for held in batch:
            await self.settle(held, happened)

    async def refuse_held(self, held: Held, reason: str) -> None:
        """As `refuse`, for one that is in our hands."""
        self._held.pop(held.id, None)
        await self.refuse(held.delivery, held.runtime, reason)

    async def refuse(self, delivery: Delivery, runtime: str, reason: str) -> None:
        """Keep a delivery's bytes with the reason, then have it never delivered again."""
        log.error("a job is given up: %s", reason, extra={"action": "job_dead_lettered", "subject": delivery.subject})
        letter = DeadLetter(
            subject=delivery.subject,
            reason=reason,
            data=delivery.data[: self._bus.max_payload - streams.ENVELOPE_BYTES],
            source=self._executor,
            at=self._clock.now(),
        )
        try:
            await self._bus.append(subjects.DEAD_LETTER, codec.encode(letter), message_id=f"dead-{delivery.sequence}")
        except errors.FnbusError as error:
            log.warning("a dead letter could not be kept: %s", error, extra={"action": "dead_letter_waiting"})
            await self._quietly(delivery.nak(delay=_DELAY_SECONDS))
        else:
            await self._quietly(delivery.term())
            self.settled[Settle.DEAD_LETTER.value] += 1
        self._more(runtime)

    def _more(self, runtime: str) -> None:
        if not self._stopping:
            self._consumers[runtime].pull(1)

    async def _quietly(self, settling: Coroutine[Any, Any, None]) -> None:
        """Settle; when the server does not take it, the message comes again and the scheduler knows what to say."""
        try:
            await settling
        except errors.FnbusError as error:
            log.info("a delivery could not be settled: %s", error, extra={"action": "settle_failed"})
