"""The rules of the catalogue, without I/O: from what a folder holds and what is stored to what is to be written.

Composing is stable: what is stored already comes out as it is, sealed environment included, so a second run, or a second
registry on the same folder and store, finds nothing to do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import orjson

from libs import errors
from libs.messages import contexts
from libs.messages.catalog import CatalogMeta, FunctionEntry, Policy, Problem, Resolution, VersionEntry
from libs.messages.web import Assets, Home
from services.registry.functions import steering
from services.registry.functions.documents import function_id
from services.registry.inference.inferring import Inference
from services.registry.secrets import sealing
from services.registry.secrets.sealing import Sealer
from services.registry.source import interfaces
from services.registry.source.environment import EnvValue
from services.registry.source.home import FOLDER
from services.registry.source.snapshot import LoadedFunction, LoadedVersion, Snapshot

UNBUILT = frozenset({"pending", "error"})
"""States of dependencies in which a version cannot run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What was built for a version, or why it was not."""

    resolution: Resolution = Resolution()  # noqa: RUF009  a frozen record
    layer: str = ""
    layer_mount: str = ""


NOTHING_BUILT = Built()


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What has to be done to make the store what the folder is."""

    deploy: tuple[LoadedFunction, ...]
    """Functions that are new, or not what is stored."""
    remove: tuple[FunctionEntry, ...]
    """Stored functions that have left the folder."""


def loaded_id(namespace: str, function: LoadedFunction) -> str:
    """Return the id of the document of a function that was loaded."""
    return function_id(namespace=namespace, runtime=function.runtime, name=function.name)


def compose(
    function: LoadedFunction,
    *,
    namespace: str,
    known: FunctionEntry | None,
    sealer: Sealer,
    built: Mapping[str, Built] | None = None,
    origin: str = FOLDER,
) -> FunctionEntry:
    """Return the entry of a function as it was loaded; equal to `known` when nothing has changed.

    A version that cannot run yet, or not at all, does not replace one that can: that one stays as it is. Pins and aliases
    stay, as `steering` says.

    Args:
        function: what lies in the folder.
        namespace: where it belongs.
        known: what is stored, if anything; its revision is kept.
        sealer: for environment values that are new.
        built: what was built for its versions, by label; nothing for those that are not named.
        origin: where it comes from.
    """
    before = steering.given(known)
    fresh = FunctionEntry(
        namespace=namespace,
        runtime=function.runtime,
        name=function.name,
        revision=known.revision if known else 0,
        source=origin,
        versions=tuple(
            _version(
                version,
                runtime=function.runtime,
                seal_for=partial(_env_context, namespace, function),
                before=before.get(version.found.label),
                sealer=sealer,
                built=(built or {}).get(version.found.label, NOTHING_BUILT),
            )
            for version in function.versions
        ),
        routes=function.routes,
        file_route=function.file_route,
    )
    return steering.steered(fresh, known)


def differences(
    snapshot: Snapshot, *, stored: Mapping[str, FunctionEntry], applied: Mapping[str, tuple[LoadedFunction, FunctionEntry]]
) -> Differences:
    """Compare a folder with what is stored. What could not be read in full changes and removes nothing that is stored.

    Args:
        snapshot: what the folder holds.
        stored: all entries of the store, by id.
        applied: what this process knows to be the same: a loaded function and the entry it became, by id.
    """
    deploy: list[LoadedFunction] = []
    present: set[str] = set()
    for function in snapshot.functions:
        identity = loaded_id(snapshot.namespace, function)
        present.add(identity)
        same = applied.get(identity)
        if same is not None and same[0] == function and same[1] == stored.get(identity):
            continue
        if identity not in stored or not _is_incomplete(snapshot, function.runtime, function.name):
            deploy.append(function)
    gone = (
        entry
        for identity, entry in stored.items()
        if entry.source == snapshot.origin
        and entry.namespace == snapshot.namespace
        and identity not in present
        and not _may_be_there(snapshot, entry.runtime, entry.name)
    )
    return Differences(deploy=tuple(deploy), remove=tuple(gone))


def _is_incomplete(snapshot: Snapshot, runtime: str, name: str) -> bool:
    """Whether a part of a function could not be read."""
    return (runtime, name) in snapshot.broken or any(
        _is_within(unread, place) for unread in snapshot.unread for place in _places(runtime, name)
    )


def _may_be_there(snapshot: Snapshot, runtime: str, name: str) -> bool:
    """Whether a function may lie where something could not be read."""
    return _is_incomplete(snapshot, runtime, name) or any(
        _is_within(place, unread) for unread in snapshot.unread for place in _places(runtime, name)
    )


def _places(runtime: str, name: str) -> tuple[str, str]:
    """Return where a function may lie: a file route's name is its path, a function directory's is below its runtime or not."""
    return (name, f"{runtime}/{name}")


