"""Files of many functions at once: what is there, and a change that is deployed before it is answered.

Files lie where a functions folder would have them, so that whatever the folder's rules make of them is made of them here: file
routes, policies of folders, versions, shared modules. Each function's files are written together; a function that does not
work afterwards is told as a problem, and what was deployed of it before goes on.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Collection, Iterable

from libs import errors
from libs.bus import rpc
from libs.messages import trees as messages
from libs.messages.catalog import Problem
from libs.messages.functions import FunctionRef
from libs.messages.trees import ChangeTree, Tree, TreeChanged, TreeFile, TreePage
from services.registry.deploys.deployments import Deployments
from services.registry.editing import jsons
from services.registry.functions import catalog, documents
from services.registry.homes import clashes
from services.registry.homes.attempts import alone
from services.registry.source import tree
from services.registry.source.files import FileSource
from services.registry.source.home import Change, Home
from services.registry.source.listing import blind_spot
from services.registry.source.packs import is_of_pack
from services.registry.source.snapshot import Snapshot

log = logging.getLogger(__name__)

_DEPLOY_SECONDS = 20.0


class Trees:
    """Lists and changes the tree of files."""

    def __init__(self, *, home: Home, source: FileSource, deployments: Deployments) -> None:
        """Make it; `serve` begins.

        Args:
            home: where files are read and written.
            source: what reads the same files for the deployments.
            deployments: deploys what the files are.
        """
        self._home = home
        self._source = source
        self._deployments = deployments

    async def serve(self, server: rpc.Server) -> None:
        """Begin to answer.

        Raises:
            port.BusDisconnectedError: the bus cannot be reached.
        """
        await server.serve("tree", messages.ListTree, self.listing)
        await server.serve("read-tree", messages.ReadTree, self.page)
        await server.serve("change-tree", ChangeTree, self.change)

    async def listing(self, _request: messages.ListTree, _traceparent: str = "") -> Tree:
        """Return all files.

        Raises:
            errors.TemporaryError: they cannot be reached.
        """
        snapshot = await self._now()
        found: list[TreeFile] = []
        for path in sorted(self._source.files):
            there = self._source.files[path]
            if there.digest and not _is_secret(path):
                found.append(TreeFile(path=path, size=there.size, digest=there.digest))
                continue
            data = await self._bytes(path)
            if data is None:
                continue
            if _is_secret(path):
                found.append(TreeFile(path=path, size=len(data), keys=_keys(data)))
            else:
                found.append(TreeFile(path=path, size=len(data), digest=hashlib.sha256(data).hexdigest()))
        return Tree(files=tuple(found), namespace=snapshot.namespace)

    async def page(self, request: messages.ReadTree, _traceparent: str = "") -> TreePage:
        """Return the content of some files; those that could not be written back, and environment values, are left out.

        Raises:
            errors.TemporaryError: they cannot be reached.
        """
        await self._now()
        there = (path for path in self._source.files if path > request.after)
        wanted = sorted(path for path in there if messages.is_path(path))
        found: list[messages.NewFile] = []
        size = 0
        for path in wanted:
            if size >= messages.MAX_PAGE_BYTES:
                return TreePage(files=tuple(found), has_more=True)
            data = None if _is_secret(path) else await self._bytes(path)
            if data is not None and len(data) <= messages.MAX_FILE_BYTES:
                found.append(messages.NewFile(path=path, data=data))
                size += len(data) + len(path)
        return TreePage(files=tuple(found))

    async def change(self, request: ChangeTree, _traceparent: str = "") -> TreeChanged:
        """Write and remove files, and deploy them.

        Raises:
            errors.PermanentError: a path or a size does not fit; nothing was changed.
            errors.TemporaryError: files, store or bus cannot be reached; what was written is deployed later.
        """
        paths = (*(file.path for file in request.put), *request.remove)
        if len(paths) > messages.MAX_TREE_FILES:
            raise errors.PermanentError(
                f"a change may name {messages.MAX_TREE_FILES} files, and not {len(paths)}: make several"
            )
        for path in paths:
            _check(path)
        if any(len(file.data) > messages.MAX_FILE_BYTES for file in request.put):
            raise errors.PermanentError(f"a file may have {messages.MAX_FILE_BYTES} bytes")
        return await alone(self._home, lambda: self._change(request))

    async def _change(self, request: ChangeTree) -> TreeChanged:
        await self._now()
        put = {file.path: file.data for file in request.put if await self._differs(file)}
        remove = tuple(path for path in request.remove if path in self._source.files)
        clashes.check(put, there=self._source.files)
        if request.dry_run or not (put or remove):
            return TreeChanged(changed=tuple(put), removed=remove)
        with self._deployments.on_behalf("", request.actor):
            await self._home.write(Change(put=put, remove=remove))
            snapshot = await self._now()
        touched = {*put, *remove}
        _log(request, touched)
        functions = tuple(_functions(snapshot, touched))
        return TreeChanged(
            changed=tuple(put),
            removed=remove,
            functions=functions,
            unready=tuple(each for each in functions if not self._is_ready(each)),
            problems=tuple(self._problems(snapshot, touched)),
        )

    def _is_ready(self, function: FunctionRef) -> bool:
        entry = self._deployments.entry(_id(function))
        return entry is not None and catalog.can_run(entry.version(function.version))

    async def _differs(self, file: messages.NewFile) -> bool:
        """Tell whether a file is not there just so."""
        there = self._source.files.get(file.path)
        if there is None or there.size != len(file.data):
            return True
        if there.digest and not _is_secret(file.path):
            return there.digest != hashlib.sha256(file.data).hexdigest()
        return await self._bytes(file.path) != file.data

    def _problems(self, snapshot: Snapshot, touched: Collection[str]) -> Iterable[Problem]:
        folders = {path.rpartition("/")[0] for path in touched}
        for problem in snapshot.problems:
            if problem.path in touched or problem.path.rpartition("/")[0] in folders or problem.path in folders:
                yield problem
        for function in _functions(snapshot, touched):
            reason = self._deployments.refused.get(_id(function))
            if reason is not None:
                yield Problem(path=function.name, message=reason)

    async def _bytes(self, path: str) -> bytes | None:
        if path not in self._source.files:
            return None
        with contextlib.suppress(OSError):
            return await self._home.fetch(path, limit=tree.MAX_BUNDLE_BYTES)
        return None

    async def _now(self) -> Snapshot:
        """Return what is there now, deployed.

        Raises:
            errors.TemporaryError: files, store or bus cannot be reached.
        """
        try:
            async with asyncio.timeout(_DEPLOY_SECONDS):
                await self._deployments.sync()
        except TimeoutError:
            raise errors.DeadlineError("the functions could not be brought up to date in time") from None
        snapshot = self._deployments.snapshot
        if snapshot is None:
            raise errors.UnavailableError("the functions cannot be read at the moment")
        return snapshot


def _check(path: str) -> None:
    """Let pass what may be written.

    Raises:
        errors.PermanentError: it leads out of the functions, or to what discovery does not see.
    """
    if not messages.is_path(path):
        raise errors.PermanentError(f"invalid path: {path[:200]}")
    unseen = "" if is_of_pack(path) else blind_spot(path)
    if unseen:
        raise errors.PermanentError(f"invalid path: {path[:200]}: {unseen}")


def _functions(snapshot: Snapshot, touched: Collection[str]) -> Iterable[FunctionRef]:
    """Yield the versions that files belong to."""
    for function in snapshot.functions:
        for version in function.versions:
            own = {*version.found.files, version.found.env_path, tree.join(version.found.folder, tree.CONFIG)}
            if not own.isdisjoint(touched):
                yield FunctionRef(
                    namespace=snapshot.namespace, runtime=function.runtime, name=function.name, version=version.found.label
                )


def _id(function: FunctionRef) -> str:
    return documents.function_id(namespace=function.namespace, runtime=function.runtime, name=function.name)


def _is_secret(path: str) -> bool:
    return path.rpartition("/")[2].lower() == tree.ENV


def _keys(data: bytes) -> tuple[str, ...]:
    """Return the names of environment values; none of a file that is broken."""
    with contextlib.suppress(errors.PermanentError):
        return tuple(sorted(jsons.parse(data, what=tree.ENV)))
    return ()


def _log(request: ChangeTree, touched: Collection[str]) -> None:
    fields = {"action": "tree_changed", "files": len(touched), "by": request.actor.principal}
    log.info("%d files changed", len(touched), extra=fields)
