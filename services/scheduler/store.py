"""Jobs, results and dead letters in the document store: records in, records out.

A job's document is the job as bytes beside the few fields that are looked for. A live job is also remembered as it was
written last, so that its claim and its outcome need not read it: compare-and-set on the revision tells when another replica
has written it since.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from libs.messages import codec
from libs.messages.jobs import TERMINAL, DeadLetter, JobState
from libs.storage import port
from libs.storage.port import Collection, Index, Where
from services.scheduler.jobs import Ending, Job

JOBS = Collection(
    "jobs",
    indexes=(
        Index(("created_at",)),
        Index(("state", "due_at")),
        Index(("schedule", "created_at")),
        Index(("expires_at",)),
    ),
)
RESULTS = Collection("results", indexes=(Index(("expires_at",)),))
DEAD_LETTERS = Collection("dead_letters", indexes=(Index(("at",)), Index(("expires_at",))))
SCHEDULES = Collection("schedules")

_TRIES = 20
_REMEMBERED_JOBS = 4096
_REMEMBERED_BYTES = 8192
"""A job that is larger, packed, is read again when it is needed: together they bound what is remembered."""


class StoredJob(NamedTuple):
    """A job and the revision it was read at."""

    job: Job
    revision: int


class JobStore:
    """The scheduler's database."""

    def __init__(self, store: port.Store) -> None:
        self._store = store
        self._written: OrderedDict[str, StoredJob] = OrderedDict()

    async def prepare(self) -> None:
        """Create what is missing in the database."""
        for collection in (JOBS, RESULTS, DEAD_LETTERS, SCHEDULES):
            await self._store.ensure(collection)

    async def add(self, job: Job) -> None:
        """Insert a new job.

        Raises:
            port.DuplicateKeyError: there is one of that id.
        """
        document = _document(job)
        await self._store.insert(JOBS, document)
        self._remember(job, document, revision=1)

    async def get(self, job_id: str) -> StoredJob | None:
        """Return a job by id."""
        document = await self._store.get(JOBS, job_id)
        return _stored(document) if document else None

    async def recall(self, ids: Iterable[str]) -> dict[str, StoredJob]:
        """Return the jobs of these ids that exist, as this replica knows them.

        Another replica may have written one since. To go by it is safe where `save` follows, which then conflicts; who would
        turn something down because of it reads it anew.
        """
        wanted = set(ids)
        found = {job_id: known for job_id in wanted if (known := self._written.get(job_id)) is not None}
        missing = sorted(wanted - found.keys())
        if missing:
            documents = await self._store.find(JOBS, (Where("_id", "in", missing),), limit=len(missing))
            found |= {stored.job.id: stored for stored in map(_stored, documents)}
        return found

    async def save(self, job: Job, *, revision: int) -> int:
        """Write a job that was read at `revision`; return its new revision.

        Raises:
            port.RevisionConflictError: somebody else was first.
        """
        document = _document(job)
        try:
            written = await self._store.replace(JOBS, document, revision=revision)
        except BaseException:
            # Somebody else was first, or nobody knows whether it has been written.
            self._written.pop(job.id, None)
            raise
        self._remember(job, document, revision=written)
        return written

    async def save_ending(self, ending: Ending, *, revision: int, letter: DeadLetter | None) -> None:
        """Write what an outcome made of a job: a large result first, the job, then its dead letter.

        Raises:
            port.RevisionConflictError: somebody else was first; the job is as it was.
        """
        job = ending.job
        if ending.result is not None:
            result = {"_id": job.result_ref, "body": ending.result, "expires_at": job.expires_at}
            await self._store.insert_many(RESULTS, [result])
        await self.save(job, revision=revision)
        if letter is not None:
            await self.add_letter(letter, expires_at=job.expires_at, id=_letter_id(job.id, job.attempt))

    async def update(self, job_id: str, change: Callable[[Job], Job | None]) -> Job | None:
        """Read a job, change it, write it; again when somebody else was first.

        Returns the job as written, or None when there is none or `change` returned None.
        """
        for _ in range(_TRIES):
            found = await self.get(job_id)
            if found is None:
                return None
            changed = change(found.job)
            if changed is None:
                return None
            try:
                await self.save(changed, revision=found.revision)
            except port.RevisionConflictError:
                continue
            return changed
        raise port.RevisionConflictError(f"job {job_id} changes too often")

    async def due(self, now: datetime, *, limit: int) -> list[StoredJob]:
        """Return jobs whose event is to be published, and running ones whose lease has ended; the oldest first."""
        found: list[StoredJob] = []
        for state in (JobState.QUEUED, JobState.RUNNING):
            where = (Where("state", "==", state.value), Where("due_at", "<=", now))
            documents = await self._store.find(JOBS, where, sort="due_at", limit=limit)
            found.extend(map(_stored, documents))
        return found

    async def newest(self, *, limit: int, state: str = "") -> list[Job]:
        """Return the newest jobs, of one state when it is given."""
        where = (Where("state", "==", state),) if state else ()
        documents = await self._store.find(JOBS, where, sort="created_at", descending=True, limit=limit)
        return [_stored(document).job for document in documents]

    async def queued(self) -> int:
        """Return how many jobs are queued."""
        return await self._store.count(JOBS, (Where("state", "==", JobState.QUEUED.value),))

    async def oldest_queued(self, *, limit: int) -> list[Job]:
        """Return the queued jobs that were handed in first."""
        where = (Where("state", "==", JobState.QUEUED.value),)
        return [_stored(document).job for document in await self._store.find(JOBS, where, sort="created_at", limit=limit)]

    async def of_schedule(self, key: str, *, limit: int) -> list[Job]:
        """Return the newest jobs that a schedule fired."""
        where = (Where("schedule", "==", key),)
        documents = await self._store.find(JOBS, where, sort="created_at", descending=True, limit=limit)
        return [_stored(document).job for document in documents]

    async def result_body(self, job: Job) -> bytes:
        """Return the body of an ended job's answer."""
        if not job.result_ref:
            return job.result_body
        document = await self._store.get(RESULTS, job.result_ref)
        return bytes(document["body"]) if document else b""

    async def add_letter(self, letter: DeadLetter, *, expires_at: datetime, id: str) -> None:  # noqa: A002
        """Keep a dead letter; the same id again changes nothing."""
        document = _without_version(codec.to_document(letter)) | {"_id": id, "expires_at": expires_at}
        await self._store.insert_many(DEAD_LETTERS, [document])

    async def drop_letter(self, job_id: str, *, attempt: int) -> None:
        """Remove the dead letter of a job that was given up after that attempt."""
        await self._store.delete(DEAD_LETTERS, _letter_id(job_id, attempt))

    async def letters(self, *, limit: int) -> tuple[DeadLetter, ...]:
        """Return the newest dead letters."""
        documents = await self._store.find(DEAD_LETTERS, sort="at", descending=True, limit=limit)
        return tuple(codec.from_document(DeadLetter, document | {codec.VERSION_FIELD: 1}) for document in documents)

    async def first_seen(self, schedule: str, now: datetime) -> datetime:
        """Return when any replica first saw the schedule: ticks before that are nobody's."""
        for _ in range(2):
            document = await self._store.get(SCHEDULES, schedule)
            if document is not None:
                return document["since"]
            await self._store.insert_many(SCHEDULES, [{"_id": schedule, "since": now}])
        return now

    async def forget_schedule(self, schedule: str) -> None:
        """Forget a schedule that is gone, so that it starts anew when it comes back."""
        await self._store.delete(SCHEDULES, schedule)

    async def sweep(self, now: datetime) -> int:
        """Delete what has expired; return how many jobs."""
        expired = (Where("expires_at", "<", now),)
        await self._store.delete_where(RESULTS, expired)
        await self._store.delete_where(DEAD_LETTERS, expired)
        return await self._store.delete_where(JOBS, expired)

    async def ping(self) -> None:
        """Return when the database answers."""
        await self._store.ping()

    def _remember(self, job: Job, document: port.Document, *, revision: int) -> None:
        self._written.pop(job.id, None)
        if job.state in TERMINAL or len(document["job"]) > _REMEMBERED_BYTES:
            return
        self._written[job.id] = StoredJob(job, revision)
        if len(self._written) > _REMEMBERED_JOBS:
            self._written.popitem(last=False)


def _letter_id(job_id: str, attempt: int) -> str:
    return f"{job_id}@{attempt}"


def _document(job: Job) -> port.Document:
    return {
        "_id": job.id,
        "created_at": job.created_at,
        "state": job.state.value,
        "due_at": job.due_at,
        "schedule": job.schedule,
        "expires_at": job.expires_at,
        "job": codec.encode(job),
    }


def _stored(document: port.Document) -> StoredJob:
    return StoredJob(codec.decode(Job, document["job"]), document["revision"])


def _without_version(document: port.Document) -> port.Document:
    return {name: value for name, value in document.items() if name != codec.VERSION_FIELD}
