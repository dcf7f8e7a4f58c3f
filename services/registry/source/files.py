"""A tree of functions' files: reads it into a snapshot, hands out bundles, and says when it has changed.

The meaning of what lies there is decided by `discover`; this is the shell around it that does the reading, wherever the files
are (`home`). A file is read again only when its size, times or inode have changed, so that one saved file among thousands
costs little.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import NamedTuple

from libs import errors
from libs.messages import bundles, catalog
from libs.messages.web import AssetFile
from services.registry.source import config, environment, interfaces, tree
from services.registry.source import grown as growth
from services.registry.source.config import Config, Manifest
from services.registry.source.discover import Options, discover
from services.registry.source.environment import EnvFile, EnvValue
from services.registry.source.found import Discovery, FoundAssets, FoundFunction, FoundVersion, LoadedAssets
from services.registry.source.home import Home
from services.registry.source.listing import File, Listing
from services.registry.source.snapshot import LoadedFunction, LoadedVersion, Snapshot

RACY_NS = 100_000_000
"""Nanoseconds: a file changed this shortly before it was read may change again without its times showing it."""


class FileSource:
    """A tree of functions' files."""

    def __init__(self, home: Home, options: Options | None = None) -> None:
        """Remember where the files are; nothing is read yet."""
        self._home = home
        self._options = options or Options()
        self._files: dict[str, File] = {}
        self._last: tuple[Listing, Snapshot] | None = None
        self._digests: _Cache[_Seen] = _Cache()
        self._configs: _Cache[Config] = _Cache()
        self._manifests: _Cache[Manifest] = _Cache()
        self._envs: _Cache[EnvFile] = _Cache()
        self._meaning: tuple[_Shape, Discovery] | None = None
        self._loaded: dict[tuple[str, str], tuple[FoundFunction, LoadedFunction]] = {}
        self._loading = asyncio.Lock()

    async def load(self) -> Snapshot:
        """Read the folder as it is now. Files that have not changed since the last load are not read again.

        Raises:
            errors.UnavailableError: the folder itself cannot be read; keep what was known.
        """
        async with self._loading:
            await self._home.refresh()
            return await asyncio.to_thread(self._load)

    @property
    def files(self) -> Mapping[str, File]:
        """The files that were there at the last load, by path."""
        return self._files

    async def bundle(self, version: FoundVersion) -> catalog.Bundle:
        """Return the files of a version, for the bundle store; its digest is `LoadedVersion.bundle` unless they have changed.

        Raises:
            errors.TemporaryError: a file has changed or gone since the load; the next load has the news.
        """
        fetched = {path: await self._fetch(path) for path in (*version.files, *version.packs)}
        added = growth.grown(version, lambda path: fetched[path][0])
        files: list[catalog.BundleFile] = []
        for path in growth.own_files(version, added):
            data, executable = fetched[path]
            files.append(catalog.BundleFile(path=growth.inside(version, path), data=data, executable=executable))
        if added.manifest:
            files.append(catalog.BundleFile(path=added.manifest, data=added.text))
        return catalog.Bundle(files=tuple(sorted(files, key=lambda file: file.path)))

    async def _fetch(self, path: str) -> tuple[bytes, bool]:
        """Return a file of a bundle, and whether it is executable."""
        file = self._files.get(path)
        if file is None:
            raise errors.TemporaryError(f"{path} has gone")
        try:
            data = await self._home.fetch(path, limit=tree.MAX_BUNDLE_BYTES)
        except OSError as error:
            raise errors.TemporaryError(f"{path} cannot be read any more: {error.strerror or error}") from error
        return data, file.executable

    async def asset(self, path: str, digest: str) -> bytes:
        """Return the bytes of a static file.

        Raises:
            errors.TemporaryError: it has changed or gone since the load; the next load has the news.
        """

        def read() -> bytes:
            try:
                data = self._home.read(path, limit=self._options.max_asset_bytes)
            except OSError as error:
                raise errors.TemporaryError(f"{path} cannot be read any more: {error.strerror or error}") from error
            if hashlib.sha256(data).hexdigest() != digest:
                raise errors.TemporaryError(f"{path} has changed since it was loaded")
            return data

        return await asyncio.to_thread(read)

    async def watch(self) -> AsyncIterator[frozenset[str]]:
        """Yield the relative paths of what changed, once it has come to rest; empty when only a rescan noticed. Endless.

        Load after each; never raises for a folder that is gone, which is waited for. The first one may come at once.
        """
        async for changed in self._home.watch(is_news=self._is_news):
            yield changed

    async def _is_news(self) -> bool:
        """Return whether the folder differs from what was loaded last."""

        def differs() -> bool:
            return {file.path: file for file in self._home.scan().files} != self._files

        async with self._loading:
            try:
                return await asyncio.to_thread(differs)
            except errors.UnavailableError:
                return False

    def _load(self) -> Snapshot:
        found = self._home.scan()
        if self._last is not None and self._last[0] is found:
            return self._last[1]  # the home says that it is the very same
        files = {file.path: file for file in found.files}
        problems: list[catalog.Problem] = []
        configs = self._parse_all(found, tree.CONFIG, self._configs, config.parse_config, problems)
        manifests = self._parse_all(found, tree.MANIFEST, self._manifests, config.parse_manifest, problems)
        envs = self._parse_all(found, tree.ENV, self._envs, environment.parse_env, problems)
        discovery = self._discover(found, configs, manifests)
        used = {env_path for each in discovery.functions for version in each.versions if (env_path := version.env_path)}
        problems.extend(problem for path in sorted(used & envs.keys()) for problem in envs[path].problems)
        broken = set(discovery.broken)
        # Taken before anything is read: a file that many functions share must count as changed for all of them.
        changed = {path for path, file in files.items() if not self._digests.is_known(file)}
        functions = [
            self._load_function(function, files, changed, configs, envs, problems, broken) for function in discovery.functions
        ]
        assets = self._load_assets(discovery.assets, files, problems)
        self._files = files
        self._digests.keep(files)
        present = [function for function in functions if function is not None]
        snapshot = replace(
            _snapshot(discovery, present, problems),
            broken=frozenset(broken),
            unread=found.unread,
            homes=discovery.homes,
            assets=assets,
            origin=self._home.origin,
            untouched=found.untouched,
        )
        self._last = None if broken else (found, snapshot)
        return snapshot

    def _discover(self, found: Listing, configs: dict[str, Config], manifests: dict[str, Manifest]) -> Discovery:
        """Return what a listing means: the same as before when only the inside of code files has changed."""
        paths = tuple(file.path for file in found.files)
        shape = _Shape(paths=paths, problems=found.problems, configs=configs, manifests=manifests)
        # Sizes mean something only where a bundle could be too large.
        root = configs.get(tree.CONFIG)
        apart = f"{root.assets.directory}/" if root is not None and root.assets is not None else "\0"
        small = sum(file.size for file in found.files if not file.path.startswith(apart)) <= tree.MAX_BUNDLE_BYTES
        if self._meaning is None or self._meaning[0] != shape or not small:
            discovery = discover(found, configs, manifests, options=self._options)
            self._meaning = (shape, discovery)
            present = ((function.runtime, function.name) for function in discovery.functions)
            self._loaded = {key: self._loaded[key] for key in present if key in self._loaded}
        discovery = self._meaning[1]
        if not small:
            self._meaning = None
        return discovery

    def _parse_all[T](
        self,
        found: Listing,
        name: str,
        cache: "_Cache[T]",
        parse: Callable[[str, bytes], T],
        problems: list[catalog.Problem],
    ) -> dict[str, T]:
        parsed: dict[str, T] = {}
        for file in found.files:
            if file.path.rpartition("/")[2] != name:
                continue
            try:
                parsed[file.path] = cache.get(file, lambda path: parse(path, self._home.read(path)))
            except FileNotFoundError:
                continue
            except OSError as error:
                problems.append(_unreadable(file.path, error))
        cache.keep(parsed)
        return parsed

    def _load_function(
        self,
        function: FoundFunction,
        files: Mapping[str, File],
        changed: Set[str],
        configs: Mapping[str, Config],
        envs: Mapping[str, EnvFile],
        problems: list[catalog.Problem],
        broken: set[tuple[str, str]],
    ) -> LoadedFunction | None:
        known = self._loaded.pop((function.runtime, function.name), None)
        if known is not None and known[0] == function and _is_same(known[1], changed, configs, envs):
            self._loaded[function.runtime, function.name] = known
            return known[1]
        versions: list[LoadedVersion] = []
        for found in function.versions:
            try:
                seen = {path: self._digests.get(files[path], self._look_at) for path in found.files}
                for path in found.packs:
                    self._digests.get(files[path], self._look_at)  # so that a change of it is seen
                added = growth.grown(found, self._read)
            except OSError as error:
                problems.append(_unreadable(error.filename or found.entrypoint, error))
                broken.add((function.runtime, function.name))
                continue
            parts = [
                (growth.inside(found, path), files[path].executable, seen[path].digest)
                for path in growth.own_files(found, added)
            ]
            if added.manifest:
                parts.append((added.manifest, False, hashlib.sha256(added.text).hexdigest()))
            env = _values(found, envs)
            versions.append(
                LoadedVersion(
                    found=found,
                    bundle=bundles.digest_files(parts),
                    env=env,
                    settings=_settings(found, configs, env),
                    hints=seen.get(found.path, _NOT_SEEN).hints,
                    inference=added.inference,
                )
            )
        if not versions:
            return None
        labels = {version.found.label for version in versions}
        loaded = LoadedFunction(
            runtime=function.runtime,
            name=function.name,
            file_route=function.file_route,
            versions=tuple(versions),
            routes=tuple(route for route in function.routes if route.version in labels),
        )
        if len(versions) == len(function.versions):
            self._loaded[function.runtime, function.name] = (function, loaded)
        return loaded

    def _load_assets(
        self, found: FoundAssets | None, files: Mapping[str, File], problems: list[catalog.Problem]
    ) -> LoadedAssets | None:
        if found is None:
            return None
        loaded: list[AssetFile] = []
        for path in found.paths:
            file = files[path]
            try:
                small = file.size <= self._options.max_asset_bytes
                digest = self._digests.get(file, self._look_at).digest if small else ""
            except OSError as error:
                problems.append(_unreadable(path, error))
                continue
            below = path[len(found.directory) + 1 :]
            loaded.append(AssetFile(path=below, digest=digest, size=file.size, modified=file.mtime_ns // 1_000_000_000))
        return LoadedAssets(
            directory=found.directory,
            files=tuple(loaded),
            single_page=found.single_page,
            functions_first=found.functions_first,
        )

    def _look_at(self, path: str) -> "_Seen":
        try:
            data = self._read(path)
        except OSError as error:
            error.filename = path
            raise
        return _Seen(hashlib.sha256(data).hexdigest(), interfaces.parse_hints(data, python=path.endswith(".py")))

    def _read(self, path: str) -> bytes:
        most = max(tree.MAX_BUNDLE_BYTES, self._options.max_asset_bytes)
        return self._home.read(path, limit=most)


class _Seen(NamedTuple):
    """What is known of a file by its content."""

    digest: str
    hints: catalog.Interface


_NOT_SEEN = _Seen("", catalog.Interface())


class _Cache[T]:
    """What was made of files, kept as long as they do not change."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[File, T]] = {}

    def get(self, file: File, make: Callable[[str], T]) -> T:
        known = self._known.get(file.path)
        if known is not None and known[0] == file:
            return known[1]
        value = make(file.path)
        if file.digest or time.time_ns() - max(file.mtime_ns, file.ctime_ns) > RACY_NS:
            self._known[file.path] = (file, value)
        return value

    def is_known(self, file: File) -> bool:
        """Return whether the file is as it was, and was at rest, when something was made of it."""
        known = self._known.get(file.path)
        return known is not None and known[0] == file

    def keep(self, paths: Iterable[str]) -> None:
        """Forget all files but these."""
        self._known = {path: self._known[path] for path in paths if path in self._known}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """All that the meaning of a folder depends on, besides sizes."""

    paths: tuple[str, ...]
    problems: tuple[catalog.Problem, ...]
    configs: dict[str, Config]
    manifests: dict[str, Manifest]


def _is_same(loaded: LoadedFunction, changed: Set[str], configs: Mapping[str, Config], envs: Mapping[str, EnvFile]) -> bool:
    """Whether neither a file, a config nor a value of a function has changed since it was loaded."""
    return all(
        version.env == _values(version.found, envs)
        and changed.isdisjoint(version.found.files)
        and changed.isdisjoint(version.found.packs)
        and version.settings == _settings(version.found, configs, version.env)
        for version in loaded.versions
    )


def _values(version: FoundVersion, envs: Mapping[str, EnvFile]) -> Mapping[str, EnvValue]:
    env = envs.get(version.env_path or "")
    return env.values if env is not None else {}


def _settings(version: FoundVersion, configs: Mapping[str, Config], env: Mapping[str, EnvValue]) -> str:
    config = configs.get(tree.join(version.folder, tree.CONFIG))
    if config is None and not env:
        return ""
    marks = "".join(f"{name}={env[name].is_secret};" for name in sorted(env))
    return hashlib.sha256(f"{config.digest if config else ''}|{marks}".encode()).hexdigest()


def _snapshot(discovery: Discovery, functions: list[LoadedFunction], problems: list[catalog.Problem]) -> Snapshot:
    found = sorted({*discovery.problems, *problems}, key=lambda problem: (problem.path, problem.message))
    return Snapshot(
        namespace=discovery.namespace, functions=tuple(functions), conflicts=discovery.conflicts, problems=tuple(found)
    )


def _unreadable(path: str, error: OSError) -> catalog.Problem:
    return catalog.Problem(path=path, message=f"cannot be read: {error.strerror or error}")


__all__ = ["EnvValue", "FileSource", "LoadedFunction", "LoadedVersion", "Options", "Snapshot"]
