"""The loop that keeps folder, store and projection in step.

A change of the folder is a quick round: load, write what differs, project that. On start, on a timer, and after anything
went wrong, a full round reads everything anew and mends what does not fit. Nothing here gives up: a store or a bus that
is away is tried again, and what was projected stays.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Generator, Mapping
from pathlib import Path

from libs import errors, heap
from libs.clock import Clock
from libs.messages import bundles
from libs.messages.audit import FOLDER_ACTOR, Actor
from libs.messages.catalog import Bundle, FunctionEntry, Policy, Problem
from libs.messages.web import Assets
from services.registry import catalog, documents, sealing, steering
from services.registry.assets import AssetStore
from services.registry.audit import Audit, of_function
from services.registry.building import Building, build_fault
from services.registry.facts import Facts, Happened
from services.registry.functions import Functions, digests
from services.registry.manifests import Manifests
from services.registry.metrics import Metrics
from services.registry.parallel import in_parallel
from services.registry.projection import Projection
from services.registry.remarks import Remarks
from services.registry.rounds import Herald, Progress, Round
from services.registry.source.folder import LoadedFunction, Snapshot
from services.registry.source.port import Source
from services.registry.vault import Vault

log = logging.getLogger(__name__)

_TRIES = 5
_AT_ONCE = 256
"""Functions that are written at the same time: a commit costs as much for many as for one."""
_READING = 16
_MANY = 1000
_LIGHT_BYTES = 1024 * 1024
_LONGEST_PAUSE = 5.0


class Deployments:
    """Brings what lies in the folder into the store and the projection."""

    def __init__(
        self,
        *,
        functions: Functions,
        projection: Projection,
        sealer: sealing.Sealer,
        clock: Clock,
        metrics: Metrics,
        audit: Audit,
        facts: Facts | None = None,
        vault: Vault | None = None,
        source: Source | None = None,
        building: Building | None = None,
        manifests: Manifests | None = None,
        assets: AssetStore | None = None,
        functions_root: Path | None = None,
        defaults: Policy | None = None,
        hot_reload: bool = True,
        reconcile_seconds: float = 30.0,
        retry_seconds: float = 0.5,
    ) -> None:
        """Make it; `run` starts it.

        Args:
            functions: the registry's part of the store.
            projection: what everybody else follows.
            sealer: for environment values.
            clock: stamps the catalogue.
            metrics: what is counted.
            audit: told of every write.
            facts: told of every write, too, and when everybody sees it; None: nobody is.
            vault: the secrets; None: there are none.
            source: the functions folder; None: what the store holds is projected.
            building: has built what versions need; None: nothing is built.
            manifests: writes down what imports have told; None: that is not written.
            assets: keeps static files where gateways find them; None: there are none.
            functions_root: the folder's path, for people.
            defaults: what holds where no config says anything, for people.
            hot_reload: False: the folder is read when it must be and when `reload` says so, and changes of it are not followed.
            reconcile_seconds: time between full rounds.
            retry_seconds: first pause after a round that failed; it doubles up to 5 s.
        """
        self._functions = functions
        self._projection = projection
        self._sealer = sealer
        self._metrics = metrics
        self._audit = audit
        self._facts = facts
        self._vault = vault
        self._source = source
        self._assets = assets
        self._building = building
        self._manifests = manifests
        self._functions_root = str(functions_root.absolute()) if functions_root else ""
        self._remarks = Remarks(functions=functions, clock=clock, functions_root=self._functions_root, defaults=defaults)
        self._hot_reload = hot_reload
        self._stale = True
        """Whether the folder is to be read although its changes are not followed."""
        self._reconcile_seconds = reconcile_seconds
        self._retry_seconds = retry_seconds
        self.complete = asyncio.Event()
        """Set once the projection has been complete for the first time."""
        self._entries: dict[str, FunctionEntry] = {}
        self._unknown: frozenset[str] = frozenset()
        self._applied: dict[str, tuple[LoadedFunction, FunctionEntry]] = {}
        self._adopted: set[str] = set()
        """Ids of functions that are still to be projected."""
        self._herald = Herald(metrics)
        self._reading = asyncio.Semaphore(_READING)
        self._progress = Progress()
        self._due = asyncio.Event()
        self._full = True
        self._waiting: list[asyncio.Future[None]] = []
        self._acting: dict[str, Actor] = {}
        self._unreadable: errors.TemporaryError | None = None
        self.snapshot: Snapshot | None = None
        """What the files were in the last round that could read them."""
        self.refused: Mapping[str, str] = {}
        """Why functions that are there then could not be stored, by id."""

    @property
    def progress(self) -> str:
        """How far the present round is, in words; empty when there is not much to do."""
        return str(self._progress)

    async def run(self) -> None:
        """Keep in step for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._work(), name="deployments")
            tasks.create_task(self._tick(), name="reconcile timer")
            if self._source is not None:
                if self._hot_reload:
                    tasks.create_task(self._follow(self._source), name="folder watch")
                if self._building is not None:
                    tasks.create_task(self._building.run(lambda: self.wake(full=False)), name="builds")

    def entry(self, identity: str) -> FunctionEntry | None:
        """Return the function with that id as this process last read or wrote it."""
        return self._entries.get(identity)

    def wake(self, *, full: bool = True) -> None:
        """Start a round as soon as the present one has ended."""
        self._full = self._full or full
        self._due.set()

    @contextlib.contextmanager
    def on_behalf(self, identity: str, actor: Actor) -> Generator[None]:
        """Let writes of the function with that id, or of all for an empty one, count as somebody's in the block."""
        self._acting[identity] = actor
        try:
            yield
        finally:
            self._acting.pop(identity, None)

    def _actor(self, identity: str) -> Actor:
        return self._acting.get(identity) or self._acting.get("", FOLDER_ACTOR)

    async def sync(self, *, full: bool = False, look: bool = True) -> None:
        """Return when everything that is in the files now has been deployed, as far as it can be, and projected.

        Args:
            full: whether store and projection are looked through, too.
            look: False: files that are not followed are taken to be as they were.

        Raises:
            errors.FnbusError: store, bus or files cannot be reached.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._stale = self._stale or look
        self.wake(full=full)
        await waiter

    def adopt(self, entry: FunctionEntry, actor: Actor = FOLDER_ACTOR) -> None:
        """Take over a function that was written elsewhere in this process, by `actor`, and have it projected at once.

        Whatever of it is older than what this process knows already is left alone.
        """
        identity = documents.id_of(entry)
        known = self._entries.get(identity)
        if known is None or known.revision < entry.revision:
            self._entries[identity] = entry
        if self._building is not None:
            self._building.doubt(entry)
        self._adopted.add(identity)
        self._tell(Happened.UPDATED, entry, actor)
        self.wake(full=False)

    def _tell(self, happened: Happened, entry: FunctionEntry, actor: Actor) -> None:
        if self._facts is not None:
            self._facts.note(happened, entry, actor)

    def bus_is_back(self) -> None:
        """The server may have come back without its state: look at everything."""
        self._projection.distrust()
        if self._building is not None:
            self._building.distrust()
        if self._assets is not None:
            self._assets.distrust()
        self.wake()

    async def _tick(self) -> None:
        while True:
            self.wake()
            await asyncio.sleep(self._reconcile_seconds)

    async def _follow(self, source: Source) -> None:
        async for _ in source.watch():
            self.wake(full=False)

    async def _work(self) -> None:
        pause = self._retry_seconds
        while True:
            await self._due.wait()
            self._due.clear()
            full, self._full = self._full, False
            waiting, self._waiting = self._waiting, []
            try:
                complete = await self._round(full=full)
            except errors.TemporaryError as error:
                _tell(waiting, error)
                if pause == self._retry_seconds:
                    log.warning("the catalogue waits: %s", error, extra={"action": "deploy_waits"})
                self._full = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._due.wait(), pause)
                self._due.set()
                pause = min(pause * 2, _LONGEST_PAUSE)
            except errors.PermanentError as error:
                _tell(waiting, error)
                log.exception("the catalogue could not be brought up to date", extra={"action": "deploy_failed"})
            else:
                pause = self._retry_seconds
                if complete:
                    _tell(waiting, self._unreadable)
                else:
                    self._waiting = [*waiting, *self._waiting]

    async def _round(self, *, full: bool) -> bool:
        """Bring store and projection up to date; False when another round has to follow at once.

        Raises:
            errors.TemporaryError: store or bus cannot be reached; a full round has to follow.
        """
        now = Round(began=time.perf_counter())
        self._progress = now.progress
        if full:
            await self._projection.read()  # before the store: see `projection`
            self._projection.doubt_some()
            await self._functions.ensure()
            contents = await self._functions.read_all(self._entries)
            self._entries, self._unknown = dict(contents.entries), contents.unknown
        snapshot = await self._load()
        if snapshot is not None:
            await self._bring_in(snapshot, now)
            if self._manifests is not None:
                await self._manifests.keep(snapshot, self._entries)
            self._herald.problems((*snapshot.problems, *now.faults))
            self.refused = now.refused
        if full:
            await self._remarks.read()
        assets = await self._keep_assets(snapshot)
        await self._remarks.note(snapshot, faults=now.faults, functions=len(self._entries), assets=assets)
        await self._project(now, full=full)
        if full and self._assets is not None:
            await self._assets.sweep()
        if self._facts is not None:
            self._facts.release()
        self._herald.round(now)
        if len(now.deployed) >= _MANY:
            heap.settle()
        self.complete.set()
        if now.postponed:
            self._stale = True
            self.wake(full=False)
        return not now.postponed

    async def _keep_assets(self, snapshot: Snapshot | None) -> Assets | None:
        """Have the folder's static files in their store; return what the catalogue is to say of them."""
        known = self._remarks.meta.assets if self._remarks.meta is not None else None
        if snapshot is None or self._source is None or self._assets is None:
            return known
        return await self._assets.keep(snapshot.assets, before=known, read=self._source.asset)

    async def _load(self) -> Snapshot | None:
        """Return the files as they are, or None when there are none or they cannot be read: then what was known stays."""
        if self._source is None:
            return None
        if self.snapshot is not None and not self._stale and not self._hot_reload:
            return self.snapshot
        stale, self._stale = self._stale, False
        try:
            snapshot = await self._source.load()
        except errors.TemporaryError as error:
            self._stale, self._unreadable = stale, error
            self._herald.problems((Problem(path=self._functions_root, message=str(error)),))
            return None
        self.snapshot, self._unreadable = snapshot, None
        return None if snapshot.untouched else snapshot  # what the store holds then is from a folder that was there before

    async def _bring_in(self, snapshot: Snapshot, now: Round) -> None:
        """Write to the store what differs from the folder."""
        if self._building is not None:
            for identity in self._building.outdated(self._entries):
                self._applied.pop(identity, None)
        if self._vault is not None and await self._vault.refresh():
            for identity in [identity for identity, (_, entry) in self._applied.items() if _names_secrets(entry)]:
                self._applied.pop(identity)
        todo = catalog.differences(snapshot, stored=self._entries, applied=self._applied)
        now.progress.expect("stored", len(todo.deploy))
        await in_parallel(todo.deploy, lambda function: self._deploy(function, snapshot, now), limit=_AT_ONCE)
        await in_parallel(todo.remove, lambda entry: self._remove(entry, now))
        now.faults += sealing.unmet(self._entries.values())
        if self._building is not None:
            await self._building.settle(self._entries)

    async def _deploy(self, function: LoadedFunction, snapshot: Snapshot, now: Round) -> None:
        """Write one function; one that cannot be written keeps what was stored, and holds up no other."""
        identity = catalog.loaded_id(snapshot.namespace, function)
        if identity in self._unknown:
            return
        async with self._reading:
            try:
                code = await self._missing_bundles(function, self._entries.get(identity))
            except errors.TemporaryError:
                now.postponed = True
                return
            if bundles.weight(code.values()) > _LIGHT_BYTES:  # much code waits in memory for the store only a few at a time
                await self._try_to_write(function, snapshot, code, now)
                return
        await self._try_to_write(function, snapshot, code, now)

    async def _try_to_write(self, function: LoadedFunction, snapshot: Snapshot, code: Mapping[str, Bundle], now: Round) -> None:
        try:
            # Another registry that was faster may have loaded a newer folder: load again before anything is put over its work.
            now.postponed = not await self._write(function, snapshot, code, now) or now.postponed
        except errors.PermanentError as error:
            now.refused[catalog.loaded_id(snapshot.namespace, function)] = str(error)
            now.faults.append(Problem(path=function.name, message=str(error)))
        now.progress.step("stored")

    async def _write(self, function: LoadedFunction, snapshot: Snapshot, code: Mapping[str, Bundle], now: Round) -> bool:
        """Write one function unless the store has it just so; False when another registry was faster: look again."""
        namespace = snapshot.namespace
        identity = catalog.loaded_id(namespace, function)
        known = self._entries.get(identity)
        built: Mapping[str, catalog.Built] = {}
        if self._building is not None:
            built = await self._building.of(function, namespace=namespace, known=known, code=code)
        entry = fresh = catalog.compose(
            function, namespace=namespace, known=known, sealer=self._sealer, built=built, origin=snapshot.origin
        )
        if self._building is not None:
            entry = self._building.renewed(entry)
        if self._vault is not None:
            entry = sealing.renewed(entry, secrets=self._vault.of(namespace), sealer=self._sealer)
        faults = [fault for version in function.versions if (fault := build_fault(version, built)) is not None]
        # One that waits for a build is looked at again in the next round, and so is one whose build failed: to say so.
        settled = not any(each.resolution.state in catalog.UNBUILT for each in built.values())
        if known is not None and entry == known:
            now.faults += faults
            if settled:
                self._applied[identity] = (function, known)
            return True
        named = digests([entry])
        actor = self._actor(identity)
        try:
            needed = {digest: each for digest, each in code.items() if digest in named}
            replaced = steering.reformed(known, fresh, entry)
            written = await self._functions.write(entry, needed, by=actor.principal, replaced=replaced)
        except errors.ConflictError:
            await self._reread(identity)
            return False
        now.faults += faults
        self._entries[identity] = written
        if settled:
            self._applied[identity] = (function, written)
        now.deployed.append(written)
        self._audit.note(of_function(actor, "function.deployed", before=known, after=written))
        self._tell(Happened.UPDATED if known else Happened.CREATED, written, actor)
        now.keep(code)
        self._metrics.deployments.labels("changed" if known else "created").inc()
        return True

    async def _missing_bundles(self, function: LoadedFunction, known: FunctionEntry | None) -> Mapping[str, Bundle]:
        """Return the code of the versions that are not stored with just that code.

        Raises:
            errors.TemporaryError: a file changed or went since the folder was loaded.
        """
        stored = steering.given(known)
        missing: dict[str, Bundle] = {}
        for version in function.versions:
            is_stored = catalog.has_code(stored.get(version.found.label), version)
            if self._source is not None and not is_stored and version.bundle not in missing:
                missing[version.bundle] = bundle = await self._source.bundle(version.found)
                if bundles.bundle_digest(bundle) != version.bundle:
                    raise errors.TemporaryError(f"{version.found.entrypoint} has changed since it was loaded")
        return missing

    async def _remove(self, entry: FunctionEntry, now: Round) -> None:
        identity = documents.id_of(entry)
        for _ in range(_TRIES):
            try:
                if await self._functions.remove(entry):
                    actor = self._actor(identity)
                    self._audit.note(of_function(actor, "function.removed", before=entry, after=None))
                    self._tell(Happened.DELETED, entry, actor)
            except errors.ConflictError:
                await self._reread(identity)
                if identity not in self._entries:
                    break
                entry = self._entries[identity]
            else:
                break
        self._entries.pop(identity, None)
        self._applied.pop(identity, None)
        now.removed.append(entry)
        self._metrics.deployments.labels("removed").inc()

    async def _reread(self, identity: str) -> None:
        entry = await self._functions.read(identity)
        if entry is None:
            self._entries.pop(identity, None)
        else:
            self._entries[identity] = entry

    async def _project(self, now: Round, *, full: bool) -> None:
        adopted, self._adopted = self._adopted, set()
        changed = {documents.id_of(entry) for entry in now.deployed} | adopted
        shown = self._entries.values() if full else [self._entries[each] for each in changed if each in self._entries]
        await self._projection.show(list(shown), code=now.code, progress=now.progress)
        if full:
            await self._projection.hide_all_but(
                {documents.key_of_id(identity) for identity in (*self._entries, *self._unknown)}
            )
        else:
            await self._projection.hide(now.removed)
        meta = self._remarks.meta
        if meta is not None:
            await self._projection.finish(meta)
            self._metrics.conflicts.set(len(meta.conflicts))
            self._metrics.problems.set(len(meta.problems))
        self._metrics.functions.set(len(self._entries))


def _tell(waiting: list[asyncio.Future[None]], error: errors.FnbusError | None) -> None:
    """Tell those who wait for a round how it went."""
    for waiter in waiting:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


def _names_secrets(entry: FunctionEntry) -> bool:
    return any(version.secret_names or version.secret_env for version in steering.all_versions(entry))
