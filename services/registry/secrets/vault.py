"""Secrets: values under a name, sealed in the store, set and removed by request, never read back.

Functions get those that they name; `sealing` puts them into their entries, `deployments` asks for that whenever a secret has
changed. Another registry's changes are seen in the next round.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping

from libs import errors
from libs.bus import rpc
from libs.clock import Clock
from libs.messages import contexts
from libs.messages.secrets import RemoveSecret, SecretInfo, SecretList, SecretRemoved, Secrets, SetSecret
from libs.storage.port import Collection, Document, DuplicateKeyError, Index, RevisionConflictError, Store, Where
from services.registry.audit import Audit, Change
from services.registry.secrets.sealing import Sealer, resealed

log = logging.getLogger(__name__)

SECRETS = Collection("secrets", (Index(("namespace",)),))
"""One document for each, `_id` is `<namespace>/<name>`."""

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
"""What a secret may be called."""
MOST_BYTES = 32 * 1024
"""Bytes of a value."""
_MOST = 1000
"""Secrets of a namespace."""
_PAGE = 1000
_TRIES = 8


class Vault:
    """The registry's secrets."""

    def __init__(
        self,
        *,
        store: Store,
        sealer: Sealer,
        clock: Clock,
        audit: Audit,
        on_change: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Make it; `serve` begins.

        Args:
            store: the registry's.
            sealer: for the values.
            clock: stamps them.
            audit: told of every write.
            on_change: awaited after each, before it is answered.
        """
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._audit = audit
        self._on_change = on_change
        self._known: dict[str, dict[str, bytes]] = {}
        """Sealed values by namespace and name, as they were read last."""
        self._ensured = False

    async def serve(self, server: rpc.Server) -> None:
        """Begin to answer.

        Raises:
            port.BusDisconnectedError: the bus cannot be reached.
        """
        await server.serve("secrets", SecretList, self.listing)
        await server.serve("set-secret", SetSecret, self.set)
        await server.serve("remove-secret", RemoveSecret, self.remove)

    def of(self, namespace: str) -> Mapping[str, bytes]:
        """Return the secrets of a namespace, sealed, as they were at the last `refresh`."""
        return self._known.get(namespace, {})

    async def refresh(self) -> bool:
        """Read all secrets, sealing anew those that are not under the key that seals now; return whether any has changed.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        await self._ensure()
        found: dict[str, dict[str, bytes]] = {}
        after = ""
        while True:
            page = await self._store.find(SECRETS, [Where("_id", ">", after)], sort="_id", limit=_PAGE)
            for document in page:
                found.setdefault(document["namespace"], {})[document["key"]] = await self._current(document)
            if len(page) < _PAGE:
                break
            after = page[-1]["_id"]
        changed, self._known = found != self._known, found
        return changed

    async def listing(self, request: SecretList, _traceparent: str = "") -> Secrets:
        """Return which secrets there are, by name.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        await self._ensure()
        page = await self._store.find(SECRETS, [Where("namespace", "==", request.namespace)], limit=_MOST)
        return Secrets(secrets=tuple(sorted((_info(each) for each in page), key=lambda each: each.key)))

    async def set(self, request: SetSecret, _traceparent: str = "") -> SecretInfo:
        """Keep a value.

        Raises:
            errors.PermanentError: the name or the value is none, or there are too many, or there is no key to seal with.
            errors.UnavailableError: the store cannot be reached.
        """
        if not KEY.fullmatch(request.key):
            raise errors.PermanentError("a secret's key must match ^[A-Za-z_][A-Za-z0-9_.-]{0,127}$")
        value = request.value.encode("utf-8", "surrogatepass")
        if len(value) > MOST_BYTES or b"\0" in value:
            raise errors.PermanentError(f"a secret's value is text of at most {MOST_BYTES} bytes without NUL")
        await self._ensure()
        namespace, key = request.namespace, request.key
        sealed = self._sealer.seal(value, context=contexts.of_secret(namespace=namespace, key=key))
        document = await self._put(namespace, key, sealed)
        change = Change(actor=request.actor, action="secret.set", namespace=namespace, subject=key, changed=("value",))
        self._audit.note(change)
        log.info("secret %s was set", key, extra={"action": "secret_set", "namespace": namespace, "key": key})
        await self._changed()
        return _info(document)

    async def remove(self, request: RemoveSecret, _traceparent: str = "") -> SecretRemoved:
        """Forget a secret.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        await self._ensure()
        if await self._store.delete(SECRETS, _id(request.namespace, request.key)):
            self._audit.note(
                Change(actor=request.actor, action="secret.removed", namespace=request.namespace, subject=request.key)
            )
            await self._changed()
        return SecretRemoved()

    async def _changed(self) -> None:
        if self._on_change is not None:
            await self._on_change()

    async def _put(self, namespace: str, key: str, sealed: bytes) -> Document:
        """Store a sealed value, whoever else does so at the same time; return the document."""
        identity, now = _id(namespace, key), self._clock.now()
        for _ in range(_TRIES):
            known = await self._store.get(SECRETS, identity)
            with contextlib.suppress(DuplicateKeyError, RevisionConflictError):
                if known is not None:
                    document = known | {"sealed": sealed, "updated_at": now}
                    await self._store.replace(SECRETS, document, revision=known["revision"])
                    return document
                if await self._store.count(SECRETS, [Where("namespace", "==", namespace)]) >= _MOST:
                    raise errors.PermanentError(f"there are {_MOST} secrets already")
                document = {"_id": identity, "namespace": namespace, "key": key, "sealed": sealed, "created_at": now}
                await self._store.insert(SECRETS, document)
                return document
            await asyncio.sleep(0)
        raise errors.UnavailableError("too many set this secret at the same time")

    async def _current(self, document: Document) -> bytes:
        """Return the sealed value of a document, stored anew when it was sealed with a former key."""
        before: bytes = document["sealed"]
        context = contexts.of_secret(namespace=document["namespace"], key=document["key"])
        now = resealed(before, context=context, sealer=self._sealer)
        if now is before:
            return before
        try:
            await self._store.replace(SECRETS, document | {"sealed": now}, revision=document["revision"])
        except RevisionConflictError:  # set, removed or sealed anew by somebody else: the next round sees it
            return before
        log.info("secret %s was sealed anew", document["key"], extra={"action": "secret_resealed", "key": document["key"]})
        return now

    async def _ensure(self) -> None:
        if not self._ensured:
            await self._store.ensure(SECRETS)
            self._ensured = True


def _id(namespace: str, key: str) -> str:
    return f"{namespace}/{key}"


def _info(document: Document) -> SecretInfo:
    return SecretInfo(key=document["key"], created_at=document["created_at"], updated_at=document.get("updated_at"))
