"""What has to be built for a function on its way into the catalogue: decided for each version, and asked for.

A version whose code is stored already keeps what was built for it. Any other is looked at: code that needs nothing is done,
other code is put where executors find it, and they are asked. Until they have answered the version is pending.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from libs.messages.catalog import Bundle, FunctionEntry, Problem, Resolution, VersionEntry
from services.registry.deploys.dependencies import Asker, Dependencies, Subject, may_need
from services.registry.deploys.projection import Projection
from services.registry.functions import catalog, documents, steering
from services.registry.functions.catalog import NOTHING_BUILT, Built
from services.registry.functions.store import digests
from services.registry.inference.inferring import Inference
from services.registry.source.snapshot import LoadedFunction, LoadedVersion

_PENDING = Built(resolution=Resolution(state="pending"))
_TOLD_LINES = 6


class Building:
    """Has built what versions need."""

    def __init__(self, *, dependencies: Dependencies, projection: Projection, strict: bool = True) -> None:
        """Ask by `dependencies`, and have the code in the object store by `projection`.

        Args:
            dependencies: knows executors.
            projection: puts code where they find it.
            strict: whether a version with an import of which nobody knows the package is not built.
        """
        self._strict = strict
        self._dependencies = dependencies
        self._projection = projection
        self._wanted: set[Subject] = set()
        """What the present round has asked for."""
        self._offered: set[str] = set()
        self._unproven: dict[Subject, Asker] | None = None
        """Layers of stored versions that executors have not confirmed yet; None: nobody has looked which there are."""
        self._renewed: dict[Subject, Built] = {}
        """What executors have made instead of such layers."""

    async def run(self, on_news: Callable[[], None]) -> None:
        """Ask executors for ever; call `on_news` when there is something to look at."""
        await self._dependencies.run(on_news)

    def distrust(self) -> None:
        """The layer store may have lost what it held: have executors look, and build again what is missing."""
        self._unproven = None

    async def of(
        self, function: LoadedFunction, *, namespace: str, known: FunctionEntry | None, code: Mapping[str, Bundle]
    ) -> Mapping[str, Built]:
        """Return what is built for a function's versions, by label; what is not known is asked for.

        Args:
            function: as it was loaded.
            namespace: where it belongs.
            known: what is stored.
            code: bundles that may not be stored yet, by digest.

        Raises:
            errors.TemporaryError: the bus cannot be reached.
        """
        before = steering.given(known)
        found: dict[str, Built] = {}
        for version in function.versions:
            label = version.found.label
            asker = Asker(namespace=namespace, function=function.name, version=label)
            found[label] = await self._of_version(function.runtime, version, before.get(label), asker, code)
        return found

    def outdated(self, entries: Mapping[str, FunctionEntry]) -> list[str]:
        """Return the ids of functions whose layer executors would make another way now: their language is a newer one."""
        if self._unproven is None:
            self._unproven = {
                _subject(entry.runtime, version): Asker(namespace=entry.namespace, function=entry.name, version=version.label)
                for entry, version in _with_layers(entries.values())
            }
        outdated: list[str] = []
        if not self._unproven:
            return outdated
        for entry, version in _with_layers(entries.values()):
            subject = _subject(entry.runtime, version)
            asker = self._unproven.get(subject)
            if asker is None:
                continue
            self._wanted.add(subject)
            reply = self._dependencies.outcome(subject, asker)
            if reply is None:
                continue
            if reply.resolution.state == "ok" and reply.layer != version.layer:
                self._renewed[subject] = Built(resolution=reply.resolution, layer=reply.layer, layer_mount=reply.layer_mount)
                outdated.append(documents.id_of(entry))
            else:
                self._unproven.pop(subject)
        return outdated

    def doubt(self, entry: FunctionEntry) -> None:
        """Have executors look whether the layers of a function's versions are still there: an old one was put to use again."""
        if self._unproven is not None:
            for _, version in _with_layers([entry]):
                asker = Asker(namespace=entry.namespace, function=entry.name, version=version.label)
                self._unproven[_subject(entry.runtime, version)] = asker

    def renewed(self, entry: FunctionEntry) -> FunctionEntry:
        """Return the entry with what executors have made anew for versions that its source does not give (pins, aliases)."""
        pinned = {pin.held.label for pin in entry.pins}
        if not self._renewed or not (pinned or entry.kept):
            return entry

        def version_now(version: VersionEntry) -> VersionEntry:
            built = self._renewed.get(_subject(entry.runtime, version))
            return (
                version if built is None or built.layer == version.layer else catalog.with_built(entry.runtime, version, built)
            )

        return replace(
            entry,
            versions=tuple(version_now(each) if each.label in pinned else each for each in entry.versions),
            kept=tuple(map(version_now, entry.kept)),
        )

    async def settle(self, entries: Mapping[str, FunctionEntry]) -> None:
        """End a round: forget what it has not asked for, and take back code that is not wanted any more.

        Raises:
            errors.TemporaryError: the bus cannot be reached.
        """
        wanted, self._wanted = self._wanted, set()
        self._dependencies.forget_all_but(wanted)
        needed = {subject.bundle for subject in wanted}
        stale = self._offered - needed
        if stale:
            in_use = digests(entries.values())
            for digest in stale:
                if digest not in in_use:
                    await self._projection.withdraw(digest)
            self._offered -= stale

    async def _of_version(
        self, runtime: str, version: LoadedVersion, before: VersionEntry | None, asker: Asker, code: Mapping[str, Bundle]
    ) -> Built:
        if self._strict and version.inference is not None and version.inference.unresolved:
            return _unresolved(version.inference)
        subject = Subject(runtime, version.bundle, version.found.entrypoint)
        if before is not None and catalog.has_code(before, version) and catalog.can_run(before):
            if self._unproven is None or subject not in self._unproven:
                return _stored(before)
            reply = self._dependencies.outcome(subject, asker)
            if reply is None or reply.resolution.state != "ok":
                return _stored(before)
            self._unproven.pop(subject)
            return Built(resolution=reply.resolution, layer=reply.layer, layer_mount=reply.layer_mount)
        bundle = code.get(version.bundle)
        if bundle is not None:
            if not may_need(runtime, version.found.entrypoint, bundle):
                return NOTHING_BUILT
            self._offered.add(version.bundle)
            await self._projection.offer(version.bundle, bundle)
        self._wanted.add(subject)
        reply = self._dependencies.outcome(subject, asker)
        if reply is not None:
            return Built(resolution=reply.resolution, layer=reply.layer, layer_mount=reply.layer_mount)
        return _stored(before) if before is not None and catalog.has_code(before, version) else _PENDING


