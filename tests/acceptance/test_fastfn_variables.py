"""FastFN's environment variables that mean something here, set on one platform to other than their defaults."""

import contextlib
import json
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import httpx
import pytest

from libs.testing.cluster import Cluster, running_cluster
from libs.testing.hostile import write
from libs.testing.wait import eventually

_LIMITS = """def handler(event):
    context = event["context"]
    return [context["timeout_ms"], context["max_concurrency"], context["max_body_bytes"]]
"""
_NEEDY = "def handler(event):\n    return 'runs'\n"
FUNCTIONS = {
    "fn.config.json": '{"assets": {"directory": "public"}}',
    "public/small.txt": "small",
    "public/large.txt": "x" * 100,
    "python/limits/handler.py": _LIMITS,
    "python/limits/fn.config.json": '{"invoke": {"methods": ["GET", "POST"]}}',
    **{
        f"{folder}/fn.config.json": '{"timeout_ms": 20000}'
        for folder in ("python/needy", "node/needy-js", "node/twin", "python/twin", "python/reading")
    },
    "python/ticking/handler.py": _NEEDY,
    "python/ticking/fn.config.json": '{"schedule": {"every_seconds": 1}}',
    "python/needy/handler.py": _NEEDY,
    "python/needy/requirements.txt": "there-is-no-package-of-this-name-at-all==99.0\n",
    "node/needy-js/handler.js": "exports.handler = () => 'runs';\n",
    "node/needy-js/package.json": '{"dependencies": {"there-is-no-package-of-this-name-at-all": "99.0.0"}}',
    "node/twin/handler.js": "exports.handler = () => 'node';\n",
    "python/twin/handler.py": "def handler(event):\n    return 'python'\n",
    "python/reading/handler.py": "def handler(event):\n    return open(event['query']['path']).read()\n",
    "php/unserved/handler.php": "<?php function handler($event) { return 'x'; }\n",
    "skipped/get.never.py": _NEEDY,
    "python/deep/er/handler.py": _NEEDY,
    "get.taken.py": "def handler(event):\n    return 'file'\n",
    "python/forced/handler.py": "def handler(event):\n    return 'forced'\n",
    "python/forced/fn.config.json": '{"timeout_ms": 20000, "invoke": {"routes": ["/taken"], "methods": ["GET"]}}',
}


