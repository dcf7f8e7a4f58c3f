"""Functions with dependencies, deployed by saving files and called by HTTP: built once, by the languages' own tools."""

import asyncio
import os
import shutil
import sys

import httpx
import pytest

from libs.testing.wait import eventually
from tests.integration.builds.conftest import Town, wheel

pytestmark = [pytest.mark.timeout(600)]


def python_function(name: str, version: str, *, extra: str = "") -> dict[str, str | bytes]:
    """Return a function that answers with its library's version."""
    file = f"greeter-{version}-py3-none-any.whl"
    return {
        f"{name}/wheels/{file}": wheel("greeter", version, f"VERSION = {version!r}\n"),
        f"{name}/requirements.txt": f"./wheels/{file}\n{extra}",
        f"{name}/fn.config.json": '{"runtime": "python", "timeout_ms": 20000}',
        f"{name}/handler.py": (
            "import greeter\n\ndef handler(event):\n    return {'status': 200, 'body': {'version': greeter.VERSION}}\n"
        ),
    }


async def test_python_packages_are_installed_and_two_functions_have_different_versions(town: Town) -> None:
    town.write(python_function("one", "1.0") | python_function("two", "2.0"))
    await town.answers("/one", {"version": "1.0"})
    await town.answers("/two", {"version": "2.0"})


async def test_another_function_with_the_same_requirements_installs_nothing(town: Town) -> None:
    town.write(python_function("first", "3.0"))
    await town.answers("/first", {"version": "3.0"})
    built = len(town.told("build_started"))
    town.write(python_function("second", "3.0"))
    await town.answers("/second", {"version": "3.0"})
    assert len(town.told("build_started")) == built


async def test_executors_that_did_not_build_run_it_too(town: Town) -> None:
    town.write(python_function("spread", "4.0"))
    await town.answers("/spread", {"version": "4.0"})
    for replica in town.cluster.of("executor"):
        await replica.stop()
        await town.answers("/spread", {"version": "4.0"})  # by the other one
        await replica.start()
        await replica.ready()
    assert len([each for each in town.told("build_started") if each["function"] == "spread"]) == 1


async def test_failed_installation_keeps_the_previous_version_and_is_told(town: Town) -> None:
    town.write(python_function("kept", "5.0"))
    await town.answers("/kept", {"version": "5.0"})
    town.write({"kept/requirements.txt": "--no-index\nno-such-package-anywhere==9\n", "kept/handler.py": "raise SystemExit"})
    failed = await eventually(lambda: [each for each in town.told("build_failed") if each["function"] == "kept"])
    assert "no-such-package-anywhere" in str(failed[0]["message"])
    await town.answers("/kept", {"version": "5.0"})
    problems = await eventually(
        lambda: [each for each in town.told("source_problem") if "no-such-package-anywhere" in str(each["message"])],
        within=30,
    )
    assert "kept/requirements.txt" in str(problems[0]["message"])
    town.write(python_function("kept", "5.1"))
    await town.answers("/kept", {"version": "5.1"})


async def test_first_version_that_cannot_be_installed_says_why_to_its_callers(town: Town) -> None:
    town.write(
        {
            "broken/requirements.txt": "--no-index\nno-such-package-anywhere==9\n",
            "broken/fn.config.json": '{"runtime": "python"}',
            "broken/handler.py": "def handler(event):\n    return {'status': 200}\n",
        }
    )

    async def failed() -> httpx.Response | None:
        response = await town.get("/broken")
        if response.status_code == 503:
            assert "dependencies are being installed" in response.text
            assert response.headers["retry-after"]
        return response if response.status_code == 500 else None

    response = await eventually(failed, every=0.1)
    assert response is not None
    assert "dependencies could not be installed" in response.json()["error"]
    assert "no-such-package-anywhere" in response.json()["error"]


async def test_node_package_beside_the_function_is_installed(town: Town) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    town.write(
        {
            "js/local/package.json": '{"name": "greeter", "version": "1.2.3", "main": "index.js"}',
            "js/local/index.js": "exports.version = '1.2.3';\n",
            "js/package.json": '{"dependencies": {"greeter": "file:./local"}}',
            "js/fn.config.json": '{"runtime": "node", "timeout_ms": 20000}',
            "js/handler.js": (
                "exports.handler = () => ({status: 200, headers: {'content-type': 'application/json'}, "
                "body: JSON.stringify({version: require('greeter').version})});\n"
            ),
        }
    )
    await town.answers("/js", {"version": "1.2.3"})


async def test_packs_that_a_function_shares_are_installed_and_a_changed_one_anew(town: Town) -> None:
    first, second = (f"wheels/greeter-{version}-py3-none-any.whl" for version in ("7.0", "7.1"))
    pack = ".fastfn/packs/python/greeting/requirements.txt"
    function = python_function("shares", "7.0") | {
        "shares/" + second: wheel("greeter", "7.1", "VERSION = '7.1'\n"),
        "shares/requirements.txt": "# its own: nothing\n",
        "shares/fn.config.json": '{"runtime": "python", "timeout_ms": 20000, "shared_deps": ["greeting", "gone"]}',
    }
    town.write({pack: f"./{first}\n"} | function)
    await town.answers("/shares", {"version": "7.0"})
    town.write({pack: f"./{second}\n"})
    await town.answers("/shares", {"version": "7.1"})


async def test_package_from_the_index_is_installed(town: Town) -> None:
    """The one test here that needs a network."""
    if not await index_is_reachable() and not os.environ.get("CI"):
        pytest.skip("no package index can be reached")
    town.write(
        {
            "net/requirements.txt": "iniconfig==2.0.0\n",
            "net/fn.config.json": '{"runtime": "python", "timeout_ms": 20000}',
            "net/handler.py": (
                "import importlib.metadata\n\ndef handler(event):\n"
                "    return {'status': 200, 'body': {'version': importlib.metadata.version('iniconfig')}}\n"
            ),
        }
    )
    await town.answers("/net", {"version": "2.0.0"})


async def index_is_reachable() -> bool:
    """Whether pip finds the package at the index that it is set to here."""
    asked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pip", "index", "versions", "iniconfig", "--retries", "0", "--timeout", "10"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await asked.wait() == 0
