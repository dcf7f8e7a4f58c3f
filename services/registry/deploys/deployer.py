"""What the files say, written into the store function by function.

A function that cannot be written keeps what was stored, and holds up no other. When another registry was faster, the files are
to be loaded again before anything is put over its work: they may have been older than what it had.
"""

import asyncio
import contextlib
from collections.abc import Generator, Mapping

from libs import errors
from libs.messages import bundles
from libs.messages.audit import FOLDER_ACTOR, Actor
from libs.messages.catalog import Bundle, FunctionEntry, Problem
from services.registry.audit import Audit, of_function
from services.registry.deploys.building import Building, build_fault
from services.registry.deploys.facts import Facts, Happened
from services.registry.deploys.rounds import Round
from services.registry.functions import catalog, documents, steering
from services.registry.functions.store import Functions, digests
from services.registry.metrics import Metrics
from services.registry.parallel import in_parallel
from services.registry.secrets import sealing
from services.registry.secrets.vault import Vault
from services.registry.source.port import Source
from services.registry.source.snapshot import LoadedFunction, Snapshot

_TRIES = 5
_AT_ONCE = 256
"""Functions that are written at the same time: a commit costs as much for many as for one."""
_READING = 16
_LIGHT_BYTES = 1024 * 1024


class Deployer:
    """Writes functions, and knows all that are stored."""

    def __init__(
        self,
        *,
        functions: Functions,
        sealer: sealing.Sealer,
        metrics: Metrics,
        audit: Audit,
        vault: Vault | None,
        source: Source | None,
        building: Building | None,
        facts: Facts | None,
    ) -> None:
        """Make it; what the parts are is told in `Deployments`."""
        self._functions = functions
        self._sealer = sealer
        self._metrics = metrics
        self._audit = audit
        self._vault = vault
        self._source = source
        self._building = building
        self._facts = facts
        self._reading = asyncio.Semaphore(_READING)
        self._applied: dict[str, tuple[LoadedFunction, FunctionEntry]] = {}
        self._acting: dict[str, Actor] = {}
        self.entries: dict[str, FunctionEntry] = {}
        """All functions by id, as this process last read or wrote them."""
        self.unknown: frozenset[str] = frozenset()
        """Ids of what is stored and cannot be read."""

    async def read(self) -> None:
        """Read everything that is stored.

        Raises:
            errors.TemporaryError: the store cannot be reached.
        """
        await self._functions.ensure()
        contents = await self._functions.read_all(self.entries)
        self.entries, self.unknown = dict(contents.entries), contents.unknown

    def adopt(self, entry: FunctionEntry, actor: Actor) -> None:
        """Take over a function that was written elsewhere in this process, unless what is known of it is newer."""
        identity = documents.id_of(entry)
        known = self.entries.get(identity)
        if known is None or known.revision < entry.revision:
            self.entries[identity] = entry
        if self._building is not None:
            self._building.doubt(entry)
        self._tell(Happened.UPDATED, entry, actor)

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

    async def bring_in(self, snapshot: Snapshot, now: Round) -> None:
        """Write to the store what differs from the folder."""
        if self._building is not None:
            for identity in self._building.outdated(self.entries):
                self._applied.pop(identity, None)
        if self._vault is not None and await self._vault.refresh():
            for identity in [identity for identity, (_, entry) in self._applied.items() if _names_secrets(entry)]:
                self._applied.pop(identity)
        todo = catalog.differences(snapshot, stored=self.entries, applied=self._applied)
        now.progress.expect("stored", len(todo.deploy))
        await in_parallel(todo.deploy, lambda function: self._deploy(function, snapshot, now), limit=_AT_ONCE)
        await in_parallel(todo.remove, lambda entry: self._remove(entry, now))
        now.faults += sealing.unmet(self.entries.values())
        if self._building is not None:
            await self._building.settle(self.entries)

    async def _deploy(self, function: LoadedFunction, snapshot: Snapshot, now: Round) -> None:
        """Write one function; one that cannot be written keeps what was stored, and holds up no other."""
        identity = catalog.loaded_id(snapshot.namespace, function)
        if identity in self.unknown:
            return
        async with self._reading:
            try:
                code = await self._missing_bundles(function, self.entries.get(identity))
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
        known = self.entries.get(identity)
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
        self.entries[identity] = written
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
                if identity not in self.entries:
                    break
                entry = self.entries[identity]
            else:
                break
        self.entries.pop(identity, None)
        self._applied.pop(identity, None)
        now.removed.append(entry)
        self._metrics.deployments.labels("removed").inc()

    async def _reread(self, identity: str) -> None:
        entry = await self._functions.read(identity)
        if entry is None:
            self.entries.pop(identity, None)
        else:
            self.entries[identity] = entry

    def _tell(self, happened: Happened, entry: FunctionEntry, actor: Actor) -> None:
        if self._facts is not None:
            self._facts.note(happened, entry, actor)


def _names_secrets(entry: FunctionEntry) -> bool:
    return any(version.secret_names or version.secret_env for version in steering.all_versions(entry))
