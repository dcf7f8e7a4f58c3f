"""What a version's imports need, what its manifest becomes by it, and when nobody asks them."""

import json
from collections.abc import Mapping

import pytest

from services.registry.inference import inferring, manifests
from services.registry.inference.inferring import Code, Inference


def infer(files: Mapping[str, str], entrypoint: str, *shared: bytes, home: str = "") -> Inference | None:
    runtime = "python" if entrypoint.endswith(".py") else "node"
    code = Code(runtime=runtime, entrypoint=entrypoint, files=files.keys(), read=lambda path: files[path].encode(), home=home)
    return inferring.infer(code, shared)


def told(files: Mapping[str, str], entrypoint: str, *shared: bytes, home: str = "") -> Inference:
    found = infer(files, entrypoint, *shared, home=home)
    assert found is not None
    return found


def lines(text: bytes) -> list[str]:
    first, *rest = text.decode().splitlines()
    assert first.startswith("# Made by fnbus")
    return rest


def test_packages_of_python_are_in_a_manifest_that_says_where_it_comes_from() -> None:
    found = told(
        {"handler.py": "import yaml, requests, nobody_knows\ntry: import orjson\nexcept ImportError: pass"}, "handler.py"
    )
    assert found.imports == ("nobody_knows", "orjson", "requests", "yaml")
    assert found.packages == ("orjson", "PyYAML", "requests")
    assert found.unresolved == ("nobody_knows",)
    assert (found.manifest, found.own) == ("requirements.txt", None)
    assert lines(found.text) == ["orjson", "PyYAML", "requests"]
    assert not found.is_written


def test_packages_of_node_are_in_a_manifest_that_keeps_what_it_said() -> None:
    found = told({"handler.js": "import 'lodash'; import '@/x'", "package.json": '{"type": "module"}'}, "handler.js")
    assert (found.packages, found.unresolved) == (("lodash",), ("@/x",))
    assert json.loads(found.text) == {"type": "module", "dependencies": {"lodash": "*"}, "fnbus": {"inferred": True}}


def test_code_that_imports_nothing_needs_no_manifest() -> None:
    found = told({"handler.py": "import os"}, "handler.py")
    assert (found.packages, found.text, found.is_written) == ((), b"", True)


@pytest.mark.parametrize(
    "files",
    [
        {"handler.py": "import yaml", "requirements.txt": "requests"},
        {"handler.py": "#@requirements PyYAML==6\nimport yaml"},
        {"handler.py": "import yaml", ".deps/yaml/__init__.py": ""},
        {"handler.py": "import yaml", "PyYAML-6.dist-info/METADATA": ""},
        {"handler.js": "import 'a'", "package.json": '{"dependencies": {"b": "1"}}'},
        {"handler.js": "import 'a'", "package.json": '{"dependencies": ["b"], "fnbus": {"inferred": true}}'},
        {"handler.js": "import 'a'", "package.json": '{"dependencies": "b", "fnbus": {"inferred": true}}'},
        {"handler.js": "import 'a'", "package.json": "{"},
        {"handler.js": "import 'a'", "package.json": "[]"},
        {"handler.js": "import 'a'", "node_modules/a/index.js": ""},
    ],
)
def test_imports_are_not_asked_where_the_author_has_said_what_is_needed(files: Mapping[str, str]) -> None:
    assert infer(files, next(iter(files))) is None


def test_manifest_that_was_made_grows_and_keeps_what_was_changed_in_it() -> None:
    first = told({"handler.py": "import yaml"}, "handler.py")
    pinned = first.text.decode().replace("PyYAML", "pyyaml==6.0.1  # not the newest")
    found = told({"handler.py": "import yaml, requests", "requirements.txt": pinned}, "handler.py")
    assert lines(found.text) == ["pyyaml==6.0.1  # not the newest", "requests"]
    written = told({"handler.py": "import yaml, requests", "requirements.txt": found.text.decode()}, "handler.py")
    assert written.is_written
    assert written.packages == ("PyYAML", "requests")


def test_package_that_was_made_grows_and_keeps_what_was_changed_in_it() -> None:
    made = '{"dependencies": {"lodash": "^4"}, "fnbus": {"inferred": true}}'
    found = told({"handler.js": "import 'lodash'; import 'ms'", "package.json": made}, "handler.js")
    assert json.loads(found.text)["dependencies"] == {"lodash": "^4", "ms": "*"}
    written = told({"handler.js": "import 'lodash'; import 'ms'", "package.json": found.text.decode()}, "handler.js")
    assert written.is_written


def test_manifest_that_says_nothing_is_kept_in_what_is_made_of_it() -> None:
    found = told({"handler.py": "import yaml", "requirements.txt": "# to do\n"}, "handler.py")
    assert lines(found.text) == ["# to do", "PyYAML"]


def test_manifest_lies_where_there_is_one_and_else_where_it_belongs() -> None:
    assert told({"api/get.x.py": "import yaml"}, "api/get.x.py", home="api").manifest == "api/requirements.txt"
    assert told({"src/main.py": "import yaml"}, "src/main.py").manifest == "requirements.txt"
    assert told({"src/main.py": "", "src/requirements.txt": ""}, "src/main.py").manifest == "src/requirements.txt"


def test_what_a_pack_names_is_not_named_again() -> None:
    found = told({"handler.py": "import yaml, requests"}, "handler.py", b"requests[socks]==2.32\n")
    assert found.packages == ("PyYAML",)


@pytest.mark.parametrize("name", [manifests.REQUIREMENTS, manifests.PACKAGE])
@pytest.mark.parametrize("own", [None, b"", b"\xff\xfe", b"{", b"[1]", b'{"dependencies": {}}', b"# x"])
def test_manifest_that_grew_by_nothing_is_as_it_was(name: str, own: bytes | None) -> None:
    assert manifests.grown(name, own, []) == (own or b"")
