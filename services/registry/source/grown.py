"""What a version is deployed with besides its files: its manifest, with what its packs name and its imports need. Pure.

A bundle has this in place of the manifest that lies in the folder, if there is one. Where nothing is added the files are the
bundle.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.registry.inference import inferring
from services.registry.inference.inferring import Code, Inference
from services.registry.source import packs, tree
from services.registry.source.found import FoundVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A manifest with what was added to it."""

    manifest: str = ""
    """Its path in the bundle; empty: nothing was added."""
    text: bytes = b""
    inference: Inference | None = None
    """What imports told; None where nobody asked them."""


NOT_GROWN = Grown()


def grown(version: FoundVersion, read: Callable[[str], bytes]) -> Grown:
    """Return what is added to a version's manifest.

    Args:
        version: as it was found.
        read: returns the content of a file, by its path in the functions root.

    Raises:
        OSError: what `read` raises.
    """
    if not version.packs and not version.infers:
        return NOT_GROWN
    files = {inside(version, path): path for path in version.files}
    shared = [read(path) for path in version.packs]
    found = None
    if version.infers:
        home = "" if version.root else version.folder
        code = Code(
            runtime=version.infers,
            entrypoint=version.entrypoint,
            files=files.keys(),
            read=lambda name: read(files[name]),
            home=home,
        )
        found = inferring.infer(code, shared)
    if not version.packs:
        if found is None or found.is_written:
            return Grown(inference=found)
        return Grown(manifest=found.manifest, text=found.text, inference=found)
    manifest = packs.manifest_of(version.packs[0], version.entrypoint, files.keys())
    own = read(files[manifest]) if manifest in files else None
    if found is not None and found.text:
        own = found.text
    return Grown(manifest=manifest, text=packs.merged(manifest, own, shared), inference=found)


def own_files(version: FoundVersion, added: Grown) -> Iterable[str]:
    """Return the files that are in a version's bundle as they are."""
    if not added.manifest:
        return version.files
    return [path for path in version.files if not packs.is_overruled(inside(version, path), added.manifest)]


def inside(version: FoundVersion, path: str) -> str:
    """Return a file's path inside the bundle of a version."""
    return path[len(version.root) + 1 :] if version.root else path


def outside(version: FoundVersion, path: str) -> str:
    """Return where in the functions root a file of a bundle lies."""
    return tree.join(version.root, path)
