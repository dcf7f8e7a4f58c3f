"""A functions folder on disk: what a load returns, and that bundles match it."""

import time
from pathlib import Path

import pytest

from libs import errors
from libs.messages import bundles
from libs.testing.wait import eventually
from services.registry.homes.folder import FolderHome
from services.registry.source.files import RACY_NS, FileSource, Options
from services.registry.source.snapshot import LoadedFunction, Snapshot


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


async def at_rest(file: Path) -> None:
    """Wait until a file is old enough for its digest to be kept."""
    await eventually(lambda: time.time_ns() - file.stat().st_ctime_ns > 2 * RACY_NS)


def function(snapshot: Snapshot, name: str) -> LoadedFunction:
    return next(each for each in snapshot.functions if each.name == name)


async def test_load_is_equal_for_an_unchanged_folder(tmp_path: Path) -> None:
    write(tmp_path, {"get.hello.py": "x = 1", "python/f/handler.py": "y", "python/f/fn.env.json": '{"A": 1}'})
    source = FileSource(FolderHome(tmp_path))
    first = await source.load()
    assert [each.name for each in first.functions] == ["f", "get.hello.py"]
    assert await source.load() == first
    assert await FileSource(FolderHome(tmp_path)).load() == first


async def test_load_changes_only_the_digest_of_what_was_saved(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1", "b.py": "1"})
    source = FileSource(FolderHome(tmp_path))
    before = await source.load()
    write(tmp_path, {"a.py": "2"})
    after = await source.load()
    assert function(after, "b.py") == function(before, "b.py")
    assert function(after, "a.py").versions[0].bundle != function(before, "a.py").versions[0].bundle


async def test_load_changes_every_function_that_shares_a_file_with_the_one_that_was_saved(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "1", "b.py": "1", "_lib.py": "1"})
    await at_rest(tmp_path / "_lib.py")
    source = FileSource(FolderHome(tmp_path))
    before = await source.load()
    write(tmp_path, {"_lib.py": "22"})
    await at_rest(tmp_path / "_lib.py")
    after = await source.load()
    for name in ("a.py", "b.py"):
        assert function(after, name).versions[0].bundle != function(before, name).versions[0].bundle
    assert after == await FileSource(FolderHome(tmp_path)).load()


async def test_load_sees_every_one_of_many_quick_saves_of_one_size(tmp_path: Path) -> None:
    source = FileSource(FolderHome(tmp_path))
    digests: set[str] = set()
    for at in range(10):
        write(tmp_path, {"a.py": str(at)})
        digests.add((await source.load()).functions[0].versions[0].bundle)
    assert len(digests) == 10


async def test_bundle_has_the_digest_that_the_load_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"a/x.py": "x", "a/_lib.py": "lib", "node/f/handler.js": "h", "node/f/v2/handler.js": "h2", "node/f/run.sh": "#!"},
    )
    (tmp_path / "node/f/run.sh").chmod(0o755)
    source = FileSource(FolderHome(tmp_path))
    snapshot = await source.load()
    for each in snapshot.functions:
        for version in each.versions:
            assert bundles.bundle_digest(await source.bundle(version.found)) == version.bundle
    default = await source.bundle(function(snapshot, "f").versions[0].found)
    assert [(file.path, file.executable) for file in default.files] == [("handler.js", False), ("run.sh", True)]
    plain = await source.bundle(function(snapshot, "a/x.py").versions[0].found)
    assert [file.path for file in plain.files] == ["a/_lib.py", "a/x.py"]


async def test_bundle_raises_when_a_file_has_gone_since_the_load(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "x"})
    source = FileSource(FolderHome(tmp_path))
    found = (await source.load()).functions[0].versions[0].found
    (tmp_path / "a.py").unlink()
    with pytest.raises(errors.TemporaryError, match=r"a\.py"):
        await source.bundle(found)


async def test_env_is_that_of_the_functions_folder(tmp_path: Path) -> None:
    write(tmp_path, {
        "python/f/handler.py": "x",
        "python/f/fn.env.json": '{"A": 1, "BAD": []}',
        "python/f/v2/handler.py": "x",
        "python/f/v3/handler.py": "x",
        "python/f/v3/fn.env.json": '{"B": true}',
    })  # fmt: skip
    snapshot = await FileSource(FolderHome(tmp_path)).load()
    env = {
        version.found.label: {key: value.text for key, value in version.env.items()}
        for version in function(snapshot, "f").versions
    }
    assert env == {"default": {"A": "1"}, "v2": {"A": "1"}, "v3": {"B": "true"}}
    assert [problem.path for problem in snapshot.problems] == ["python/f/fn.env.json"]


async def test_config_that_is_mended_takes_effect(tmp_path: Path) -> None:
    write(tmp_path, {"f/handler.py": "x", "f/fn.config.json": "{"})
    source = FileSource(FolderHome(tmp_path))
    assert "is not JSON" in (await source.load()).problems[0].message
    write(tmp_path, {"f/fn.config.json": '{"timeout_ms": 5}'})
    snapshot = await source.load()
    assert snapshot.problems == ()
    assert snapshot.functions[0].versions[0].found.policy.timeout_ms == 5


async def test_config_that_is_too_large_is_named_and_the_function_lives(tmp_path: Path) -> None:
    write(tmp_path, {"f/handler.py": "x", "f/fn.config.json": " " * (1024 * 1024 + 1)})
    snapshot = await FileSource(FolderHome(tmp_path)).load()
    assert [each.name for each in snapshot.functions] == ["f/handler.py"]
    assert "larger than" in snapshot.problems[0].message


async def test_load_raises_when_the_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.UnavailableError):
        await FileSource(FolderHome(tmp_path / "nowhere")).load()


async def test_static_files_are_loaded_and_read_anew_when_they_change(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "fn.config.json").write_text('{"assets": {"directory": "public"}}')
    (tmp_path / "public/a.txt").write_text("one")
    (tmp_path / "public/big.txt").write_text("x" * 11)
    source = FileSource(FolderHome(tmp_path), Options(max_asset_bytes=10))
    assets = (await source.load()).assets
    assert assets is not None
    small, big = assets.files
    assert (small.path, small.size, big.path, big.digest) == ("a.txt", 3, "big.txt", "")
    assert await source.asset("public/a.txt", small.digest) == b"one"
    (tmp_path / "public/a.txt").write_text("two!")
    with pytest.raises(errors.TemporaryError, match="has changed"):
        await source.asset("public/a.txt", small.digest)
    again = (await source.load()).assets
    assert again is not None
    assert again.files[0].digest != small.digest
