"""What npm is asked to install, and when."""

import asyncio
import json
from pathlib import Path

import pytest

from libs import errors
from services.executor.runtimes.node import NodeRuntime


@pytest.fixture(scope="module")
def node() -> NodeRuntime:
    runtime = NodeRuntime()
    availability = asyncio.run(runtime.probe())
    assert availability.present, availability.hint
    return runtime


def declare(code: Path, manifest: object) -> None:
    (code / "package.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("manifest", [{}, {"type": "module"}, {"dependencies": {}}, {"devDependencies": {"a": "1"}}])
def test_nothing_is_built_when_nothing_is_declared(tmp_path: Path, manifest: object) -> None:
    declare(tmp_path, manifest)
    assert NodeRuntime().build(tmp_path, "handler.js") is None


def test_nothing_is_built_without_a_manifest(tmp_path: Path) -> None:
    assert NodeRuntime().build(tmp_path, "handler.js") is None


def test_nothing_is_built_when_the_packages_are_shipped(tmp_path: Path) -> None:
    declare(tmp_path, {"dependencies": {"ms": "2.1.3"}})
    (tmp_path / "node_modules").mkdir()
    assert NodeRuntime().build(tmp_path, "handler.js") is None


def test_declared_packages_are_installed_without_their_scripts(tmp_path: Path, node: NodeRuntime) -> None:
    declare(tmp_path, {"dependencies": {"ms": "2.1.3"}})
    plan = node.build(tmp_path, "handler.js")
    assert plan is not None
    assert plan.tool.startswith("npm ")
    assert "install" in plan.argv
    assert {"--ignore-scripts", "--omit=dev"} <= set(plan.argv)
    assert (plan.manifest, plan.inputs) == ("package.json", ("package.json",))
    assert (plan.output, plan.mount) == ("node_modules", "node_modules")


def test_manifest_beside_the_entry_file_is_built_as_if_it_lay_at_the_top(tmp_path: Path, node: NodeRuntime) -> None:
    (tmp_path / "api").mkdir()
    declare(tmp_path / "api", {"dependencies": {"ms": "2.1.3"}})
    declare(tmp_path, {"dependencies": {"lodash": "4"}})
    plan = node.build(tmp_path, "api/get.x.js")
    assert plan is not None
    assert (plan.manifest, plan.inputs) == ("api/package.json", ())
    assert [(name, json.loads(data)["dependencies"]) for name, data in plan.files] == [("package.json", {"ms": "2.1.3"})]
    assert (plan.output, plan.mount) == ("node_modules", "api/node_modules")
    above = node.build(tmp_path, "other/get.x.js")
    assert above is not None
    assert above.manifest == "package.json"


@pytest.mark.parametrize("lock", ["package-lock.json", "npm-shrinkwrap.json"])
def test_a_lock_file_decides_what_is_installed(tmp_path: Path, node: NodeRuntime, lock: str) -> None:
    declare(tmp_path, {"dependencies": {"ms": "2.1.3"}})
    (tmp_path / lock).write_text("{}")
    plan = node.build(tmp_path, "handler.js")
    assert plan is not None
    assert "ci" in plan.argv
    assert plan.inputs == ("package.json", lock)


@pytest.mark.parametrize(
    ("text", "said"), [("{", "not JSON"), ("[]", "must be an object"), ('{"dependencies": 7}', "dependencies")]
)
def test_a_manifest_that_cannot_be_read_is_an_error_that_says_why(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "package.json").write_text(text)
    with pytest.raises(errors.PermanentError, match=said):
        NodeRuntime().build(tmp_path, "handler.js")
