"""Functions that say nothing of what they need, on a platform that looks at their imports."""

from collections.abc import AsyncIterator

import pytest

from libs.testing.cluster import running_cluster
from libs.testing.wait import eventually
from tests.integration.builds.conftest import Town, wheel

pytestmark = [pytest.mark.timeout(600)]

CONFIG = '{"runtime": "python", "timeout_ms": 20000}'
ASKING = "import arrow\n\ndef handler(event):\n    return {'status': 200, 'body': {'version': arrow.VERSION}}\n"


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A platform that looks at imports, and an index that has one package, whose name the table knows."""
    folder = tmp_path_factory.mktemp("inferring")
    for name in ("functions", "index"):
        (folder / name).mkdir()
    (folder / "index" / "arrow-99.0-py3-none-any.whl").write_bytes(wheel("arrow", "99.0", "VERSION = '99.0'\n"))
    settings = {"FN_AUTO_INFER_PY_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder / "index")}
    async with running_cluster(folder, folder / "functions", settings=settings) as cluster:
        yield Town(cluster)


async def test_what_imports_tell_is_installed_and_written_down_once(town: Town) -> None:
    town.write({"asking/fn.config.json": CONFIG, "asking/handler.py": ASKING})
    await town.answers("/asking", {"version": "99.0"})
    manifest = town.cluster.functions / "asking" / "requirements.txt"
    await eventually(manifest.exists, within=60)
    assert manifest.read_text().splitlines()[1:] == ["arrow"]
    detail = (await town.get("/_fn/function?runtime=python&name=asking")).json()
    told = detail["metadata"]["dependency_resolution"]
    assert (told["mode"], told["inferred_imports"], told["resolved_packages"]) == ("inferred", ["arrow"], ["arrow==99.0"])
    assert (told["manifest_path"], told["manifest_generated"], told["last_install_status"]) == ("requirements.txt", True, "ok")
    assert len(town.told("manifest_written")) == 1
    assert len([each for each in town.told("build_started") if each["function"] == "asking"]) == 1


async def test_import_that_nobody_knows_keeps_the_previous_version_and_is_told(town: Town) -> None:
    town.write({"kept/fn.config.json": CONFIG, "kept/handler.py": ASKING})
    await town.answers("/kept", {"version": "99.0"})
    town.write({"kept/handler.py": "import nobody_knows_this\n"})
    problems = await eventually(
        lambda: [
            each for each in town.told("source_problem") if "unresolved imports: nobody_knows_this" in str(each["message"])
        ],
        within=60,
    )
    assert "kept/requirements.txt" in str(problems[0]["message"])
    await town.answers("/kept", {"version": "99.0"})
