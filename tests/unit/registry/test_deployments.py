"""Folder, store and projection are kept in step; what needs no write gets none."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from libs import errors
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.clock import ManualClock
from libs.messages import bundles, codec, subjects
from libs.messages.catalog import Bundle, BundleFile, CatalogMeta, FunctionEntry, Policy, Problem, RouteEntry
from libs.messages.secrets import RemoveSecret, SetSecret
from libs.secrets import KeyRing
from libs.storage.memory import MemoryStore
from libs.testing.wait import eventually
from services.registry.audit import Audit
from services.registry.deploys.deployments import Deployments
from services.registry.deploys.projection import Projection
from services.registry.functions import steering
from services.registry.functions.store import Functions
from services.registry.metrics import Metrics
from services.registry.secrets.sealing import Sealer
from services.registry.secrets.vault import Vault
from services.registry.source.environment import EnvValue
from services.registry.source.found import FoundVersion
from services.registry.source.snapshot import LoadedFunction, LoadedVersion, Snapshot

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEFAULTS = Policy(timeout_ms=9000)
RING = KeyRing.parse(KeyRing.generate())


class Folder:
    """A functions folder in memory: one file for each function."""

    def __init__(self) -> None:
        self.code: dict[str, bytes] = {}
        self.env: dict[str, str] = {}
        self.secrets: tuple[str, ...] = ()
        self.problems: tuple[Problem, ...] = ()
        self.readable = True
        self.changes: list[asyncio.Queue[None]] = []

    def put(self, name: str, code: str) -> None:
        self.code[name] = code.encode()
        self.touch()

    def remove(self, name: str) -> None:
        del self.code[name]
        self.touch()

    def touch(self) -> None:
        for queue in self.changes:
            queue.put_nowait(None)

    async def load(self) -> Snapshot:
        if not self.readable:
            raise errors.UnavailableError("the folder is gone")
        functions = tuple(self._function(name) for name in sorted(self.code))
        return Snapshot(namespace="default", functions=functions, conflicts=(), problems=self.problems)

    async def bundle(self, version: FoundVersion) -> Bundle:
        if version.entrypoint not in self.code:
            raise errors.TemporaryError("gone")
        return self._bundle(version.entrypoint)

    async def asset(self, path: str, digest: str) -> bytes:
        raise errors.TemporaryError(f"{path} is not {digest}")

    async def watch(self) -> AsyncIterator[frozenset[str]]:
        queue: asyncio.Queue[None] = asyncio.Queue()
        self.changes.append(queue)
        while True:
            await queue.get()
            yield frozenset[str]()

    def _bundle(self, name: str) -> Bundle:
        return Bundle(files=(BundleFile(path=name, data=self.code[name]),))

    def _function(self, name: str) -> LoadedFunction:
        found = FoundVersion(label="default", root="", entrypoint=name, files=(name,), policy=Policy(), secrets=self.secrets)
        env = {key: EnvValue(text=text) for key, text in self.env.items()}
        version = LoadedVersion(found=found, bundle=bundles.bundle_digest(self._bundle(name)), env=env)
        route = RouteEntry(pattern=f"/{name.partition('.')[0]}", methods=("GET",))
        return LoadedFunction(runtime="python", name=name, file_route=True, versions=(version,), routes=(route,))


class Stand:
    """A folder, a store and a bus, and registries between them."""

    def __init__(self) -> None:
        self.folder = Folder()
        self.hot_reload = True
        self.store = MemoryStore()
        self.broker = MemoryBroker()
        self.bus = MemoryBus(self.broker)

    def registry(
        self, *, folder: bool = True, ring: Sealer = RING, reconcile_seconds: float = 30.0
    ) -> tuple[Deployments, Metrics]:
        metrics, clock = Metrics(), ManualClock(NOON)
        audit = Audit(store=self.store, clock=clock)
        self.vault = Vault(
            store=self.store, sealer=ring, clock=clock, audit=audit, on_change=lambda: deployments.sync(look=False)
        )
        functions = Functions(store=self.store, clock=clock)
        bus = MemoryBus(self.broker)
        deployments = Deployments(
            functions=functions,
            projection=Projection(bus=bus, bundles=functions.bundle, metrics=metrics),
            sealer=ring,
            clock=clock,
            metrics=metrics,
            audit=audit,
            vault=self.vault,
            source=self.folder if folder else None,
            defaults=DEFAULTS,
            hot_reload=self.hot_reload,
            reconcile_seconds=reconcile_seconds,
            retry_seconds=0.01,
        )
        bus.on_state(lambda connected: deployments.bus_is_back() if connected else None)
        return deployments, metrics

    @asynccontextmanager
    async def running(
        self, *, folder: bool = True, ring: Sealer = RING, reconcile_seconds: float = 30.0
    ) -> AsyncGenerator[Metrics]:
        """Run a registry; its first round is complete when the block begins."""
        deployments, metrics = self.registry(folder=folder, ring=ring, reconcile_seconds=reconcile_seconds)
        task = asyncio.create_task(deployments.run())
        try:
            await eventually(deployments.complete.is_set)
            yield metrics
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def shown(self) -> dict[str, FunctionEntry]:
        """Return the functions of the bucket, by name."""
        bucket = await self.bus.bucket(subjects.CATALOG_BUCKET)
        found: dict[str, FunctionEntry] = {}
        for key in await bucket.keys():
            entry = await bucket.get(key)
            if key != subjects.CATALOG_META and entry is not None and entry.value is not None:
                function = codec.decode(FunctionEntry, entry.value)
                found[function.name] = function
        return found

    async def meta(self) -> CatalogMeta:
        bucket = await self.bus.bucket(subjects.CATALOG_BUCKET)
        entry = await bucket.get(subjects.CATALOG_META)
        assert entry is not None
        assert entry.value is not None
        return codec.decode(CatalogMeta, entry.value)

    async def code(self, name: str) -> bytes:
        """Return the code of a function as an executor would get it."""
        objects = await self.bus.objects(subjects.BUNDLE_STORE)
        entry = (await self.shown())[name]
        bundle = codec.decode(Bundle, await objects.get(entry.versions[0].bundle))
        assert bundles.bundle_digest(bundle) == entry.versions[0].bundle
        return bundle.files[0].data

    def shows(self, **code: str) -> Callable[[], Awaitable[bool]]:
        """Return a check that exactly these functions are there, with this code, and counted in `meta`."""

        async def check() -> bool:
            names = await self.shown()
            assert set(names) == {f"{name}.py" for name in code}
            for name, text in code.items():
                assert await self.code(f"{name}.py") == text.encode()
            assert (await self.meta()).functions == len(code)
            return True

        return check


def written(metrics: Metrics) -> float:
    """Return how many keys, bundles and removals a registry has written to the projection."""
    kinds = ("key", "bundle", "removed")
    return sum(
        metrics.collector.get_sample_value("fnbus_registry_projection_writes_total", {"kind": kind}) or 0 for kind in kinds
    )


@pytest.fixture
async def stand() -> Stand:
    return Stand()


async def test_deployments_show_what_lies_in_the_folder_at_start(stand: Stand) -> None:
    stand.folder.put("hello.py", "one")
    stand.folder.put("other.py", "two")

    async with stand.running():
        await stand.shows(hello="one", other="two")()


async def test_deployments_follow_new_changed_and_removed_files(stand: Stand) -> None:
    stand.folder.put("hello.py", "one")
    async with stand.running():
        stand.folder.put("hello.py", "two")
        await eventually(stand.shows(hello="two"))
        assert (await stand.shown())["hello.py"].revision == 2

        stand.folder.put("new.py", "new")
        await eventually(stand.shows(hello="two", new="new"))

        stand.folder.remove("hello.py")
        await eventually(stand.shows(new="new"))


async def test_deployments_write_only_the_changed_function_and_meta(stand: Stand) -> None:
    for number in range(50):
        stand.folder.put(f"f{number}.py", "code")
    async with stand.running() as metrics:
        before = written(metrics)
        stand.folder.put("f7.py", "changed")
        await eventually(lambda: written(metrics) == before + 2)  # the bundle and the key: meta says the same as before

        assert await stand.code("f7.py") == b"changed"


async def test_deployments_write_nothing_after_a_restart(stand: Stand) -> None:
    stand.folder.env = {"TOKEN": "s3cret"}
    stand.folder.put("hello.py", "one")
    async with stand.running():
        pass
    before = await stand.shown()

    async with stand.running() as metrics:
        assert written(metrics) == 0
    assert await stand.shown() == before


async def test_deployments_of_two_registries_converge_on_one_folder(stand: Stand) -> None:
    stand.folder.env = {"TOKEN": "s3cret"}
    for number in range(20):
        stand.folder.put(f"f{number}.py", "code")

    async with stand.running() as one, stand.running() as two:
        stand.folder.put("f3.py", "changed")
        stand.folder.remove("f4.py")
        wanted = {f"f{number}": "code" for number in range(20) if number != 4} | {"f3": "changed"}
        await eventually(stand.shows(**wanted))
        assert (await stand.shown())["f3.py"].revision == 2
        # At start 20 entries, 20 bundles and meta; then a bundle, a key, a removal, and meta once or twice.
        assert written(one) + written(two) <= 20 + 20 + 1 + 3 + 2

    async with stand.running() as third:
        assert written(third) == 0


async def test_deployments_keep_everything_when_the_folder_cannot_be_read(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    stand.folder.put("hello.py", "one")
    async with stand.running():
        pass
    stand.folder.readable = False

    async with stand.running():
        await stand.shows(hello="one")()
    assert "the folder is gone" in caplog.text


async def test_deployments_without_a_folder_show_what_the_store_holds(stand: Stand) -> None:
    stand.folder.put("hello.py", "one")
    async with stand.running():
        pass
    stand.broker.buckets.clear()
    stand.broker.objects.clear()

    async with stand.running(folder=False):
        await stand.shows(hello="one")()


async def test_deployments_mend_keys_that_are_stale_missing_or_different(stand: Stand) -> None:
    for name in ("a", "b", "c"):
        stand.folder.put(f"{name}.py", name)
    async with stand.running():
        entry = (await stand.shown())["a.py"]
    bucket = await stand.bus.bucket(subjects.CATALOG_BUCKET)

    def key(name: str) -> str:
        return subjects.catalog_key(namespace="default", runtime="python", function=name)

    await bucket.put(key("stale.py"), codec.encode(replace(entry, name="stale.py")))
    await bucket.delete(key("b.py"))
    await bucket.put(key("c.py"), b"garbage")

    async with stand.running():
        await stand.shows(a="a", b="b", c="c")()


async def test_deployments_mend_on_their_timer_what_was_damaged_by_hand(stand: Stand) -> None:
    for name in ("a", "b"):
        stand.folder.put(f"{name}.py", name)
    bucket = await stand.bus.bucket(subjects.CATALOG_BUCKET)
    objects = await stand.bus.objects(subjects.BUNDLE_STORE)
    async with stand.running(reconcile_seconds=0.05):
        shown = await stand.shown()

        await bucket.delete(subjects.catalog_key(namespace="default", runtime="python", function="a.py"))
        await bucket.put(subjects.catalog_key(namespace="default", runtime="python", function="b.py"), b"garbage")
        await objects.delete(shown["a.py"].versions[0].bundle)

        async def mended() -> bool:
            try:
                return await stand.shows(a="a", b="b")()
            except (errors.NotFoundError, codec.MalformedMessageError):
                return False

        await eventually(mended)


async def test_deployments_keep_a_rollback_over_restarts_and_scans(stand: Stand) -> None:
    stand.folder.put("hello.py", "one")
    async with stand.running():
        one = (await stand.shown())["hello.py"].versions[0]
        stand.folder.put("hello.py", "two")
        await eventually(stand.shows(hello="two"))
    functions = Functions(store=stand.store, clock=ManualClock(NOON))
    entry = await functions.read("default/python/hello.py")
    assert entry is not None
    await functions.write(steering.rolled_back(entry, "default", one, now=NOON, by="ada"), {})

    for _ in range(2):
        async with stand.running() as metrics:
            await stand.shows(hello="one")()
            stand.folder.touch()
            stand.folder.put("other.py", "x")
            await eventually(stand.shows(hello="one", other="x"))
            stand.folder.remove("other.py")
            await eventually(stand.shows(hello="one"))
            assert not metrics.collector.get_sample_value("fnbus_registry_deployments_total", {"change": "changed"})

    async with stand.running():
        stand.folder.put("hello.py", "three")
        await eventually(stand.shows(hello="three"))


async def test_deployments_go_on_when_the_store_comes_back(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    stand.folder.put("hello.py", "one")
    async with stand.running():
        stand.store.reachable = False
        stand.folder.put("hello.py", "two")
        await eventually(lambda: "the catalogue waits" in caplog.text)
        assert await stand.code("hello.py") == b"one"
        stand.store.reachable = True
        await eventually(stand.shows(hello="two"))


async def test_deployments_go_on_when_the_bus_comes_back_without_its_state(stand: Stand) -> None:
    stand.folder.put("hello.py", "one")
    async with stand.running():
        stand.broker.stop()
        stand.broker.buckets.clear()
        stand.broker.objects.clear()
        stand.broker.start()
        await eventually(stand.shows(hello="one"))


async def test_deployments_say_each_deployment_and_each_problem_once(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stand.folder.problems = (Problem(path="x/fn.config.json", message="not JSON"),)
    stand.folder.put("hello.py", "one")
    async with stand.running():
        stand.folder.put("hello.py", "two")
        await eventually(stand.shows(hello="two"))

    said = [record for record in caplog.records if record.name.startswith("services.registry")]
    actions = [getattr(record, "action", "") for record in said]
    assert actions.count("source_problem") == 1
    assert actions.count("version_deployed") == 2
    assert "deployed hello.py (python) in " in caplog.text
    assert "x/fn.config.json: not JSON" in caplog.text
    assert (await stand.meta()).problems == stand.folder.problems


async def test_deployments_leave_alone_what_a_newer_registry_wrote(stand: Stand) -> None:
    stand.folder.put("hello.py", "one")
    async with stand.running():
        pass
    functions = Functions(store=stand.store, clock=ManualClock(NOON))
    entry = await functions.read("default/python/hello.py")
    assert entry is not None
    newer = codec.encode(entry)[:-1] + b"\x7f"  # the version comes last
    from services.registry.functions import documents

    await stand.store.replace(documents.FUNCTIONS, documents.from_entry(entry) | {"entry": newer}, revision=1)
    stand.folder.remove("hello.py")

    async with stand.running():
        assert set(await stand.shown()) == {"hello.py"}


async def test_deployments_leave_out_only_the_function_that_cannot_be_sealed(stand: Stand) -> None:
    class Refusing:
        active = ""

        def seal(self, plaintext: bytes, *, context: str) -> bytes:
            raise errors.PermanentError("no key")

        def open(self, sealed: bytes, *, context: str) -> bytes:
            raise errors.PermanentError("no key")

        def is_current(self, sealed: bytes) -> bool:
            return True

    stand.folder.put("hello.py", "one")
    async with stand.running():
        pass
    stand.folder.env = {"TOKEN": "s3cret"}
    async with stand.running(ring=Refusing()):
        pass

    await stand.shows(hello="one")()
    assert (await stand.meta()).problems == (Problem(path="hello.py", message="no key"),)


async def test_secret_reaches_the_functions_that_name_it_whenever_it_changes(stand: Stand) -> None:
    stand.folder.secrets = ("KEY",)
    stand.folder.put("hello.py", "one")
    async with stand.running():
        before = (await stand.shown())["hello.py"].versions[0]
        assert before.secrets == {}
        missing = Problem(path="hello.py", message="asks for the secret KEY, which is not set")
        assert (await stand.meta()).problems == (missing,)
        for value in (b"1", b"2"):
            await stand.vault.set(SetSecret(key="KEY", value=value.decode()))

            async def has_it(value: bytes = value) -> bool:
                [version] = (await stand.shown())["hello.py"].versions
                sealed = version.secrets.get("KEY", b"")
                return bool(sealed) and RING.open(sealed, context="secret:default/KEY") == value

            await eventually(has_it)

        async def is_met() -> bool:
            return (await stand.meta()).problems == ()

        await eventually(is_met)
        assert (await stand.shown())["hello.py"].versions[0].digest != before.digest
        await stand.vault.remove(RemoveSecret(key="KEY"))

        async def is_as_before() -> bool:
            return (await stand.shown())["hello.py"].versions[0] == before

        await eventually(is_as_before)


async def test_everything_is_sealed_anew_when_a_registry_starts_with_a_new_key(stand: Stand) -> None:
    text = KeyRing.generate("new")
    new = KeyRing.parse(text)
    former = KeyRing.generate("old")
    stand.folder.secrets, stand.folder.env = ("KEY",), {"WORD": "x"}
    stand.folder.put("hello.py", "one")
    async with stand.running(ring=KeyRing.parse(former)):
        await stand.vault.set(SetSecret(key="KEY", value="1"))
    async with stand.running(ring=KeyRing.parse(f"{text},{former}")):
        [version] = (await stand.shown())["hello.py"].versions
    assert new.open(version.secrets["KEY"], context="secret:default/KEY") == b"1"
    assert new.open(version.env_sealed, context="env:default/python/hello.py@default") == b'{"WORD":"x"}'
    async with stand.running(ring=new):
        assert (await stand.shown())["hello.py"].versions == (version,)


async def test_changes_are_not_followed_without_hot_reload_until_it_is_told(stand: Stand) -> None:
    stand.hot_reload = False
    stand.folder.put("a.py", "1")
    deployments, _ = stand.registry()
    task = asyncio.create_task(deployments.run())
    await eventually(stand.shows(a="1"))
    deployments.complete.clear()
    stand.folder.put("a.py", "2")
    deployments.wake()
    await eventually(deployments.complete.is_set)
    assert await stand.shows(a="1")()
    await deployments.sync(look=False)
    assert await stand.shows(a="1")()
    await deployments.sync()
    assert await stand.shows(a="2")()
    task.cancel()
    await asyncio.wait([task])


async def test_catalogue_says_what_holds_where_no_config_does(stand: Stand) -> None:
    async with stand.running():
        assert (await stand.meta()).defaults == DEFAULTS
