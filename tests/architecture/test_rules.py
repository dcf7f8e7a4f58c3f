"""Rules about the source itself that no linter of ours states."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("services", "libs", "cli")
DRIVERS = {
    "nats": ("libs/bus/jetstream",),
    "motor": ("libs/storage/mongo.py",),
    "pymongo": ("libs/storage/mongo",),
    "bson": ("libs/storage/mongo",),
    "sqlite3": ("libs/storage/sqlite",),
    "apscheduler": ("services/scheduler/timetable.py",),
    "fastapi": ("services/gateway/",),
    "watchfiles": ("services/registry/source/",),
    "cryptography": ("libs/secrets.py", "libs/passwords.py"),
    "opentelemetry": ("libs/telemetry/",),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "httpx": ("cli/", "libs/testing/"),
    "pytest": ("libs/testing/",),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_driver_is_imported_in_its_one_place(driver: str) -> None:
    users = [path for path, tree in modules() if any(name.split(".")[0] == driver for name in imported(tree))]
    assert [path for path in users if not path.startswith(DRIVERS[driver])] == []


def test_environment_is_read_in_settings_only() -> None:
    allowed = ("libs/settings.py", "libs/testing/", "libs/bus/server.py", "cli/")
    readers: list[str] = []
    for path, tree in modules():
        names = (node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute))
        if {"environ", "getenv"} & set(names) and not path.startswith(allowed) and "/runtimes/" not in path:
            readers.append(path)
    assert readers == []


def test_every_module_says_what_it_is_for() -> None:
    assert [path for path, tree in modules() if not ast.get_docstring(tree)] == []


def test_every_service_has_a_readme() -> None:
    services = (each for each in sorted((ROOT / "services").iterdir()) if (each / "main.py").exists())
    assert [each.name for each in services if not (each / "README.md").exists()] == []


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("services.gateway.main", ("motor", "pymongo", "watchfiles", "apscheduler", "cryptography", "typer", "rich")),
        ("services.registry.main", ("motor", "pymongo", "fastapi", "apscheduler", "typer", "rich")),
        ("services.executor.main", ("motor", "pymongo", "fastapi", "watchfiles", "apscheduler", "typer", "rich")),
        ("services.scheduler.main", ("motor", "pymongo", "fastapi", "watchfiles", "cryptography", "typer", "rich")),
    ],
)
def test_service_starts_without_what_only_others_need(module: str, unwanted: tuple[str, ...]) -> None:
    """As in an installation with its own extra only; the database driver is for those who have a database."""
    program = f"""
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {unwanted!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
import {module}
loaded = sorted(name for name in ("opentelemetry.sdk",) if name in sys.modules)
assert not loaded, f"imported without need: {{loaded}}"
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
