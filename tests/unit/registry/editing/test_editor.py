"""Functions are made, read, changed and removed as files; whoever comes second is told, and nothing is left half done."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from libs import errors
from libs.messages.audit import Actor, AuditList
from libs.messages.functions import MAX_CODE_BYTES, ChangeKind, FunctionRef, GetFile, ListPacks
from services.registry.homes.folder import FolderHome
from tests.unit.registry.editing.stand import DEMO, Registry, running, running_on

V2 = FunctionRef(runtime="python", name="demo", version="v2")


@pytest.fixture(params=["folder", "stored"])
async def registry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Registry]:
    """A registry without files, on a folder or its store."""
    async with running_on(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def demo(registry: Registry) -> Registry:
    """A registry with one function."""
    await registry.change(ChangeKind.CREATE, {"summary": "Demo"})
    return registry


async def refused(registry: Registry, kind: ChangeKind, body: object = b"", **more: Any) -> str:
    with pytest.raises(errors.PermanentError) as caught:
        await registry.change(kind, body, **more)
    return str(caught.value)


async def test_new_function_is_deployed_with_a_handler_and_a_config(registry: Registry) -> None:
    made = await registry.change(ChangeKind.CREATE, {"summary": "Demo"})
    assert made.detail is not None
    assert (made.revision, made.detail.entry.name, made.detail.entry.source) == (1, "demo", registry.home.origin)
    assert made.detail.function_dir == registry.shown("python/demo")
    assert made.detail.code == await registry.beside.text("python/demo/handler.py")
    config = orjson.loads(await registry.beside.text("python/demo/fn.config.json"))
    assert config == {"invoke": {"methods": ["GET"], "summary": "Demo"}}
    assert await registry.detail() == made.detail


@pytest.mark.parametrize("runtime", ["python", "node", "deno", "php", "rust"])
async def test_new_function_has_a_template_in_each_language(registry: Registry, runtime: str) -> None:
    made = await registry.change(ChangeKind.CREATE, target=FunctionRef(runtime=runtime, name="a/b"))
    assert made.detail is not None
    assert "a/b" in made.detail.code
    assert made.detail.entry.runtime == runtime


async def test_new_function_takes_code_and_a_file_name(registry: Registry) -> None:
    made = await registry.change(ChangeKind.CREATE, {"code": "def handler(event): ...", "filename": "app.py"})
    assert made.detail is not None
    assert (made.detail.file_path.rpartition("/")[2], made.detail.code) == ("app.py", "def handler(event): ...")
    assert (await refused(registry, ChangeKind.CREATE, {"filename": "app.js"}, target=V2)) == "invalid filename for runtime"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (FunctionRef(runtime="cobol", name="a"), "unknown runtime"),
        (FunctionRef(runtime="python", name="a.b"), "invalid function name"),
        (FunctionRef(runtime="python", name="a/b/c/d"), "invalid function name"),
        (FunctionRef(runtime="python", name="node_modules"), "invalid function name"),
        (FunctionRef(runtime="python", name="_a"), "invalid function name"),
        (FunctionRef(runtime="python", name="console"), "invalid function name"),
        (FunctionRef(runtime="python", name="a", version=".."), "invalid version"),
        (FunctionRef(runtime="python", name="a", version="src"), "invalid version"),
    ],
)
async def test_new_function_needs_names_that_functions_can_have(registry: Registry, target: FunctionRef, text: str) -> None:
    assert await refused(registry, ChangeKind.CREATE, target=target) == text


async def test_new_function_is_refused_where_there_is_one(demo: Registry) -> None:
    assert await refused(demo, ChangeKind.CREATE) == "function already exists"


async def test_new_function_that_cannot_be_one_leaves_nothing(registry: Registry) -> None:
    await registry.change(ChangeKind.CREATE)
    inner = FunctionRef(runtime="python", name="demo/inner")
    text = await refused(registry, ChangeKind.CREATE, target=inner)
    assert text == "the function cannot be made: python/demo/inner lies in the folder of the function demo"
    assert await registry.beside.paths() == ["python/demo/fn.config.json", "python/demo/handler.py"]


async def test_config_change_is_in_the_file_and_deployed(demo: Registry) -> None:
    changed = await demo.change(ChangeKind.CONFIG, {"timeout_ms": 1200, "group": "g"})
    assert changed.detail is not None
    assert (changed.revision, changed.detail.entry.versions[0].policy.timeout_ms) == (2, 1200)
    assert orjson.loads(await demo.beside.text("python/demo/fn.config.json"))["group"] == "g"
    assert (await demo.change(ChangeKind.CONFIG, {"group": "h"})).revision == 3


async def test_unknown_config_field_changes_nothing(demo: Registry) -> None:
    assert await refused(demo, ChangeKind.CONFIG, {"timeout": 1}) == "unknown field: timeout"
    assert (await demo.detail()).entry.revision == 1


async def test_environment_change_keeps_secrets_to_itself(demo: Registry) -> None:
    changed = await demo.change(ChangeKind.ENV, {"A": "1", "TOKEN": "s3cret"})
    assert changed.detail is not None
    assert [(each.name, each.value, each.is_secret) for each in changed.detail.env] == [("A", "1", False), ("TOKEN", "", True)]
    assert "s3cret" not in repr(changed)
    kept = orjson.loads(await demo.beside.text("python/demo/fn.env.json"))
    assert kept["TOKEN"] == {"value": "s3cret", "is_secret": True}
    with pytest.raises(errors.PermanentError, match="use config/env API to read"):
        await demo.editor.file(GetFile(target=DEMO, path="fn.env.json"))


async def test_code_change_is_deployed(demo: Registry) -> None:
    changed = await demo.change(ChangeKind.CODE, b"def handler(event): return 1\n")
    assert changed.detail is not None
    assert changed.detail.code == "def handler(event): return 1\n"
    assert await refused(demo, ChangeKind.CODE, b"#" * (MAX_CODE_BYTES + 1)) == "code exceeds maximum size"


async def test_change_of_what_somebody_else_changed_is_refused_with_the_present_revision(demo: Registry) -> None:
    await demo.beside.save("python/demo/handler.py", "saved elsewhere")
    late = await demo.change(ChangeKind.CODE, b"from the console", expected=1)
    assert (late.outdated, late.revision) == (True, 2)
    assert await demo.beside.text("python/demo/handler.py") == "saved elsewhere"
    assert not (await demo.change(ChangeKind.CODE, b"from the console", expected=2)).outdated


async def test_version_is_made_configured_and_removed_beside_the_default(demo: Registry) -> None:
    made = await demo.change(ChangeKind.CREATE, {"summary": "Two"}, target=V2)
    assert made.detail is not None
    assert [version.label for version in made.detail.entry.versions] == ["default", "v2"]
    changed = await demo.change(ChangeKind.CONFIG, {"timeout_ms": 7}, target=V2)
    assert changed.detail is not None
    assert [version.policy.timeout_ms for version in changed.detail.entry.versions] == [2500, 7]
    assert (await demo.change(ChangeKind.DELETE, target=V2)).revision == 0
    assert await demo.beside.paths() == ["python/demo/fn.config.json", "python/demo/handler.py"]
    assert (await demo.detail()).version == "default"


async def test_removed_function_leaves_its_versions_and_what_is_another_s(demo: Registry, tmp_path: Path) -> None:
    await demo.change(ChangeKind.CREATE, target=V2)
    await demo.beside.save("python/demo/lib/orders/fn.config.json", '{"name": "orders"}')
    await demo.beside.save("python/demo/lib/orders/handler.py", "own")
    if demo.home.place:
        (tmp_path / "python/demo/.deps").mkdir()
    assert (await demo.change(ChangeKind.DELETE)).revision == 0
    left = [path for path in await demo.beside.paths() if path.endswith("handler.py")]
    assert left == ["python/demo/lib/orders/handler.py", "python/demo/v2/handler.py"]
    assert not (tmp_path / "python/demo/.deps").exists()
    with pytest.raises(errors.NotFoundError, match="unknown function"):
        await demo.detail()


async def test_function_that_is_made_again_has_no_revision_that_it_had_before(demo: Registry) -> None:
    await demo.change(ChangeKind.DELETE)
    again = await demo.change(ChangeKind.CREATE)
    assert again.revision == 3
    assert (await demo.change(ChangeKind.CONFIG, {"timeout_ms": 7}, expected=1)).outdated
    assert not (await demo.change(ChangeKind.CONFIG, {"timeout_ms": 7}, expected=3)).outdated


@pytest.mark.parametrize("kind", [ChangeKind.CONFIG, ChangeKind.ENV, ChangeKind.CODE, ChangeKind.DELETE])
async def test_unknown_function_is_not_found(registry: Registry, kind: ChangeKind) -> None:
    with pytest.raises(errors.NotFoundError, match="unknown function"):
        await registry.change(kind, {})


async def test_files_are_written_listed_read_and_removed(demo: Registry) -> None:
    await demo.change(ChangeKind.PUT_FILE, b"X = 1\n", path="lib/tool.py")
    await demo.change(ChangeKind.ENV, {"A": "1"})
    kinds = {each.path: each.kind for each in (await demo.detail()).files}
    assert kinds == {"fn.config.json": "config", "fn.env.json": "env", "handler.py": "handler", "lib/tool.py": "file"}
    assert (await demo.editor.file(GetFile(target=DEMO, path="lib/tool.py"))).data == b"X = 1\n"
    await demo.change(ChangeKind.DELETE_FILE, path="lib/tool.py")
    with pytest.raises(errors.NotFoundError, match="file not found"):
        await demo.editor.file(GetFile(target=DEMO, path="lib/tool.py"))
    with pytest.raises(errors.NotFoundError, match="file not found"):
        await demo.change(ChangeKind.DELETE_FILE, path="lib/tool.py")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "path required"),
        ("../x.py", "invalid path"),
        ("a/../../x.py", "invalid path"),
        ("/etc/passwd", "invalid path"),
        ("a//b", "invalid path"),
        (".hidden", "invalid path"),
        ("a\0b", "invalid path"),
        ("ünicode", "invalid path"),
        ("__pycache__/x", "invalid path: __pycache__ is left out"),
        ("lib/__pycache__", "invalid path: __pycache__ is left out"),
        ("d/" * 32 + "x", "invalid path: it lies more than 32 folders deep"),
        ("fn.env.json", "use config/env API to modify fn.env.json"),
        ("FN.Config.json", "use config/env API to modify fn.config.json"),
        ("v2/fn.env.json", "use config/env API to modify fn.env.json"),
    ],
)
async def test_files_that_have_their_own_rules_or_lie_elsewhere_are_not_written(demo: Registry, path: str, text: str) -> None:
    assert await refused(demo, ChangeKind.PUT_FILE, b"x", path=path) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [("handler.py", "cannot delete the main handler file"), ("fn.config.json", "cannot delete fn.config.json")],
)
async def test_files_that_make_the_function_are_not_removed(demo: Registry, path: str, text: str) -> None:
    assert await refused(demo, ChangeKind.DELETE_FILE, path=path) == text


async def test_route_by_a_file_s_name_is_changed_and_not_removed(registry: Registry) -> None:
    await registry.beside.save("users/get.[id].py", "one")
    target = FunctionRef(runtime="python", name="users/get.[id].py")
    changed = await registry.change(ChangeKind.CODE, b"two", target=target)
    assert changed.detail is not None
    assert (changed.detail.code, changed.detail.function_dir) == ("two", registry.shown("users"))
    await registry.change(ChangeKind.CONFIG, {"timeout_ms": 9}, target=target)
    assert (await registry.detail(target)).entry.versions[0].policy.timeout_ms == 9
    assert "remove the file" in await refused(registry, ChangeKind.DELETE, target=target)


async def test_values_that_cannot_be_sealed_are_refused_and_taken_back(tmp_path: Path) -> None:
    class NoKeys:
        active = ""

        def seal(self, plaintext: bytes, *, context: str) -> bytes:
            raise errors.PermanentError("there are no keys")

        def open(self, sealed: bytes, *, context: str) -> bytes:
            raise errors.PermanentError("there are no keys")

        def is_current(self, sealed: bytes) -> bool:
            return True

    async with running(FolderHome(tmp_path), sealer=NoKeys()) as registry:
        await registry.change(ChangeKind.CREATE)
        assert await refused(registry, ChangeKind.ENV, {"A": "1"}) == "there are no keys"
        assert not (tmp_path / "python/demo/fn.env.json").exists()
        assert (await registry.detail()).entry.revision == 1


async def test_change_is_noted_as_that_of_whoever_asked(demo: Registry) -> None:
    await demo.change(ChangeKind.CODE, b"new", actor=Actor(principal="ada", ip="192.0.2.1"))
    (record, *_) = (await demo.audit.page(AuditList(), max_bytes=1_000_000)).records
    assert (record.actor.principal, record.action, record.function) == ("ada", "function.deployed", "demo")


async def test_packs_are_listed_and_those_that_are_missing_are_named(demo: Registry) -> None:
    await demo.change(ChangeKind.CONFIG, {"shared_deps": ["common_http", "gone"]})
    assert (await demo.detail()).missing_packs == ("common_http", "gone")
    pack = ".fastfn/packs/python/common_http"
    await demo.beside.save(f"{pack}/requirements.txt", "requests\n")
    changed = await demo.change(ChangeKind.CONFIG, {"timeout_ms": 1000})
    assert changed.detail is not None
    assert changed.detail.missing_packs == ("gone",)
    assert "requirements.txt" not in [file.path for file in changed.detail.files]
    found = await demo.editor.packs(ListPacks())
    assert found.packs_root == demo.shown(".fastfn/packs")
    assert [(each.runtime, each.name, each.dir, each.manifest, each.lock) for each in found.packs] == [
        ("python", "common_http", demo.shown(pack), demo.shown(f"{pack}/requirements.txt"), "")
    ]
