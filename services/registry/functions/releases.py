"""Versions as people steer them: which are kept, rollback, aliases. Each change is one compare-and-set write of the function.

The rules are in `steering`. A change is answered with the revision from which on it holds; it is projected at once, and
whoever asked waits until their gateway shows that revision.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

from libs import errors
from libs.bus import rpc
from libs.clock import Clock
from libs.messages import codec, contexts
from libs.messages.audit import Actor
from libs.messages.catalog import Alias, FunctionEntry, VersionEntry
from libs.messages.versions import (
    KeptVersion,
    PinView,
    RemoveAlias,
    Rollback,
    SetAlias,
    Steered,
    Unpin,
    VersionList,
    Versions,
)
from libs.storage.port import Document
from services.registry.audit import Audit, Change, of_function
from services.registry.functions import documents, steering
from services.registry.functions.store import Functions
from services.registry.secrets import sealing
from services.registry.secrets.sealing import Sealer
from services.registry.secrets.vault import Vault

log = logging.getLogger(__name__)

_TRIES = 16
"""How often a change is made anew because another registry, or the folder, was faster."""
_MOST = 500
_FEWEST_DIGITS = 8

type _Request = Rollback | Unpin | SetAlias | RemoveAlias
type _Work = Callable[[FunctionEntry], Awaitable[FunctionEntry]]
"""Returns what a function becomes; does it again from what somebody else has made of it meanwhile."""


class Releases:
    """Lists versions and changes where labels lead."""

    def __init__(
        self,
        *,
        functions: Functions,
        audit: Audit,
        vault: Vault,
        sealer: Sealer,
        clock: Clock,
        on_written: Callable[[FunctionEntry, Actor], None],
    ) -> None:
        """Make it; `serve` begins.

        Args:
            functions: the registry's part of the store.
            audit: told of every write.
            vault: the secrets, which are today's in every version.
            sealer: opens environments.
            clock: stamps pins.
            on_written: takes a function that was written and who asked for it, to project it.
        """
        self._functions = functions
        self._audit = audit
        self._vault = vault
        self._sealer = sealer
        self._clock = clock
        self._on_written = on_written
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By function: those who change it at the same time come one after the other."""

    async def serve(self, server: rpc.Server) -> None:
        """Begin to answer.

        Raises:
            port.BusDisconnectedError: the bus cannot be reached.
        """
        await server.serve("versions", VersionList, self.versions)
        await server.serve("rollback", Rollback, self.rollback)
        await server.serve("unpin", Unpin, self.unpin)
        await server.serve("set-alias", SetAlias, self.set_alias)
        await server.serve("remove-alias", RemoveAlias, self.remove_alias)

    async def versions(self, request: VersionList, _traceparent: str = "") -> Versions:
        """Return the versions of a function that are kept, those in use and the latest first.

        Raises:
            errors.NotFoundError: there is no such function.
            errors.UnavailableError: the store cannot be reached.
        """
        entry = await self._read(request)
        found = sorted(await self._stored(entry), key=_deployed, reverse=True)
        shown = [_view(entry, document) for document in found]
        limit = min(max(request.limit, 1), _MOST)
        in_use = [each for each in shown if each.labels or each.aliases or each.held_for]
        chosen = {each.digest for each in (*in_use, *shown)[: max(limit, len(in_use))]}
        return Versions(
            revision=entry.revision,
            versions=tuple(each for each in shown if each.digest in chosen),
            pins=tuple(
                PinView(
                    label=pin.held.label,
                    digest=_digest(entry, pin.held.label),
                    held=pin.held.digest,
                    since=pin.since,
                    by=pin.by,
                )
                for pin in entry.pins
            ),
        )

    async def rollback(self, request: Rollback, _traceparent: str = "") -> Steered:
        """Pin a label to an earlier version.

        Raises:
            errors.NotFoundError: there is no such function, label or version, or no earlier one.
            errors.PermanentError: the version's environment was sealed with a key that is gone.
            errors.ConflictError: the function is not the one that was expected.
            errors.UnavailableError: the store cannot be reached.
        """

        async def roll(entry: FunctionEntry) -> FunctionEntry:
            stored = await self._stored(entry)
            if request.digest:
                target = documents.to_version(_one(stored, request.digest, entry))
            else:
                target = _previous(entry, request.label, stored)
            self._check_opens(entry, target)
            by = request.actor.principal
            return steering.rolled_back(entry, request.label, target, now=self._clock.now(), by=by)

        return await self._change(request, "version.rolled-back", request.label, roll)

    async def unpin(self, request: Unpin, _traceparent: str = "") -> Steered:
        """Give a label back to its source.

        Raises:
            errors.NotFoundError: there is no such function, or the label is not pinned.
            errors.ConflictError: the function is not the one that was expected.
            errors.UnavailableError: the store cannot be reached.
        """

        async def release(entry: FunctionEntry) -> FunctionEntry:
            return steering.unpinned(entry, request.label)

        return await self._change(request, "version.unpinned", request.label, release)

    async def set_alias(self, request: SetAlias, _traceparent: str = "") -> Steered:
        """Add or replace an alias.

        Raises:
            errors.NotFoundError: there is no such function or version.
            errors.PermanentError: the alias is not a possible one, or the function is not the one that was expected.
            errors.UnavailableError: the store cannot be reached.
        """

        async def put(entry: FunctionEntry) -> FunctionEntry:
            labels = {version.label for version in entry.runnable}
            shares = request.shares
            stored: dict[str, VersionEntry] = {}
            if any(share.version not in labels for share in shares):
                found = await self._stored(entry)
                stored = {each["digest"]: documents.to_version(each) for each in found}
                shares = tuple(
                    share if share.version in labels else replace(share, version=_one(found, share.version, entry)["digest"])
                    for share in shares
                )
            for digest in {share.version for share in shares} & stored.keys():
                self._check_opens(entry, stored[digest])
            return steering.with_alias(entry, Alias(name=request.alias, shares=shares), stored)

        return await self._change(request, "alias.set", request.alias, put)

    async def remove_alias(self, request: RemoveAlias, _traceparent: str = "") -> Steered:
        """Remove an alias.

        Raises:
            errors.NotFoundError: there is no such function or alias.
            errors.ConflictError: the function is not the one that was expected.
            errors.UnavailableError: the store cannot be reached.
        """

        async def drop(entry: FunctionEntry) -> FunctionEntry:
            return steering.without_alias(entry, request.alias)

        return await self._change(request, "alias.removed", request.alias, drop)

    async def _change(self, request: _Request, action: str, subject: str, work: _Work) -> Steered:
        """Read, change, write; again when somebody else was faster, unless a revision was asked for."""
        identity = documents.function_id(namespace=request.namespace, runtime=request.runtime, name=request.function)
        async with self._turns.setdefault(identity, asyncio.Lock()):
            return await self._change_in_turn(request, action, subject, work)

    async def _change_in_turn(self, request: _Request, action: str, subject: str, work: _Work) -> Steered:
        for _ in range(_TRIES):
            before = await self._read(request)
            if request.expected not in (0, before.revision):
                raise errors.ConflictError(
                    f"{before.name} was changed meanwhile: its revision is {before.revision}, not {request.expected}"
                )
            steered = await work(before)
            after = sealing.renewed(steered, secrets=self._vault.of(before.namespace), sealer=self._sealer)
            if after != before:
                replaced = steering.reformed(steered, steered, after)
                try:
                    after = await self._functions.write(after, {}, by=request.actor.principal, replaced=replaced)
                except errors.ConflictError:
                    continue
                self._on_written(after, request.actor)
                self._note(request.actor, action, subject, before, after)
            return Steered(
                revision=after.revision,
                before=_digest(before, subject),
                after=_digest(after, subject),
                pinned=any(pin.held.label == subject for pin in after.pins),
            )
        raise errors.ConflictError(f"{request.function} is being changed by others at the moment")

    def _check_opens(self, entry: FunctionEntry, target: VersionEntry) -> None:
        """Refuse a version whose environment nobody can open any more."""
        if target.env_sealed:
            try:
                self._sealer.open(target.env_sealed, context=contexts.of_version(entry, target))
            except errors.FnbusError as error:
                text = f"version {target.digest[: steering.SHORT]} cannot run: its environment cannot be opened ({error})"
                raise errors.PermanentError(text) from error

    def _note(self, actor: Actor, action: str, subject: str, before: FunctionEntry, after: FunctionEntry) -> None:
        change: Change = of_function(actor, action, before=before, after=after, subject=subject)
        self._audit.note(change)
        log.info(
            "%s of %s: %s",
            action,
            after.name,
            subject,
            extra={
                "action": action.replace(".", "_").replace("-", "_"),
                "namespace": after.namespace,
                "function": after.name,
                "runtime": after.runtime,
                "subject": subject,
                "revision": after.revision,
            },
        )

    async def _read(self, request: _Request | VersionList) -> FunctionEntry:
        identity = documents.function_id(namespace=request.namespace, runtime=request.runtime, name=request.function)
        entry = await self._functions.read(identity)
        if entry is None:
            raise errors.NotFoundError("unknown function")
        return entry

    async def _stored(self, entry: FunctionEntry) -> list[Document]:
        """Return the documents of the versions that can be read, the latest used first."""
        return [each for each in await self._functions.versions(documents.id_of(entry)) if _is_readable(each)]


