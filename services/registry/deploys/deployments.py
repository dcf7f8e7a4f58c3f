"""The loop that keeps files, store and projection in step; what it writes to the store is in `deployer`.

A change of the folder is a quick round: load, write what differs, project that. On start, on a timer, and after anything
went wrong, a full round reads everything anew and mends what does not fit. Nothing here gives up: a store or a bus that
is away is tried again, and what was projected stays.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from libs import errors, heap
from libs.clock import Clock
from libs.messages.audit import FOLDER_ACTOR, Actor
from libs.messages.catalog import FunctionEntry, Policy, Problem
from libs.messages.web import Assets
from services.registry.audit import Audit
from services.registry.deploys.assets import AssetStore
from services.registry.deploys.building import Building
from services.registry.deploys.deployer import Deployer
from services.registry.deploys.facts import Facts
from services.registry.deploys.manifests import Manifests
from services.registry.deploys.projection import Projection
from services.registry.deploys.remarks import Remarks
from services.registry.deploys.rounds import Herald, Progress, Round
from services.registry.functions import documents
from services.registry.functions.store import Functions
from services.registry.metrics import Metrics
from services.registry.secrets import sealing
from services.registry.secrets.vault import Vault
from services.registry.source.port import Source
from services.registry.source.snapshot import Snapshot

log = logging.getLogger(__name__)

_TRIES = 5
_MANY = 1000
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
        self._deployer = Deployer(
            functions=functions,
            sealer=sealer,
            metrics=metrics,
            audit=audit,
            vault=vault,
            source=source,
            building=building,
            facts=facts,
        )
        self._projection = projection
        self._metrics = metrics
        self._facts = facts
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
        self._adopted: set[str] = set()
        """Ids of functions that are still to be projected."""
        self._herald = Herald(metrics)
        self._progress = Progress()
        self._due = asyncio.Event()
        self._full = True
        self._waiting: list[asyncio.Future[None]] = []
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
        return self._deployer.entries.get(identity)

    def on_behalf(self, identity: str, actor: Actor) -> AbstractContextManager[None]:
        """Let writes of the function with that id, or of all for an empty one, count as somebody's in the block."""
        return self._deployer.on_behalf(identity, actor)

    def wake(self, *, full: bool = True) -> None:
        """Start a round as soon as the present one has ended."""
        self._full = self._full or full
        self._due.set()

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
        self._deployer.adopt(entry, actor)
        self._adopted.add(documents.id_of(entry))
        self.wake(full=False)

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
            await self._deployer.read()
        snapshot = await self._load()
        if snapshot is not None:
            await self._deployer.bring_in(snapshot, now)
            if self._manifests is not None:
                await self._manifests.keep(snapshot, self._deployer.entries)
            self._herald.problems((*snapshot.problems, *now.faults))
            self.refused = now.refused
        if full:
            await self._remarks.read()
        assets = await self._keep_assets(snapshot)
        await self._remarks.note(snapshot, faults=now.faults, functions=len(self._deployer.entries), assets=assets)
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

    async def _project(self, now: Round, *, full: bool) -> None:
        entries = self._deployer.entries
        adopted, self._adopted = self._adopted, set()
        changed = {documents.id_of(entry) for entry in now.deployed} | adopted
        shown = entries.values() if full else [entries[each] for each in changed if each in entries]
        await self._projection.show(list(shown), code=now.code, progress=now.progress)
        if full:
            await self._projection.hide_all_but(
                {documents.key_of_id(identity) for identity in (*entries, *self._deployer.unknown)}
            )
        else:
            await self._projection.hide(now.removed)
        meta = self._remarks.meta
        if meta is not None:
            await self._projection.finish(meta)
            self._metrics.conflicts.set(len(meta.conflicts))
            self._metrics.problems.set(len(meta.problems))
        self._metrics.functions.set(len(entries))


def _tell(waiting: list[asyncio.Future[None]], error: errors.FnbusError | None) -> None:
    """Tell those who wait for a round how it went."""
    for waiter in waiting:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
