"""Everything about a version that its files say, gathered for whoever asked."""

from libs import errors
from libs.messages.catalog import FunctionEntry
from libs.messages.functions import MAX_CODE_BYTES, FunctionDetail
from libs.messages.trees import PACKS
from services.registry.editing import environments, jsons, packs, places
from services.registry.editing.places import Place
from services.registry.source import tree
from services.registry.source.files import FileSource
from services.registry.source.home import Home
from services.registry.source.snapshot import Snapshot

_MAX_MANIFEST_BYTES = 64 * 1024


class Details:
    """Reads what a function's files say."""

    def __init__(self, *, home: Home, source: FileSource) -> None:
        """Read files from `home`, which `source` has listed."""
        self._home = home
        self._source = source

    async def of(self, place: Place, *, entry: FunctionEntry, snapshot: Snapshot, code: bool) -> FunctionDetail:
        """Return everything about a version.

        Args:
            place: where it lies.
            entry: the function as it is stored.
            snapshot: everything that is there.
            code: whether the handler's text is wanted.

        Raises:
            errors.FnbusError: its files cannot be read.
        """
        listed = self._source.files
        text, truncated = "", False
        if code:
            text, truncated = await self._text(place.handler, limit=MAX_CODE_BYTES)
        shared = packs.shared(await self.config(place))
        return FunctionDetail(
            entry=entry,
            version=place.label,
            function_dir=self._shown(place.folder),
            file_path=self._shown(place.handler),
            config_path=self._shown(place.config),
            config=await self._bytes(place.config) or b"{}",
            env=environments.shown(place.version.env),
            has_env=place.version.found.env_path is not None,
            code=text,
            code_truncated=truncated,
            manifest=await self._manifest(place),
            files=places.files(snapshot, place, listed),
            packs_root=self._shown(f"{PACKS}/{place.function.runtime}"),
            missing_packs=packs.missing(shared, runtime=place.function.runtime, listed=listed),
        )

    async def config(self, place: Place) -> jsons.Fields:
        """Return a version's own config; an empty one when there is none, or none that can be read."""
        try:
            return jsons.parse(await self._bytes(place.config), what=tree.CONFIG)
        except errors.PermanentError:
            return {}

    async def _manifest(self, place: Place) -> str:
        for name in places.MANIFESTS.get(place.function.runtime, ()):
            path = tree.join(place.folder, name)
            if path in self._source.files:
                return (await self._text(path, limit=_MAX_MANIFEST_BYTES))[0]
        return ""

    async def _text(self, path: str, *, limit: int) -> tuple[str, bool]:
        """Return a file's text, and whether some of it is missing."""
        data = await self._bytes(path, limit=tree.MAX_BUNDLE_BYTES)
        return data[:limit].decode(errors="replace"), len(data) > limit

    async def _bytes(self, path: str, *, limit: int = 1024 * 1024) -> bytes:
        if path not in self._source.files:
            return b""
        try:
            return await self._home.fetch(path, limit=limit)
        except OSError as error:
            raise errors.TemporaryError(f"{path} cannot be read: {error.strerror or error}") from error

    def _shown(self, path: str) -> str:
        return f"{self._home.place}/{path}" if self._home.place else path
