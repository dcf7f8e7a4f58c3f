"""What an executor knows of functions: new, replaced, removed, and the calls that come too early."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from libs.clock import ManualClock
from libs.messages import subjects
from libs.messages.catalog import FunctionEntry, Policy, VersionEntry, WorkerPoolPolicy
from services.executor.catalogue import KEEP_SECONDS, Catalogue, Known, VersionKey

KEY = subjects.catalog_key(namespace="default", runtime="python", function="hello")


class Seen:
    """A catalogue and what it told."""

    def __init__(self) -> None:
        self.clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.new: list[Known] = []
        self.gone: list[Known] = []
        self.catalogue = Catalogue(clock=self.clock, on_new=self.new.append, on_gone=self.gone.append)

    def put(self, *digests: str, policy: Policy | None = None) -> None:
        versions = tuple(
            VersionEntry(label=f"v{at}", digest=digest, bundle="b", entrypoint="e", policy=policy or Policy())
            for at, digest in enumerate(digests)
        )
        entry = FunctionEntry(
            namespace="default", runtime="python", name="hello", revision=1, source="folder", versions=versions
        )
        self.catalogue.take(KEY, entry)


@pytest.fixture
def seen() -> Seen:
    """An empty catalogue."""
    return Seen()


def key(digest: str) -> VersionKey:
    return VersionKey("default", "python", "hello", digest)


def test_version_is_found_by_digest_and_by_label(seen: Seen) -> None:
    seen.put("one", "two")
    known = seen.catalogue.find(key("two"))
    assert known is not None
    assert known == seen.catalogue.labelled(namespace="default", runtime="python", function="hello", label="v1")
    assert [each.version.digest for each in seen.new] == ["one", "two"]


def test_same_digest_of_another_function_is_not_found(seen: Seen) -> None:
    seen.put("one")
    assert seen.catalogue.find(VersionKey("other", "python", "hello", "one")) is None


def test_replaced_version_can_be_called_for_a_minute(seen: Seen) -> None:
    seen.put("old")
    seen.put("new")
    seen.clock.advance(timedelta(seconds=KEEP_SECONDS - 1))
    seen.catalogue.trim()
    assert seen.catalogue.find(key("old"))
    seen.clock.advance(timedelta(seconds=1))
    seen.catalogue.trim()
    assert seen.catalogue.find(key("old")) is None
    assert [known.key for known in seen.gone] == [key("old")]


def test_version_that_comes_back_stays(seen: Seen) -> None:
    for digest in ("a", "b", "a"):
        seen.put(digest)
    seen.clock.advance(timedelta(seconds=KEEP_SECONDS))
    seen.catalogue.trim()
    assert seen.catalogue.find(key("a"))
    assert [known.key for known in seen.gone] == [key("b")]


def test_removed_function_has_no_label_and_goes_after_a_minute(seen: Seen) -> None:
    seen.put("one")
    seen.catalogue.take(KEY, None)
    assert seen.catalogue.labelled(namespace="default", runtime="python", function="hello", label="v0") is None
    seen.clock.advance(timedelta(seconds=KEEP_SECONDS))
    seen.catalogue.trim()
    assert seen.catalogue.find(key("one")) is None


@pytest.mark.parametrize(
    ("policy", "limit"),
    [
        (Policy(max_concurrency=7), 7),
        (Policy(max_concurrency=0), 0),
        (Policy(max_concurrency=7, worker_pool=WorkerPoolPolicy(max_workers=3)), 3),
        (Policy(max_concurrency=2, worker_pool=WorkerPoolPolicy(max_workers=3)), 2),
        (Policy(max_concurrency=7, worker_pool=WorkerPoolPolicy(enabled=False, max_workers=3)), 7),
    ],
)
def test_limit_is_the_least_of_what_the_policy_says(seen: Seen, policy: Policy, limit: int) -> None:
    seen.put("one", policy=policy)
    assert seen.new[0].terms.limit == limit


async def test_wait_ends_when_the_version_appears(seen: Seen) -> None:
    waiting = asyncio.create_task(seen.catalogue.wait_for(key("one"), 20))
    await asyncio.sleep(0)
    seen.put("one")
    assert await waiting is not None


async def test_wait_ends_without_when_its_time_is_up(seen: Seen) -> None:
    assert await seen.catalogue.wait_for(key("one"), 0.01) is None


def test_workers_stay_as_long_as_their_language_s_do_unless_the_function_says_otherwise(seen: Seen) -> None:
    seen.catalogue = Catalogue(clock=seen.clock, on_new=seen.new.append, on_gone=seen.gone.append, idle_seconds={"python": 7.0})
    seen.put("usual")
    seen.put("own", policy=Policy(worker_pool=WorkerPoolPolicy(idle_ttl_seconds=60)))
    assert [known.terms.idle_seconds for known in seen.new] == [7.0, 60]
