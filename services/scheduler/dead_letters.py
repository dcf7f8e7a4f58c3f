"""What was given up: messages from the bus into the store, where people can look at them, and the letters about jobs."""

import asyncio
import contextlib
import hashlib
import logging
from datetime import timedelta

from libs import errors
from libs.bus import port
from libs.bus.port import ConsumerSpec
from libs.clock import Clock
from libs.messages import codec, subjects
from libs.messages.jobs import DeadLetter
from services.scheduler.jobs import Ending
from services.scheduler.store import JobStore

log = logging.getLogger(__name__)

CONSUMER = ConsumerSpec(stream=subjects.EVENTS_STREAM, name="scheduler-dead-letters", filter=subjects.DEAD_LETTER)
_CREDIT = 32
_RETRY_SECONDS = 5.0
_MAX_DELIVERIES = 5
"""Of a letter that cannot be stored for a reason that nobody foresaw."""


class DeadLetterKeeper:
    """Stores each dead letter once, then acknowledges it."""

    def __init__(self, *, store: JobStore, clock: Clock, keep: timedelta, tasks: asyncio.TaskGroup) -> None:
        self._store = store
        self._clock = clock
        self._keep = keep
        self._tasks = tasks
        self._consumer: port.Consumer | None = None
        self.kept = 0

    async def start(self, bus: port.Bus) -> port.Consumer:
        """Begin to consume."""
        self._consumer = await bus.consume(CONSUMER, self._on_delivery)
        self._consumer.pull(_CREDIT)
        return self._consumer

    def _on_delivery(self, delivery: port.Delivery) -> None:
        self._tasks.create_task(self._keep_letter(delivery), name="dead letter")

    async def _keep_letter(self, delivery: port.Delivery) -> None:
        try:
            try:
                letter = codec.decode(DeadLetter, delivery.data)
            except codec.MalformedMessageError as error:
                letter = DeadLetter(
                    subject=delivery.subject,
                    reason=f"not a dead letter itself: {error}",
                    data=delivery.data,
                    source="scheduler",
                    at=self._clock.now(),
                )
            digest = hashlib.sha256(delivery.data).hexdigest()[:16]
            await self._store.add_letter(letter, expires_at=self._clock.now() + self._keep, id=f"{delivery.sequence}-{digest}")
            await delivery.ack()
            self.kept += 1
            log.warning(
                "a message was given up: %s",
                letter.reason,
                extra={"action": "dead_letter", "subject": letter.subject, "job": letter.job_id},
            )
        except errors.TemporaryError as error:
            log.warning("a dead letter waits: %s", error, extra={"action": "dead_letter_deferred"})
            await self._again(delivery)
        except Exception:
            log.exception(
                "a dead letter could not be stored", extra={"action": "dead_letter_failed", "sequence": delivery.sequence}
            )
            await self._again(delivery, at_most=_MAX_DELIVERIES)
        finally:
            if self._consumer is not None:
                self._consumer.pull(1)

    async def _again(self, delivery: port.Delivery, *, at_most: int = 0) -> None:
        """Have a letter delivered later, unless it was `at_most` times (0: for ever); without the bus it is so by itself."""
        with contextlib.suppress(errors.TemporaryError):
            if at_most and delivery.deliveries >= at_most:
                await delivery.term()
            else:
                await delivery.nak(delay=_RETRY_SECONDS)


def letter_of(ending: Ending, head: bytes, *, source: str) -> DeadLetter | None:
    """Return the dead letter of a job that was given up; None for any other ending."""
    if not ending.dead:
        return None
    job, request = ending.job, ending.job.request
    return DeadLetter(
        subject=subjects.job(runtime=request.runtime, namespace=request.namespace, function=request.function),
        reason=f"attempt {job.attempt} of {job.max_attempts}: {ending.dead}",
        data=head,
        source=source,
        at=job.updated_at,
        job_id=job.id,
    )
