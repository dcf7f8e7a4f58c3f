"""A guest runs where nothing but its language is installed: it imports its own files and the standard library only."""

import ast
import re
import sys
from pathlib import Path

import pytest

RUNTIMES = Path(__file__).parents[2] / "services" / "executor" / "runtimes"
PYTHON_GUEST = [RUNTIMES / "python" / "guest.py", *sorted((RUNTIMES / "python" / "fnbus_guest").glob("*.py"))]
JAVASCRIPT_GUESTS = sorted(path for folder in ("javascript", "node", "deno") for path in (RUNTIMES / folder).glob("*.mjs"))


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


def test_there_are_guests_to_look_at() -> None:
    assert len(PYTHON_GUEST) > 5
    assert len(JAVASCRIPT_GUESTS) > 5
