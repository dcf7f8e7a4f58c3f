"""Every write leaves a record, newest first, page by page, and no value is in it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from libs import errors
from libs.clock import ManualClock
from libs.messages.audit import Actor, AuditList, AuditPage
from libs.messages.catalog import FunctionEntry, Policy, RouteEntry, VersionEntry
from libs.storage.memory import MemoryStore
from libs.storage.port import Collection, Document
from libs.testing.wait import eventually
from services.registry.audit import AUDIT, Audit, Change, of_function

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOMEBODY = Actor(principal="token", ip="127.0.0.1", request_id="r-1")
MUCH = 1_000_000


def version(label: str = "default", *, digest: str = "d1", policy: Policy | None = None) -> VersionEntry:
    return VersionEntry(label=label, digest=digest, bundle=f"bundle-{digest}", entrypoint="a.py", policy=policy or Policy())


def function(*versions: VersionEntry, revision: int = 1) -> FunctionEntry:
    return FunctionEntry(
        namespace="default",
        runtime="python",
        name="hello",
        revision=revision,
        source="folder",
        versions=versions or (version(),),
    )


def audit(store: MemoryStore) -> Audit:
    return Audit(store=store, clock=ManualClock(NOON))


async def all_of(trail: Audit, *, limit: int = 50, function: str = "") -> AuditPage:
    return await trail.page(AuditList(limit=limit, function=function), max_bytes=MUCH)


async def test_audit_lists_what_was_noted_newest_first() -> None:
    trail = audit(MemoryStore())
    for name in ("one", "two", "three"):
        trail.note(Change(actor=SOMEBODY, action="secret.set", subject=name, after={"updated": True}))

    page = await all_of(trail)

    assert [each.subject for each in page.records] == ["three", "two", "one"]
    assert page.records[0].actor == SOMEBODY
    assert page.records[0].at == NOON
    assert page.next == ""


async def test_audit_goes_on_where_a_page_ended() -> None:
    trail = audit(MemoryStore())
    for number in range(5):
        trail.note(Change(actor=SOMEBODY, action="secret.set", subject=str(number)))

    first = await all_of(trail, limit=2)
    second = await trail.page(AuditList(limit=2, before=first.next), max_bytes=MUCH)
    third = await trail.page(AuditList(limit=2, before=second.next), max_bytes=MUCH)

    assert [each.subject for page in (first, second, third) for each in page.records] == ["4", "3", "2", "1", "0"]
    assert third.next == ""


async def test_audit_lists_the_records_of_one_function() -> None:
    trail = audit(MemoryStore())
    trail.note(of_function(SOMEBODY, "function.deployed", before=None, after=function()))
    trail.note(Change(actor=SOMEBODY, action="secret.set", subject="KEY"))

    page = await all_of(trail, function="hello")

    assert [each.action for each in page.records] == ["function.deployed"]


async def test_audit_ends_a_page_where_a_message_is_full() -> None:
    trail = audit(MemoryStore())
    for number in range(10):
        trail.note(Change(actor=SOMEBODY, action="secret.set", subject=str(number), after={"fill": "x" * 1000}))

    page = await trail.page(AuditList(), max_bytes=3500)

    assert [each.subject for each in page.records] == ["9", "8"]
    rest = await trail.page(AuditList(before=page.next), max_bytes=MUCH)
    assert [each.subject for each in rest.records] == [str(number) for number in range(7, -1, -1)]


def test_record_of_a_function_names_digests_and_fields_but_no_value() -> None:
    before = function(version(), version("v2", digest="d2"))
    after = replace(
        function(version(digest="d3", policy=Policy(timeout_ms=9999)), revision=2),
        routes=(RouteEntry(pattern="/x", methods=("GET",)),),
    )

    change = of_function(SOMEBODY, "function.deployed", before=before, after=after)

    assert change.before == {"revision": 1, "versions": {"default": "d1", "v2": "d2"}}
    assert change.after == {"revision": 2, "versions": {"default": "d3"}}
    assert change.changed == ("default.code", "default.policy.timeout_ms", "routes", "v2")


def test_record_of_a_removed_function_says_what_there_was() -> None:
    change = of_function(SOMEBODY, "function.removed", before=function(), after=None)

    assert (change.function, change.before["versions"], change.after) == ("hello", {"default": "d1"}, {})


class Unsteady(MemoryStore):
    """A store that is away at times."""

    away = True

    async def insert_many(self, collection: Collection, documents: list[Document]) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  narrower is enough here
        if self.away:
            raise errors.UnavailableError("away")
        return await super().insert_many(collection, documents)


async def test_audit_keeps_records_until_the_store_is_back() -> None:
    store = Unsteady()
    trail = audit(store)
    for number in range(3):
        trail.note(Change(actor=SOMEBODY, action="secret.set", subject=str(number)))
    with pytest.raises(errors.UnavailableError):
        await trail.flush()
    store.away = False

    async def stored() -> bool:
        return await store.count(AUDIT) == 3

    running = asyncio.create_task(trail.run(retry_seconds=0.01))
    try:
        await eventually(stored)
    finally:
        running.cancel()
