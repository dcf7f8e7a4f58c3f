"""A guest runs where nothing but its language is installed: it imports its own files and the standard library only.

Rust's also uses `serde_json`, whose `Value` is what its contract says a handler takes and returns; PHP's also uses FFI, where
that is loaded, to keep its socket from programs that user code starts.
"""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

RUNTIMES = Path(__file__).parents[2] / "services" / "executor" / "runtimes"
PYTHON_GUEST = [RUNTIMES / "python" / "guest.py", *sorted((RUNTIMES / "python" / "fnbus_guest").glob("*.py"))]
JAVASCRIPT_GUESTS = sorted(path for folder in ("javascript", "node", "deno") for path in (RUNTIMES / folder).glob("*.mjs"))
PHP_GUEST = sorted((RUNTIMES / "php").glob("*.php"))
RUST_GUEST = [RUNTIMES / "rust" / "launcher.rs", *sorted((RUNTIMES / "rust" / "guest" / "src").glob("*.rs"))]


@pytest.mark.parametrize("path", PYTHON_GUEST, ids=lambda path: path.name)
def test_python_guest_imports_the_standard_library_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [node.module or ""]
        else:
            continue
        for module in modules:
            top = module.partition(".")[0]
            assert top in sys.stdlib_module_names or top == "fnbus_guest", f"{path.name} imports {module}"


@pytest.mark.parametrize("path", JAVASCRIPT_GUESTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_javascript_guests_import_the_standard_library_only(path: Path) -> None:
    modules = re.findall(r"""(?:^|\s)(?:from|import)\s+["']([^"']+)["']""", path.read_text())
    foreign = [module for module in modules if not module.startswith(("node:", "./", "../javascript/"))]
    assert not foreign


@pytest.mark.parametrize("path", PHP_GUEST, ids=lambda path: path.name)
def test_php_guest_uses_its_own_files_and_compiled_in_functions_only(path: Path) -> None:
    text = path.read_text()
    included = re.findall(r"^\s*(?:require|include)(?:_once)?\s+(.+);", text, re.MULTILINE)
    assert all(file.startswith("__DIR__ . '/") or "vendor/autoload.php" in file for file in included)
    assert not re.findall(r"\\(?:mb|iconv|ctype|posix|socket|curl|pcntl|sodium|openssl)_\w+", text)


@pytest.mark.parametrize("path", RUST_GUEST, ids=lambda path: path.name)
def test_rust_guest_uses_the_standard_library_and_serde_json_only(path: Path) -> None:
    used = set(re.findall(r"^(?:pub )?use (\w+)", path.read_text(), re.MULTILINE))
    own = {file.stem for file in RUST_GUEST}
    assert used <= {"std", "crate", *own} | (set() if path.name == "launcher.rs" else {"serde_json"})


def test_rust_guest_declares_serde_json_and_nothing_else() -> None:
    assert set(tomllib.loads((RUNTIMES / "rust" / "guest" / "Cargo.toml").read_text())["dependencies"]) == {"serde_json"}


def test_there_are_guests_to_look_at() -> None:
    assert len(PYTHON_GUEST) > 5
    assert len(JAVASCRIPT_GUESTS) > 5
    assert len(PHP_GUEST) > 5
    assert len(RUST_GUEST) > 5
