"""Functions read and changed on request: what is asked for becomes files, and the files are deployed, before the answer.

A change is made in four steps: everything that is there is deployed; the function is what whoever asks thinks it is, or
nothing happens; files are written; these are deployed. So an editor and the API never lose each other's work without a word.
"""

import asyncio
import contextlib
import logging
from dataclasses import replace

from libs import errors
from libs.bus import rpc
from libs.clock import Clock
from libs.messages import functions as messages
from libs.messages.catalog import FunctionEntry
from libs.messages.functions import Changed, ChangeFunction, ChangeKind, FileContent, FunctionDetail, FunctionRef
from libs.messages.trees import PACKS
from services.registry.deploys.deployments import Deployments
from services.registry.editing import configs, environments, jsons, packs, places, templates
from services.registry.editing.details import Details
from services.registry.editing.places import Place
from services.registry.functions import documents
from services.registry.functions.store import Functions
from services.registry.homes import clashes
from services.registry.homes.attempts import alone
from services.registry.source import entries, tree
from services.registry.source.files import FileSource
from services.registry.source.home import Change, Home
from services.registry.source.snapshot import Snapshot

log = logging.getLogger(__name__)

_DEPLOY_SECONDS = 10.0


class Editor:
    """Reads and changes functions."""

    def __init__(
        self,
        *,
        home: Home,
        source: FileSource,
        deployments: Deployments,
        functions: Functions,
        clock: Clock,
        namespace_depth: int = 3,
    ) -> None:
        """Make it; `serve` begins.

        Args:
            home: where files are read and written.
            source: what reads the same files for the deployments.
            deployments: deploys what the files are.
            functions: the registry's part of the store.
            clock: says when everything was looked at.
            namespace_depth: how many parts a new function's name may have.
        """
        self._home = home
        self._source = source
        self._deployments = deployments
        self._functions = functions
        self._clock = clock
        self._namespace_depth = namespace_depth
        self._details = Details(home=home, source=source)
        self._writing = asyncio.Lock()

    async def serve(self, server: rpc.Server) -> None:
        """Begin to answer.

        Raises:
            port.BusDisconnectedError: the bus cannot be reached.
        """
        await server.serve("function", messages.GetFunction, self.function)
        await server.serve("change", ChangeFunction, self.change)
        await server.serve("file", messages.GetFile, self.file)
        await server.serve("packs", messages.ListPacks, self.packs)
        await server.serve("reload", messages.Reload, self.reload)

    async def function(self, request: messages.GetFunction, _traceparent: str = "") -> FunctionDetail:
        """Return everything about a version, as it is now.

        Raises:
            errors.NotFoundError: there is no such version.
            errors.TemporaryError: files, store or bus cannot be reached.
        """
        snapshot = await self._now(look=False)
        place = await self._found(snapshot, request.target)
        entry = await self._entry(request.target)
        if entry is None:
            raise errors.NotFoundError("unknown function")
        return await self._details.of(place, entry=entry, snapshot=snapshot, code=request.code)

    async def file(self, request: messages.GetFile, _traceparent: str = "") -> FileContent:
        """Return one file of a function.

        Raises:
            errors.NotFoundError: there is no such function or file.
            errors.PermanentError: it may not be read.
        """
        place = await self._found(await self._now(look=False), request.target)
        path = places.inner_path(place, request.path)
        places.check_readable(path)
        if path not in self._source.files:
            raise errors.NotFoundError("file not found")
        try:
            data = await self._home.fetch(path, limit=tree.MAX_BUNDLE_BYTES)
        except OSError:
            raise errors.NotFoundError("file not found") from None
        limit = messages.MAX_CODE_BYTES
        return FileContent(path=request.path, data=data[:limit], truncated=len(data) > limit)

    async def packs(self, _request: messages.ListPacks, _traceparent: str = "") -> messages.Packs:
        """Return all shared packs."""
        await self._now(look=False)
        place = self._home.place

        def shown(path: str) -> str:
            return f"{place}/{path}" if place and path else path

        found = tuple(
            replace(pack, dir=shown(pack.dir), manifest=shown(pack.manifest), lock=shown(pack.lock))
            for pack in packs.all_packs(self._source.files)
        )
        return messages.Packs(packs_root=shown(PACKS), packs=found)

    async def reload(self, _request: messages.Reload, _traceparent: str = "") -> messages.Reloaded:
        """Look at everything anew."""
        await self._sync(full=True)
        meta, _ = await self._functions.read_meta()
        return messages.Reloaded(
            at=self._clock.now(),
            generated_at=meta.generated_at if meta else None,
            functions_root=meta.functions_root if meta else self._home.place,
        )

    async def change(self, request: ChangeFunction, _traceparent: str = "") -> Changed:
        """Change a function's files, and deploy them.

        Raises:
            errors.NotFoundError: there is no such version.
            errors.ConflictError: somebody else is changing it.
            errors.PermanentError: the change does not fit; nothing was changed.
            errors.TemporaryError: files, store or bus cannot be reached; what was written is deployed later.
        """

        async def work() -> Changed:
            snapshot = await self._now()
            with self._deployments.on_behalf(_id(request.target), request.actor):
                return await self._change(request, snapshot)

        async with self._writing:
            return await alone(self._home, work)

    async def _change(self, request: ChangeFunction, snapshot: Snapshot) -> Changed:
        if request.kind is ChangeKind.CREATE:
            return await self._create(request, snapshot)
        place = await self._found(snapshot, request.target)
        present = await self._entry(request.target)
        if present is None:
            raise errors.NotFoundError("unknown function")
        if request.expected not in (0, present.revision):
            return Changed(revision=present.revision, outdated=True)
        change = await self._planned(request, place, snapshot)
        if request.kind is ChangeKind.DELETE:
            await self._home.write(change)
            after = await self._now()
            left = await self._entry(request.target)
            _log("function removed", request, left)
            return Changed(revision=left.revision if left and places.find(after, request.target) else 0)
        return await self._apply(change, request)

    async def _planned(self, request: ChangeFunction, place: Place, snapshot: Snapshot) -> Change:
        """Return what a change means for files.

        Raises:
            errors.PermanentError: it does not fit.
        """
        match request.kind:
            case ChangeKind.DELETE:
                whole = request.target.version == entries.DEFAULT
                return places.removal(snapshot, place, whole=whole)
            case ChangeKind.CONFIG:
                before = jsons.parse(await self._bytes(place.config), what=f"the present {tree.CONFIG}")
                after = configs.changed(before, jsons.parse(request.body, what="the change"))
                return Change(put={place.config: jsons.dump(after)})
            case ChangeKind.ENV:
                present = place.version.found.env_path
                before = jsons.parse(await self._bytes(present) if present else b"", what=f"the present {tree.ENV}")
                after = environments.changed(before, jsons.parse(request.body, what="the change"))
                return Change(put={place.env: jsons.dump(after)})
            case ChangeKind.CODE:
                if len(request.body) > messages.MAX_CODE_BYTES:
                    raise errors.PermanentError("code exceeds maximum size")
                return Change(put={place.handler: request.body})
            case ChangeKind.PUT_FILE:
                path = places.inner_path(place, request.path)
                places.check_writable(path)
                if len(request.body) > messages.MAX_CONTENT_BYTES and path != place.handler:
                    raise errors.PermanentError("content exceeds maximum size")
                clashes.check((path,), there=self._source.files)
                return Change(put={path: request.body})
            case _:
                path = places.inner_path(place, request.path)
                places.check_removable(place, path)
                if path not in self._source.files:
                    raise errors.NotFoundError("file not found")
                return Change(remove=(path,))

    async def _create(self, request: ChangeFunction, snapshot: Snapshot) -> Changed:
        target = request.target
        folder = places.for_new(target, depth=self._namespace_depth)
        if places.find(snapshot, target) is not None or await self._has_version(target):
            raise errors.PermanentError("function already exists")
        options = jsons.parse(request.body, what="the request")
        file, code = templates.handler(target.runtime, target.name)
        if isinstance(named := options.get("filename"), str) and named and named != file:
            templates.check_file_name(target.runtime, named)
            file = named
        if isinstance(given := options.get("code"), str) and given:
            code = given.encode()
        if len(code) > messages.MAX_CODE_BYTES:
            raise errors.PermanentError("code exceeds maximum size")
        entrypoint = "" if entries.is_entry_name(target.runtime, file) else file
        config = jsons.dump(configs.created(options, entrypoint=entrypoint))
        # The config comes first: alone it makes no function.
        return await self._apply(
            Change(put={f"{folder}/{tree.CONFIG}": config, f"{folder}/{file}": code}), request, is_new=True
        )

    async def _apply(self, change: Change, request: ChangeFunction, *, is_new: bool = False) -> Changed:
        """Write files and deploy them; what cannot be deployed is taken back.

        Raises:
            errors.PermanentError: the function would not be one any more, or cannot be kept; nothing was changed.
        """
        before = {path: await self._bytes(path) for path in (*change.put, *change.remove) if path in self._source.files}
        await self._home.write(change)
        snapshot = await self._now()
        place, entry = places.find(snapshot, request.target), await self._entry(request.target)
        fault = self._fault(snapshot, request, place)
        if fault or place is None or entry is None:
            made = tuple(path for path in change.put if path not in before)
            await self._home.write(Change(put=before, remove=made, takes_back=True))
            with contextlib.suppress(errors.TemporaryError):
                await self._now()
            raise errors.PermanentError(fault or ("the function cannot be made" if is_new else "unknown function"))
        _log(f"function changed: {request.kind}", request, entry)
        detail = await self._details.of(place, entry=entry, snapshot=snapshot, code=True)
        return Changed(revision=entry.revision, detail=detail)

    def _fault(self, snapshot: Snapshot, request: ChangeFunction, place: Place | None) -> str:
        """Return why a function cannot be as it was written; empty when it can."""
        refused = self._deployments.refused.get(_id(request.target))
        if refused is not None:
            return refused
        if place is not None:
            return ""
        folder = f"{request.target.runtime}/{request.target.name}"
        told = [each.message for each in snapshot.problems if each.path == folder or each.path.startswith(f"{folder}/")]
        owner = places.owner_above(snapshot, folder)
        if owner:
            told.append(f"the function cannot be made: {folder} lies in the folder of the function {owner}")
        return told[0] if told else ""

    async def _found(self, snapshot: Snapshot, target: FunctionRef) -> Place:
        """Return where a version lies.

        Raises:
            errors.NotFoundError: there is none.
            errors.ConflictError: it is known, and its files are elsewhere.
        """
        place = places.find(snapshot, target)
        if place is not None:
            return place
        entry = await self._entry(target)
        if entry is not None and entry.source != self._home.origin:
            raise errors.ConflictError(f"the files of {target.name} are not kept where this registry keeps files")
        raise errors.NotFoundError("unknown function")

    async def _has_version(self, target: FunctionRef) -> bool:
        entry = await self._entry(target)
        return entry is not None and any(version.label == target.version for version in entry.versions)

    async def _entry(self, target: FunctionRef) -> FunctionEntry | None:
        return await self._functions.read(_id(target))

    async def _bytes(self, path: str) -> bytes:
        if path not in self._source.files:
            return b""
        try:
            return await self._home.fetch(path, limit=tree.MAX_BUNDLE_BYTES)
        except OSError as error:
            raise errors.PermanentError(f"{path} cannot be read: {error.strerror or error}") from error

    async def _now(self, *, look: bool = True) -> Snapshot:
        """Return what is there now, deployed.

        Raises:
            errors.TemporaryError: files, store or bus cannot be reached.
        """
        await self._sync(look=look)
        snapshot = self._deployments.snapshot
        if snapshot is None:
            raise errors.UnavailableError("the functions cannot be read at the moment")
        return snapshot

    async def _sync(self, *, full: bool = False, look: bool = True) -> None:
        try:
            async with asyncio.timeout(_DEPLOY_SECONDS):
                await self._deployments.sync(full=full, look=look)
        except TimeoutError:
            raise errors.DeadlineError("the functions could not be brought up to date in time") from None


def _id(target: FunctionRef) -> str:
    return documents.function_id(namespace=target.namespace, runtime=target.runtime, name=target.name)


def _log(text: str, request: ChangeFunction, entry: FunctionEntry | None) -> None:
    target = request.target
    ids = {"namespace": target.namespace, "function": target.name, "runtime": target.runtime, "by": request.actor.principal}
    log.info(text, extra={"action": "function_changed", "kind": request.kind, "revision": entry.revision if entry else 0} | ids)
