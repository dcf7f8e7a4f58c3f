"""Importing does nothing: no module of ours reads the environment, opens a file of the user's, or needs a setting."""

import json
import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]

_PROGRAM = """
import importlib, json, sys, warnings
warnings.simplefilter("error")
failed = {}
for name in sys.stdin.read().split():
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = repr(error)
print(json.dumps(failed))
"""


def _modules() -> list[str]:
    found: list[str] = []
    for package in ("libs", "services", "cli"):
        for path in sorted((_ROOT / package).rglob("*.py")):
            parts = path.relative_to(_ROOT).with_suffix("").parts
            if "fnbus_guest" in parts or parts[-1] in {"guest", "__main__"}:
                continue  # programs: they run when imported, or belong to another interpreter
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def test_every_module_is_importable_with_an_empty_environment(tmp_path: Path) -> None:
    modules = _modules()
    assert len(modules) > 50
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=" ".join(modules),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": str(_ROOT), "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}
    assert list(tmp_path.iterdir()) == []