def build_fault(version: LoadedVersion, built: Mapping[str, Built]) -> Problem | None:
    """Return what is to be said of a version whose build has failed; None of any other."""
    resolution = built.get(version.found.label, NOTHING_BUILT).resolution
    if resolution.state != "error":
        return None
    root, name = version.found.root, resolution.manifest or version.found.entrypoint
    last = "\n".join(resolution.message.splitlines()[-_TOLD_LINES:])
    tool = f" ({resolution.tool})" if resolution.tool else ""
    return Problem(path=f"{root}/{name}" if root else name, message=f"dependencies could not be installed{tool}: {last}")


def _unresolved(inference: Inference) -> Built:
    """Return that imports do not tell what a version needs."""
    names, manifest = ", ".join(inference.unresolved), inference.manifest
    message = f"unresolved imports: {names}: name their packages in {manifest}, or set FN_AUTO_INFER_STRICT=0"
    return Built(resolution=Resolution(state="error", manifest=manifest, message=message))


def _stored(version: VersionEntry) -> Built:
    return Built(resolution=version.resolution, layer=version.layer, layer_mount=version.layer_mount)


def _subject(runtime: str, version: VersionEntry) -> Subject:
    return Subject(runtime, version.bundle, version.entrypoint)


def _with_layers(entries: Iterable[FunctionEntry]) -> list[tuple[FunctionEntry, VersionEntry]]:
    return [(entry, version) for entry in entries for version in entry.runnable if version.layer]