def _is_within(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


def meta(
    *,
    known: CatalogMeta | None,
    functions: int,
    functions_root: str,
    conflicts: tuple[str, ...],
    problems: tuple[Problem, ...],
    defaults: Policy,
    now: datetime,
    homes: tuple[Home, ...] = (),
    assets: Assets | None = None,
) -> CatalogMeta:
    """Return what concerns all functions; `known` itself when it says the same already."""
    fresh = CatalogMeta(
        generated_at=now,
        functions_root=functions_root,
        functions=functions,
        conflicts=conflicts,
        problems=problems,
        defaults=defaults,
        homes=homes,
        assets=assets,
    )
    if known is not None and replace(fresh, generated_at=known.generated_at) == known:
        return known
    return fresh


def has_code(stored: VersionEntry | None, version: LoadedVersion) -> bool:
    """Return whether what is stored of a version is the code that was loaded."""
    return stored is not None and (stored.bundle, stored.entrypoint) == (version.bundle, version.found.entrypoint)


def can_run(stored: VersionEntry | None) -> bool:
    """Return whether there is a version whose dependencies are there, or that needs none."""
    return stored is not None and stored.resolution.state not in UNBUILT


def with_built(runtime: str, version: VersionEntry, built: Built) -> VersionEntry:
    """Return a version with something else that was built for it: another digest, for a worker holds something else."""
    before = version.resolution
    told = replace(
        built.resolution,
        mode=before.mode,
        imports=before.imports,
        unresolved=before.unresolved,
        generated=before.generated,
        infer_ms=before.infer_ms,
    )
    other = replace(version, layer=built.layer, layer_mount=built.layer_mount, resolution=told)
    return replace(other, digest=sealing.plain_digest(runtime, other))


def _version(
    version: LoadedVersion,
    *,
    runtime: str,
    seal_for: Callable[[str], str],
    before: VersionEntry | None,
    sealer: Sealer,
    built: Built,
) -> VersionEntry:
    found = version.found
    if before is not None and built.resolution.state in UNBUILT and can_run(before):
        return before
    if before is not None and has_code(before, version) and _is_same_outcome(before, built):
        # As it was told first: two registries that ask for the same build do not argue about how long it took.
        built = replace(built, resolution=before.resolution)
    sealed = _sealed(version.env, context=seal_for(found.label), before=before.env_sealed if before else b"", sealer=sealer)
    composed = VersionEntry(
        label=found.label,
        digest="",
        bundle=version.bundle,
        entrypoint=found.entrypoint,
        handler=found.handler,
        handler_style=found.handler_style,
        env_sealed=sealed,
        secret_env=tuple(sorted(name for name, value in version.env.items() if value.is_secret)),
        secret_names=found.secrets,
        policy=found.policy,
        schedule=found.schedule,
        limits=found.limits,
        permissions=found.permissions,
        settings=version.settings,
        layer=built.layer,
        layer_mount=built.layer_mount,
        resolution=_inferred(built.resolution, version.inference),
        interface=interfaces.over(found.interface, version.hints),
    )
    return replace(composed, digest=sealing.plain_digest(runtime, composed))


def _env_context(namespace: str, function: LoadedFunction, label: str) -> str:
    return contexts.of_env(namespace=namespace, runtime=function.runtime, name=function.name, label=label)


def _inferred(resolution: Resolution, inference: Inference | None) -> Resolution:
    """Return what came of a version's dependencies with what its imports have told."""
    if inference is None:
        return replace(resolution, mode="manifest", imports=(), unresolved=(), generated=False, infer_ms=0)
    known = (resolution.mode, resolution.imports) == ("inferred", inference.imports)
    return replace(
        resolution,
        mode="inferred",
        manifest=resolution.manifest or (inference.manifest if inference.text else ""),
        imports=inference.imports,
        unresolved=inference.unresolved,
        generated=bool(inference.text),
        # As it was told first, for it differs each time.
        infer_ms=resolution.infer_ms if known else inference.duration_ms,
    )


def _is_same_outcome(before: VersionEntry, built: Built) -> bool:
    return (before.resolution.state, before.layer, before.layer_mount) == (
        built.resolution.state,
        built.layer,
        built.layer_mount,
    )


def _sealed(env: Mapping[str, EnvValue], *, context: str, before: bytes, sealer: Sealer) -> bytes:
    """Return the values sealed: the bytes of before when those still open to the same values."""
    if not env:
        return b""
    plaintext = orjson.dumps({name: value.text for name, value in env.items()}, option=orjson.OPT_SORT_KEYS)
    if before:
        try:
            if sealer.open(before, context=context) == plaintext:
                return before
        except errors.FnbusError:
            pass  # sealed by a key that has been taken away: seal anew
    return sealer.seal(plaintext, context=context)