def _previous(entry: FunctionEntry, label: str, stored: Sequence[Document]) -> VersionEntry:
    """Return the version that a label had before the one it has now. After a rollback that is an older one still.

    Raises:
        errors.NotFoundError: there is none.
    """
    active = _digest(entry, label)
    held = next((pin.held.digest for pin in entry.pins if pin.held.label == label), "")
    since = next((_deployed(each) for each in stored if each["digest"] == active), None) if held else None
    for document in stored:
        if document["label"] != label or document["digest"] in (active, held):
            continue
        if since is None or _deployed(document) < since:
            return documents.to_version(document)
    raise errors.NotFoundError(f"no earlier version of {entry.name} is kept")


def _one(stored: Sequence[Document], digits: str, entry: FunctionEntry) -> Document:
    """Return the version whose digest starts with these digits.

    Raises:
        errors.NotFoundError: there is none.
        errors.PermanentError: there are several.
    """
    found = [each for each in stored if each["digest"].startswith(digits)] if len(digits) >= _FEWEST_DIGITS else []
    if not found:
        raise errors.NotFoundError(f"{entry.name} has no version {digits[:64]}")
    if len(found) > 1:
        raise errors.PermanentError(f"several versions of {entry.name} begin with {digits[:64]}: give more digits")
    return found[0]


def _view(entry: FunctionEntry, document: Document) -> KeptVersion:
    version = documents.to_version(document)
    digest = document["digest"]
    labels = {each.label for each in entry.runnable if each.digest == digest}
    own = {each.label for each in entry.versions}
    return KeptVersion(
        digest=digest,
        label=document["label"],
        bundle=version.bundle,
        entrypoint=version.entrypoint,
        created_at=_deployed(document),
        by=document["by"],
        labels=tuple(sorted(labels & own)),
        aliases=tuple(alias.name for alias in entry.aliases if any(share.version in labels for share in alias.shares)),
        held_for=tuple(pin.held.label for pin in entry.pins if pin.held.digest == digest),
    )


def _digest(entry: FunctionEntry, label: str) -> str:
    version = entry.version(label)
    return version.digest if version else ""


def _deployed(document: Mapping[str, Any]) -> datetime:
    return document["deployed_at"]


def _is_readable(document: Document) -> bool:
    try:
        documents.to_version(document)
    except codec.MalformedMessageError:
        return False  # a newer registry's
    return True
