"""Packs of dependencies that functions share: what a version's manifest is with theirs, and who notices a change."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from libs.messages import bundles
from services.registry.homes.folder import FolderHome
from services.registry.source import packs
from services.registry.source.files import FileSource

PACKS = ".fastfn/packs"


def write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def sharing(*names: str) -> str:
    return json.dumps({"shared_deps": names})


async def bundled(source: FileSource, name: str) -> dict[str, str]:
    """Return the files of a function's bundle, which has the digest that the load told."""
    version = next(each for each in (await source.load()).functions if each.name == name).versions[0]
    bundle = await source.bundle(version.found)
    assert bundles.bundle_digest(bundle) == version.bundle
    return {file.path: file.data.decode() for file in bundle.files}


def test_merged_requirements_are_the_lines_of_all() -> None:
    assert packs.merged("requirements.txt", b"a==1", [b"\xef\xbb\xbfb==2\n\n", b"c"]) == b"a==1\nb==2\nc\n"
    assert packs.merged("requirements.txt", None, [b"b==2\n"]) == b"b==2\n"


def test_merged_package_has_the_dependencies_of_all_and_the_functions_own_win() -> None:
    own = b'{"type": "module", "dependencies": {"a": "1"}, "optionalDependencies": {"o": "1"}}'
    shared = [b'{"name": "x", "dependencies": {"a": "2", "b": "2", "o": "2"}}', b'{"dependencies": {"b": "3", "c": "3"}}']
    assert json.loads(packs.merged("package.json", own, shared)) == {
        "type": "module",
        "dependencies": {"a": "1", "b": "2", "c": "3"},
        "optionalDependencies": {"o": "1"},
    }
    assert json.loads(packs.merged("package.json", None, shared[1:])) == {"dependencies": {"b": "3", "c": "3"}}


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"dependencies": ["a"]}', b'{"a":' * 300 + b"1" + b"}" * 300])
def test_merged_package_is_the_one_that_cannot_be_read(text: bytes) -> None:
    fine = b'{"dependencies": {"a": "1"}}'
    assert packs.merged("package.json", fine, [text]) == text
    assert packs.merged("package.json", text, [fine]) == text


async def test_bundle_of_a_python_function_names_what_its_packs_name_in_their_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            f"{PACKS}/python/one/requirements.txt": "one==1\n",
            f"{PACKS}/python/two/requirements.txt": "two==2\n",
            f"{PACKS}/node/three/package.json": "{}",
            "python/f/handler.py": "",
            "python/f/requirements.txt": "own==1\n",
            "python/f/fn.config.json": sharing("two", "gone", "one", "three"),
            "python/g/handler.py": "",
            "python/g/fn.config.json": sharing("one"),
            "python/h/handler.py": "",
        },
    )
    source = FileSource(FolderHome(tmp_path))
    assert await bundled(source, "f") == {"handler.py": "", "requirements.txt": "own==1\ntwo==2\none==1\n"}
    assert await bundled(source, "g") == {"handler.py": "", "requirements.txt": "one==1\n"}
    assert await bundled(source, "h") == {"handler.py": ""}
    assert (await source.load()).problems == ()


async def test_bundle_of_a_node_function_has_one_package_and_no_lock_that_does_not_fit_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            f"{PACKS}/node/one/package.json": '{"dependencies": {"a": "1"}}',
            "node/f/handler.js": "",
            "node/f/package-lock.json": "{}",
            "node/f/package.json": '{"dependencies": {"b": "1"}}',
            "node/f/fn.config.json": sharing("one"),
        },
    )
    found = await bundled(FileSource(FolderHome(tmp_path)), "f")
    assert sorted(found) == ["handler.js", "package.json"]
    assert json.loads(found["package.json"]) == {"dependencies": {"a": "1", "b": "1"}}


async def test_pack_that_comes_changes_or_goes_changes_those_that_share_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"python/f/handler.py": "", "python/f/fn.config.json": sharing("one"), "python/g/handler.py": "g"},
    )
    source = FileSource(FolderHome(tmp_path))
    first = await source.load()
    plain = await bundled(source, "f")
    for text in ("one==1\n", "one==2\n"):
        write(tmp_path, {f"{PACKS}/python/one/requirements.txt": text})
        assert (await bundled(source, "f"))["requirements.txt"] == text
    other = next(each for each in (await source.load()).functions if each.name == "g")
    assert other == next(each for each in first.functions if each.name == "g")
    (tmp_path / PACKS / "python/one/requirements.txt").unlink()
    assert await bundled(source, "f") == plain
    assert await source.load() == first


async def test_packs_beside_a_folder_of_one_language_are_found_and_its_own_come_first(tmp_path: Path) -> None:
    root = tmp_path / "python"
    write(
        tmp_path,
        {
            f"{PACKS}/python/one/requirements.txt": "outer==1\n",
            f"{PACKS}/python/two/requirements.txt": "outer==2\n",
            f"python/{PACKS}/python/two/requirements.txt": "inner==2\n",
            "python/f/handler.py": "",
            "python/f/fn.config.json": '{"runtime": "python", "shared_deps": ["one", "two"]}',
        },
    )
    found = await bundled(FileSource(FolderHome(root)), "f")
    assert found["requirements.txt"] == "outer==1\ninner==2\n"
    other = tmp_path / "other"
    root.rename(other)
    assert (await bundled(FileSource(FolderHome(other)), "f"))["requirements.txt"] == "inner==2\n"


async def test_packs_are_of_no_function_even_when_that_is_the_whole_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            f"{PACKS}/python/one/requirements.txt": "one==1\n",
            "handler.py": "",
            "fn.config.json": '{"name": "whole", "runtime": "python"}',
        },
    )
    assert await bundled(FileSource(FolderHome(tmp_path)), "whole") == {"handler.py": ""}


async def test_pack_that_leads_out_of_the_folder_or_is_a_link_to_a_file_is_none(tmp_path: Path) -> None:
    root = tmp_path / "functions"
    write(
        tmp_path,
        {
            "outside/one/requirements.txt": "secret\n",
            "functions/python/f/handler.py": "",
            "functions/python/f/fn.config.json": sharing("one"),
            "functions/node/g/handler.js": "",
            "functions/node/g/fn.config.json": sharing("two"),
            "functions/node/g/fn.env.json": '{"A": "value"}',
        },
    )
    (root / PACKS / "node/two").mkdir(parents=True)
    (root / PACKS / "node/two/package.json").symlink_to(root / "node/g/fn.env.json")
    (root / PACKS / "python").symlink_to(tmp_path / "outside")
    source = FileSource(FolderHome(root))
    assert await bundled(source, "f") == {"handler.py": ""}
    assert await bundled(source, "g") == {"handler.js": ""}
