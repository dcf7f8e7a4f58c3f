"""The host side of PHP: what is found, what is said when it is not."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from libs import errors
from services.executor.profile import Profile
from services.executor.runtimes.php import PhpRuntime


def program(folder: Path, **told: object) -> Path:
    """Write a program that says of itself what PHP does."""
    said = {"id": 80236, "version": "8.2.36", "sapi": "cli", "modules": ["core"], "folder": str(folder), **told}
    path = folder / "php"
    path.write_text(f"#!/bin/sh\necho '{json.dumps(said)}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"id": 70433, "version": "7.4.33"}, "7.4.33, too old"),
        ({"sapi": "cgi-fcgi"}, "no php-cli"),
        ({"id": "x'"}, "no php-cli"),
    ],
)
async def test_php_that_cannot_be_used_is_not_present_and_says_so(tmp_path: Path, told: dict[str, object], reason: str) -> None:
    runtime = PhpRuntime(program(tmp_path, **told))
    availability = await runtime.probe()
    assert not availability.present
    assert reason in availability.hint
    assert "apt install php-cli" in availability.hint
    with pytest.raises(errors.UnavailableError, match="apt install php-cli"):
        runtime.command(Profile())


async def test_php_that_does_not_exist_is_not_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not (await PhpRuntime(tmp_path / "missing").probe()).present
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt install php-cli" in (await PhpRuntime().probe()).hint


async def test_php_outside_the_system_is_shown_with_its_extensions(tmp_path: Path) -> None:
    chosen = program(tmp_path)
    runtime = PhpRuntime(chosen)
    assert (await runtime.probe()).version == "8.2.36"
    assert {chosen, tmp_path} <= set(runtime.command(Profile()).visible)


@pytest.mark.skipif(shutil.which("php") is None, reason="php is not here")
def test_extensions_that_the_machine_has_are_loaded_without_its_configuration() -> None:
    runtime = PhpRuntime()
    assert asyncio.run(runtime.probe()).present
    argv = runtime.command(Profile()).argv
    assert argv[1] == "-n"
    assert not [option for option in argv if option.startswith("extension=zend")]
