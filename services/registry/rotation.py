"""Everything that is sealed, sealed anew with the key that seals now, so that a former key can be taken away.

What functions run with is sealed anew whenever a registry starts. This is for the rest as well, the versions that are kept to
go back to, and it says whether anything is left under another key. It goes in steps, each with the place where it ended: who
asked sees how far it is, and goes on at any registry. Doing it again changes nothing.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from libs import errors
from libs.bus import rpc
from libs.messages import codec
from libs.messages.audit import Actor
from libs.messages.catalog import FunctionEntry, VersionEntry
from libs.messages.secrets import RotatedKeys, RotateKeys
from libs.storage.port import Collection, Document, DuplicateKeyError, RevisionConflictError, Store, Where
from services.registry.audit import Audit, Change
from services.registry.functions import documents, steering
from services.registry.functions.store import Functions
from services.registry.secrets import sealing
from services.registry.secrets.sealing import Sealer
from services.registry.secrets.vault import SECRETS, Vault

_STEP = 200
_MOST_STEP = 1000
_PAGE = 1000
_TRIES = 5
_SHOWN_DIGITS = 12


@dataclass(slots=True)
class _Counts:
    looked: int = 0
    resealed: int = 0
    failed: list[str] = field(default_factory=list[str])


class Rotation:
    """Seals anew."""

    def __init__(
        self,
        *,
        store: Store,
        functions: Functions,
        vault: Vault,
        sealer: Sealer,
        audit: Audit,
        on_written: Callable[[FunctionEntry, Actor], None],
    ) -> None:
        """Make it.

        Args:
            store: the registry's.
            functions: its functions and versions.
            vault: its secrets.
            sealer: knows the keys.
            audit: told once it is through.
            on_written: told of each function that was written.
        """
        self._store = store
        self._functions = functions
        self._vault = vault
        self._sealer = sealer
        self._audit = audit
        self._on_written = on_written

    async def serve(self, server: rpc.Server) -> None:
        """Begin to answer."""
        await server.serve("rotate-keys", RotateKeys, self.step)

    async def step(self, request: RotateKeys, _traceparent: str = "") -> RotatedKeys:
        """Go on from where a former step has ended.

        Raises:
            errors.PermanentError: there are no keys, or that is no place.
            errors.UnavailableError: the store cannot be reached.
        """
        if not self._sealer.active:
            raise errors.PermanentError("nothing can be sealed: FNBUS_SECRET_KEYS is not set")
        await self._functions.ensure()
        stage, _, after = request.after.partition(":")
        limit = max(1, min(request.limit or _STEP, _MOST_STEP))
        counts, total = _Counts(), 0
        match stage:
            case "":
                total = await self._total()
                await self._secrets(counts)
                then = "functions:"
            case "functions":
                end = await self._page(documents.FUNCTIONS, after, limit, counts, self._function, request.actor)
                then = f"functions:{end}" if end else "versions:"
            case "versions":
                end = await self._page(documents.VERSIONS, after, limit, counts, self._version, request.actor)
                then = f"versions:{end}" if end else ""
            case _:
                raise errors.PermanentError(f"{request.after[:64]!r} is no place to go on from")
        if not then:
            self._audit.note(Change(actor=request.actor, action="keys.rotated", subject=self._sealer.active))
        return RotatedKeys(
            key=self._sealer.active,
            total=total,
            looked=counts.looked,
            resealed=counts.resealed,
            failed=tuple(counts.failed),
            after=then,
        )

    async def _total(self) -> int:
        await self._store.ensure(SECRETS)
        counts = [await self._store.count(each) for each in (SECRETS, documents.FUNCTIONS, documents.VERSIONS)]
        return sum(counts)

    async def _secrets(self, counts: _Counts) -> None:
        after = ""
        stale: list[Document] = []
        while True:
            page = await self._store.find(SECRETS, [Where("_id", ">", after)], sort="_id", limit=_PAGE)
            counts.looked += len(page)
            stale += [each for each in page if not self._is_current(each["sealed"])]
            if len(page) < _PAGE:
                break
            after = page[-1]["_id"]
        await self._vault.refresh()
        for document in stale:
            now = self._vault.of(document["namespace"]).get(document["key"])
            if now is None or self._is_current(now):
                counts.resealed += 1
            else:
                counts.failed.append(f"the secret {document['key']}")

    async def _page(
        self,
        collection: Collection,
        after: str,
        limit: int,
        counts: _Counts,
        work: Callable[[Document, _Counts, Actor], Awaitable[None]],
        actor: Actor,
    ) -> str:
        """Work through a page; return where it ended, empty when it was the last one."""
        page = await self._store.find(collection, [Where("_id", ">", after)], sort="_id", limit=limit)
        for document in page:
            counts.looked += 1
            try:
                await work(document, counts, actor)
            except codec.MalformedMessageError:
                counts.failed.append(f"{document['_id']}, which a newer registry has written")
        return page[-1]["_id"] if len(page) == limit else ""

    async def _function(self, document: Document, counts: _Counts, actor: Actor) -> None:
        entry = documents.to_entry(document)
        for _ in range(_TRIES):
            if all(map(self._is_up_to_date, steering.all_versions(entry))):
                return
            fresh = sealing.renewed(entry, secrets=self._vault.of(entry.namespace), sealer=self._sealer)
            if not all(map(self._is_up_to_date, steering.all_versions(fresh))):
                counts.failed.append(f"{entry.name} ({entry.runtime})")
            if fresh == entry:
                return
            try:
                replaced = steering.reformed(entry, entry, fresh)
                written = await self._functions.write(fresh, {}, by=actor.principal, replaced=replaced)
            except errors.ConflictError:
                found = await self._functions.read(documents.id_of(entry))
                if found is None:
                    return
                entry = found
                continue
            counts.resealed += 1
            self._on_written(written, actor)
            return
        counts.failed.append(f"{entry.name} ({entry.runtime}), which others change at the moment")

    async def _version(self, document: Document, counts: _Counts, _actor: Actor) -> None:
        """Seal a former version anew, which gives it another digest; it stays deployed by whom and when it was."""
        version = documents.to_version(document)
        if self._is_up_to_date(version):
            return
        identity: str = document["function"]
        entry = await self._functions.read(identity)
        if entry is not None and any(each.digest == version.digest for each in steering.all_versions(entry)):
            return  # it runs, and was seen to with its function
        namespace, runtime, name = identity.split("/", 2)
        owner = FunctionEntry(namespace=namespace, runtime=runtime, name=name, revision=0, source="", versions=(version,))
        fresh = sealing.renewed(owner, secrets=self._vault.of(namespace), sealer=self._sealer).versions[0]
        if not self._is_up_to_date(fresh):
            counts.failed.append(f"version {version.digest[:_SHOWN_DIGITS]} of {name} ({runtime})")
            return
        now = document | {
            "_id": documents.version_id(identity, fresh.digest),
            "digest": fresh.digest,
            "version": codec.encode(fresh),
        }
        with contextlib.suppress(DuplicateKeyError):
            await self._store.insert(documents.VERSIONS, now)
        with contextlib.suppress(RevisionConflictError):  # it was put to use meanwhile
            await self._store.delete(documents.VERSIONS, document["_id"], revision=document["revision"])
        counts.resealed += 1

    def _is_up_to_date(self, version: VersionEntry) -> bool:
        env = [version.env_sealed] if version.env_sealed else []
        return all(map(self._is_current, (*env, *version.secrets.values())))

    def _is_current(self, sealed: bytes) -> bool:
        try:
            return self._sealer.is_current(sealed)
        except errors.FnbusError:
            return False
