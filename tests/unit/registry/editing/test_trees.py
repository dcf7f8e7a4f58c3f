"""Files of many functions are written at once, deployed, and told; nothing leads out of the functions."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs import errors
from libs.messages.audit import Actor, AuditList
from libs.messages.functions import FunctionRef, ListPacks
from libs.messages.trees import MAX_FILE_BYTES, MAX_PAGE_BYTES, MAX_TREE_FILES, ChangeTree, ListTree, NewFile, ReadTree
from services.registry.source.listing import MAX_DEPTH
from tests.unit.registry.editing.stand import Registry, running_on

HELLO = NewFile(path="get.hello.py", data=b"def handler(event):\n    return {}\n")
ENV = NewFile(path="python/demo/fn.env.json", data=b'{"A": "1"}')
DEMO = (
    NewFile(path="python/demo/handler.py", data=b"from inner import value as handler\n"),
    NewFile(path="python/demo/inner.py", data=b"value = lambda event: {}\n"),
)


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(params=["folder", "stored"])
async def registry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Registry]:
    """A registry without files, on a folder or its store."""
    async with running_on(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def in_folder(tmp_path: Path) -> AsyncIterator[Registry]:
    """A registry on an empty folder."""
    async with running_on("folder", tmp_path) as made:
        yield made


async def test_files_become_functions_as_in_a_folder(registry: Registry) -> None:
    done = await registry.trees.change(ChangeTree(put=(HELLO, ENV, *DEMO)))
    assert done.changed == ("get.hello.py", "python/demo/fn.env.json", "python/demo/handler.py", "python/demo/inner.py")
    assert set(done.functions) == {
        FunctionRef(runtime="python", name="get.hello.py"),
        FunctionRef(runtime="python", name="demo"),
    }
    assert (done.problems, done.unready) == ((), ())
    assert await registry.beside.text("python/demo/inner.py") == DEMO[1].data.decode()
    assert (await registry.detail(FunctionRef(runtime="python", name="demo"))).entry.name == "demo"


async def test_files_that_are_the_same_are_not_written(registry: Registry) -> None:
    await registry.trees.change(ChangeTree(put=(HELLO, ENV)))
    before = registry.home.scan()
    done = await registry.trees.change(ChangeTree(put=(HELLO, ENV)))
    assert (done.changed, done.functions) == ((), ())
    assert registry.home.scan() == before


async def test_dry_run_says_what_would_change_and_changes_nothing(registry: Registry) -> None:
    await registry.trees.change(ChangeTree(put=(HELLO,)))
    done = await registry.trees.change(ChangeTree(put=DEMO, remove=("get.hello.py", "gone.py"), dry_run=True))
    assert done.changed == ("python/demo/handler.py", "python/demo/inner.py")
    assert done.removed == ("get.hello.py",)
    assert await registry.beside.paths() == ["get.hello.py"]


async def test_listing_has_digests_but_none_of_environment_values(registry: Registry) -> None:
    await registry.trees.change(ChangeTree(put=(HELLO, ENV)))
    found = {file.path: file.digest for file in (await registry.trees.listing(ListTree())).files}
    assert found == {HELLO.path: hashlib.sha256(HELLO.data).hexdigest(), ENV.path: ""}


async def test_listing_names_environment_values(registry: Registry) -> None:
    broken = NewFile(path="python/other/fn.env.json", data=b"{not json")
    await registry.trees.change(ChangeTree(put=(HELLO, ENV, broken)))
    found = {file.path: file.keys for file in (await registry.trees.listing(ListTree())).files}
    assert found == {HELLO.path: (), ENV.path: ("A",), broken.path: ()}


async def test_pages_have_all_that_can_be_written_back_but_no_environment_values(registry: Registry) -> None:
    large = tuple(NewFile(path=f"python/demo/{number}.bin", data=bytes(MAX_PAGE_BYTES // 2)) for number in range(3))
    for each in large:
        await registry.trees.change(ChangeTree(put=(each,)))
    await registry.trees.change(ChangeTree(put=(HELLO, ENV, *DEMO)))
    await registry.beside.save("python/demo/é.txt", "not to be written by the API")
    await registry.beside.save("python/demo/FN.ENV.json", '{"B": "2"}')
    await registry.beside.save("python/demo/huge.bin", "x" * (MAX_FILE_BYTES + 1))
    first = await registry.trees.page(ReadTree())
    assert first.has_more
    second = await registry.trees.page(ReadTree(after=first.files[-1].path))
    assert not second.has_more
    assert {*first.files, *second.files} == {HELLO, *DEMO, *large}
    assert len(first.files) + len(second.files) == 6


async def test_change_is_on_record_as_that_of_whoever_made_it(registry: Registry) -> None:
    await registry.trees.change(ChangeTree(put=DEMO, actor=Actor(principal="ada", ip="127.0.0.1")))
    await registry.audit.flush()
    records = (await registry.audit.page(AuditList(), max_bytes=1_000_000)).records
    assert {record.actor.principal for record in records} == {"ada"}


async def test_removed_file_takes_its_function_along(registry: Registry) -> None:
    await registry.trees.change(ChangeTree(put=(HELLO,)))
    assert (await registry.trees.change(ChangeTree(remove=(HELLO.path,)))).removed == (HELLO.path,)
    with pytest.raises(errors.NotFoundError):
        await registry.detail(FunctionRef(runtime="python", name="get.hello.py"))


async def test_config_that_is_broken_is_told(registry: Registry) -> None:
    broken = NewFile(path="python/demo/fn.config.json", data=b"{not json")
    done = await registry.trees.change(ChangeTree(put=(*DEMO, broken)))
    assert [problem.path for problem in done.problems] == [broken.path]


@pytest.mark.parametrize(
    "path",
    [
        "../x.py",
        "/etc/x.py",
        "a/../x.py",
        "a//x.py",
        "",
        ".hidden/x.py",
        "a/.env",
        "x.py~",
        "a/node_modules/x.js",
        "a\0b",
        "a\\b",
        ".fastfn/packs/python/http/other.txt",
        ".fastfn/packs/python/../requirements.txt",
        ".fastfn/packs/python/.http/requirements.txt",
        ".fastfn/x.py",
    ],
)
async def test_path_that_is_none_is_refused_before_anything_is_written(registry: Registry, path: str) -> None:
    with pytest.raises(errors.PermanentError, match="invalid path"):
        await registry.trees.change(ChangeTree(put=(HELLO, NewFile(path=path, data=b""))))
    with pytest.raises(errors.PermanentError, match="invalid path"):
        await registry.trees.change(ChangeTree(remove=(path,)))
    assert await registry.beside.paths() == []


async def test_link_that_leads_out_is_not_followed(
    in_folder: Registry, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (tmp_path / "out").symlink_to(elsewhere)
    with pytest.raises(errors.PermanentError):
        await in_folder.trees.change(ChangeTree(put=(NewFile(path="out/x.py", data=b""),)))
    assert below(elsewhere) == []


async def test_file_that_is_too_large_is_refused(registry: Registry) -> None:
    with pytest.raises(errors.PermanentError, match="bytes"):
        await registry.trees.change(ChangeTree(put=(NewFile(path="big.bin", data=b"x" * (MAX_FILE_BYTES + 1)),)))


async def test_too_many_files_for_one_change_are_refused_before_anything_is_written(registry: Registry) -> None:
    many = tuple(NewFile(path=f"f/{number}.py", data=b"") for number in range(MAX_TREE_FILES))
    with pytest.raises(errors.PermanentError, match=f"a change may name {MAX_TREE_FILES} files"):
        await registry.trees.change(ChangeTree(put=many, remove=("one.py",)))
    assert await registry.beside.paths() == []


async def test_packs_are_files_like_others(registry: Registry) -> None:
    pack = NewFile(path=".fastfn/packs/python/http/requirements.txt", data=b"requests\n")
    assert (await registry.trees.change(ChangeTree(put=(HELLO, pack)))).changed == (HELLO.path, pack.path)
    assert [file.path for file in (await registry.trees.listing(ListTree())).files] == [pack.path, HELLO.path]
    assert (await registry.trees.page(ReadTree())).files == (pack, HELLO)
    assert [each.name for each in (await registry.editor.packs(ListPacks())).packs] == ["http"]
    await registry.trees.change(ChangeTree(remove=(pack.path,)))
    assert (await registry.editor.packs(ListPacks())).packs == ()


async def test_path_too_deep_to_be_found_again_is_refused(registry: Registry) -> None:
    deep = "/".join("d" * MAX_DEPTH)
    with pytest.raises(errors.PermanentError, match="32 folders deep"):
        await registry.trees.change(ChangeTree(put=(NewFile(path=f"{deep}/x.py", data=b""),)))
    seen = NewFile(path=f"{deep[2:]}/x.py", data=b"")
    await registry.trees.change(ChangeTree(put=(seen,)))
    assert await registry.beside.paths() == [seen.path]


@pytest.mark.parametrize(
    "paths",
    [("a/b.py", "a"), ("a", "a/b.py"), ("get.hello.py/x.py",), ("python",), ("python/demo",), ("python/demo/handler.py/x",)],
)
async def test_file_that_would_be_a_folder_as_well_is_refused_before_anything_is_written(
    registry: Registry, paths: tuple[str, ...]
) -> None:
    await registry.trees.change(ChangeTree(put=(HELLO, *DEMO)))
    before = await registry.trees.listing(ListTree())
    with pytest.raises(errors.PermanentError, match="cannot be a file and a folder"):
        await registry.trees.change(ChangeTree(put=tuple(NewFile(path=path, data=b"x") for path in ("new.txt", *paths))))
    assert await registry.trees.listing(ListTree()) == before