@pytest.fixture(scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    with tempfile.TemporaryDirectory() as made:  # not below pytest's folder, which no other user may enter
        write(Path(made), {"told.txt": "told"}).chmod(0o755)
        async with varied(tmp_path_factory, Path(made)) as cluster:
            yield cluster


@contextlib.asynccontextmanager
async def varied(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> AsyncGenerator[Cluster]:
    settings = {
        "FN_RUNTIMES": "node,lua,python",
        "FN_NAMESPACE_DEPTH": "1",
        "FN_ZERO_CONFIG_IGNORE_DIRS": "skipped,others",
        "FN_FORCE_URL": "1",
        "FN_DEFAULT_TIMEOUT_MS": "3456",
        "FN_DEFAULT_MAX_CONCURRENCY": "7",
        "FN_DEFAULT_MAX_BODY_BYTES": "777",
        "FN_MAX_ASSET_BYTES": "50",
        "FN_HOME_REDIRECT": "/elsewhere",
        "FN_PUBLIC_BASE_URL": "https://api.example.com/",
        "FN_OPENAPI_INCLUDE_INTERNAL": "1",
        "FN_HOT_RELOAD": "0",
        "FN_SCHEDULER_ENABLED": "0",
        "FN_JOBS_ENABLED": "0",
        "FN_AUTO_REQUIREMENTS": "0",
        "FN_AUTO_NODE_DEPS": "0",
        "FN_STRICT_FS_ALLOW": str(shared),
        "FN_ADMIN_TOKEN": "token",
        "FN_UI_ENABLED": "1",
        "FNBUS_CONSOLE_WRITE_ENABLED": "0",
        "FNBUS_RECONCILE_SECONDS": "600",
    }
    folder = write(tmp_path_factory.mktemp("functions"), FUNCTIONS | {"python/reading/allowed.txt": str(shared)})
    async with running_cluster(tmp_path_factory.mktemp("varied"), folder, settings=settings) as cluster:
        yield cluster


@pytest.fixture
async def client(platform: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=platform.url, timeout=60, verify=False) as made:
        await eventually(lambda: is_there(made))
        yield made


async def is_there(client: httpx.AsyncClient) -> bool:
    return (await client.get("/limits")).status_code == 200


async def test_defaults_are_those_that_are_set(client: httpx.AsyncClient) -> None:
    assert (await client.get("/limits")).json() == [3456, 7, 777]
    defaults = {"timeout_ms": 3456, "max_concurrency": 7, "max_body_bytes": 777}
    for path in ("/_fn/health", "/_fn/catalog"):
        assert (await client.get(path)).json()["defaults"] == defaults
    assert (await client.post("/limits", content="x" * 778)).status_code == 413


async def test_languages_are_those_that_are_named_in_their_order(client: httpx.AsyncClient) -> None:
    assert (await client.get("/unserved")).status_code == 404
    assert (await client.get("/_fn/catalog")).json()["runtime_order"][:2] == ["node", "python"]
    assert (await client.post("/_fn/invoke", json={"name": "twin"})).json()["body"] == "node"


async def test_folders_are_read_as_deep_and_as_wide_as_is_said(client: httpx.AsyncClient) -> None:
    routes = (await client.get("/_fn/catalog")).json()["mapped_routes"]

    assert "/skipped/never" not in routes
    assert not any(each["fn_name"] == "deep/er" for targets in routes.values() for each in targets)
    assert (await client.get("/taken")).text == "forced"


async def test_home_assets_and_documents_are_as_is_said(client: httpx.AsyncClient) -> None:
    home = await client.get("/")
    assert (home.status_code, home.headers["location"]) == (302, "/elsewhere")
    assert (await client.get("/small.txt")).text == "small"
    large = await client.get("/large.txt")
    assert (large.status_code, large.json()["error"]) == (413, "asset too large")
    document = (await client.get("/openapi.json")).json()
    assert document["servers"] == [{"url": "https://api.example.com"}]
    assert "/_fn/invoke" in document["paths"]
    assert "console ui disabled" not in (await client.get("/console")).text


async def test_nothing_is_installed_where_that_is_switched_off(client: httpx.AsyncClient) -> None:
    for path in ("/needy", "/needy-js"):
        answer = await client.get(path)
        assert (answer.status_code, answer.text) == (200, "runs")


async def test_files_that_are_allowed_can_be_read(client: httpx.AsyncClient, platform: Cluster) -> None:
    allowed = (platform.functions / "python" / "reading" / "allowed.txt").read_text()

    assert (await client.get("/reading", params={"path": f"{allowed}/told.txt"})).text == "told"


async def test_jobs_are_not_there_and_schedules_do_not_fire(client: httpx.AsyncClient) -> None:
    for method, path in (("POST", "/_fn/jobs"), ("GET", "/_fn/jobs"), ("GET", "/_fn/jobs/job-1")):
        assert (await client.request(method, path)).status_code == 404
    (first,) = (await client.get("/_fn/schedules")).json()["schedules"]
    assert first["schedule"]["every_seconds"] == 1
    since = time.time()

    async def has_passed() -> bool:
        (schedule,) = (await client.get("/_fn/schedules")).json()["schedules"]
        assert schedule["state"]["last"] is None
        return time.time() > since + 3

    await eventually(has_passed, every=0.5)


async def test_folder_is_read_only_when_that_is_asked_for(client: httpx.AsyncClient, platform: Cluster) -> None:
    (platform.functions / "get.later.py").write_text("def handler(event):\n    return 'later'\n")
    before = (await client.get("/_fn/catalog")).json()["generated_at"]
    await client.get("/limits")
    assert (await client.get("/_fn/catalog")).json()["generated_at"] == before

    assert (await client.post("/_fn/reload")).json()["ok"] is True

    async def is_later() -> bool:
        return (await client.get("/later")).text == "later"

    await eventually(is_later)


async def test_changes_need_the_token_where_writing_is_off(client: httpx.AsyncClient) -> None:
    path = "/_fn/function-config?runtime=python&name=limits"
    body = json.dumps({"group": "g"})

    refused = await client.put(path, content=body)
    wrong = await client.put(path, content=body, headers={"x-fn-admin-token": "wrong"})
    right = await client.put(path, content=body, headers={"x-fn-admin-token": "token"})

    assert (refused.status_code, refused.json()["error"]) == (403, "console write disabled")
    assert (wrong.status_code, wrong.json()["error"]) == (403, "console write disabled")
    assert right.status_code == 200, right.text
