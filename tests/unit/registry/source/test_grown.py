"""Bundles of functions whose imports tell what they need, and the manifest that is written beside them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from libs.messages import bundles
from libs.messages.catalog import FunctionEntry, Resolution
from services.registry.deploys.manifests import Manifests
from services.registry.functions import catalog
from services.registry.functions.catalog import Built
from services.registry.homes.folder import FolderHome
from services.registry.inference.inferring import Inference
from services.registry.source.files import FileSource, Options
from services.registry.source.snapshot import LoadedVersion, Snapshot
from tests.unit.registry.test_deployments import RING

OPTIONS = Options(infers=frozenset({"python", "node"}))


def write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def version(snapshot: Snapshot, name: str) -> LoadedVersion:
    return next(each for each in snapshot.functions if each.name == name).versions[0]


async def bundled(source: FileSource, name: str) -> dict[str, str]:
    """Return the files of a function's bundle, which has the digest that the load told."""
    found = version(await source.load(), name)
    bundle = await source.bundle(found.found)
    assert bundles.bundle_digest(bundle) == found.bundle
    return {file.path: file.data.decode() for file in bundle.files}


def entries(snapshot: Snapshot, state: str = "ok") -> Mapping[str, FunctionEntry]:
    """Return what is deployed when everything was built as it lies there."""
    built = Built(resolution=Resolution(state=state), layer="layer", layer_mount=".deps")
    return {
        catalog.loaded_id("default", each): catalog.compose(
            each, namespace="default", known=None, sealer=RING, built={one.found.label: built for one in each.versions}
        )
        for each in snapshot.functions
    }


async def test_bundle_has_the_manifest_that_imports_tell(tmp_path: Path) -> None:
    write(tmp_path, {"python/f/handler.py": "import yaml", "api/get.x.js": "import 'ms'", "plain.py": "import os"})
    source = FileSource(FolderHome(tmp_path), OPTIONS)
    assert "PyYAML" in (await bundled(source, "f"))["requirements.txt"]
    assert json.loads((await bundled(source, "api/get.x.js"))["api/package.json"])["dependencies"] == {"ms": "*"}
    assert await bundled(source, "plain.py") == {"plain.py": "import os"}


def written(root: Path) -> dict[str, int]:
    """Return the manifests that lie in a folder, and when each was written."""
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("requirements.txt")}


async def test_imports_are_not_asked_unless_that_is_wanted(tmp_path: Path) -> None:
    write(tmp_path, {"python/f/handler.py": "import yaml"})
    source = FileSource(FolderHome(tmp_path))
    assert await bundled(source, "f") == {"handler.py": "import yaml"}
    assert version(await source.load(), "f").inference is None


async def test_manifest_is_written_once_it_is_installed_and_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"python/f/handler.py": "import yaml", "api/get.x.py": "import yaml", "api/get.y.py": "import requests"})
    source, manifests = FileSource(FolderHome(tmp_path), OPTIONS), Manifests(FolderHome(tmp_path))
    before = await source.load()
    await manifests.keep(before, entries(before, "error"))
    assert not written(tmp_path)
    await manifests.keep(before, entries(before))
    after = await source.load()
    assert version(after, "f").bundle == version(before, "f").bundle
    told = version(after, "f").inference
    assert told is not None
    assert told.is_written
    # File routes share their folder's manifest, which names what any of them needs.
    assert (tmp_path / "api/requirements.txt").read_text().splitlines()[1:] == ["PyYAML", "requests"]
    kept = written(tmp_path)
    await manifests.keep(after, entries(after))
    assert written(tmp_path) == kept


async def test_manifest_that_its_author_wrote_meanwhile_stays(tmp_path: Path) -> None:
    write(tmp_path, {"python/f/handler.py": "import yaml"})
    source = FileSource(FolderHome(tmp_path), OPTIONS)
    before = await source.load()
    write(tmp_path, {"python/f/requirements.txt": "PyYAML==6.0.1\n"})
    await Manifests(FolderHome(tmp_path)).keep(before, entries(before))
    assert (tmp_path / "python/f/requirements.txt").read_text() == "PyYAML==6.0.1\n"
    assert version(await source.load(), "f").inference is None


async def test_manifest_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, {"python/f/handler.py": "import yaml"})
    before = await FileSource(FolderHome(tmp_path), OPTIONS).load()
    (tmp_path / "python/f/requirements.txt").symlink_to("elsewhere.txt")
    manifests = Manifests(FolderHome(tmp_path))
    await manifests.keep(before, entries(before))
    await manifests.keep(before, entries(before))
    assert caplog.text.count("could not be written") == 1


async def test_entry_tells_what_imports_told_and_stays_the_same(tmp_path: Path) -> None:
    write(tmp_path, {"python/f/handler.py": "import yaml"})
    snapshot = await FileSource(FolderHome(tmp_path), OPTIONS).load()
    (entry,) = entries(snapshot).values()
    resolution = entry.versions[0].resolution
    assert (resolution.mode, resolution.imports, resolution.generated) == ("inferred", ("yaml",), True)
    assert resolution.manifest == "requirements.txt"
    (function,) = snapshot.functions
    slow = replace(function.versions[0], inference=_slower(function.versions[0]))
    again = catalog.compose(
        replace(function, versions=(slow,)),
        namespace="default",
        known=entry,
        sealer=RING,
        built={"default": Built(resolution=Resolution(state="ok"), layer="layer", layer_mount=".deps")},
    )
    assert again == entry


def _slower(version: LoadedVersion) -> Inference:
    assert version.inference is not None
    return replace(version.inference, duration_ms=version.inference.duration_ms + 1)
