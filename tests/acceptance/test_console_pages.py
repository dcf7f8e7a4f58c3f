"""Every command of FastFN's reference pages works as printed, in order, from a clean start."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.testing.cluster import running_cluster
from libs.testing.mongo import running_mongo
from libs.testing.wait import eventually
from tests.acceptance import console_pages as page
from tests.acceptance.console_pages import Shell
from tests.acceptance.running_dev import running

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not page.HAS_CURL, reason="there is no curl"),
]

_COUNTS = {"registry": 2, "gateway": 2}


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    """A clean folder."""
    folder = tmp_path / "functions"
    folder.mkdir()
    return folder


@pytest.fixture(params=["dev", "mongo", "stored"])
async def shell(request: pytest.FixtureRequest, functions: Path, tmp_path: Path) -> AsyncIterator[Shell]:
    """A shell in front of `fnbus dev`, and of clusters on MongoDB, with a folder and without, that have two of what answers."""
    if request.param == "dev":
        async with running(functions, tmp_path / "state") as dev:
            yield Shell(dev.url)
    else:
        async with running_mongo(tmp_path / "mongo") as mongo:
            settings = {"FNBUS_MONGO_URL": mongo.url}
            followed = functions if request.param == "mongo" else None
            async with running_cluster(tmp_path / "cluster", followed, counts=_COUNTS, settings=settings) as cluster:
                yield Shell(cluster.url, is_remote=followed is None)


async def test_page_about_managing_functions_works_as_printed(shell: Shell) -> None:
    made = await shell.answers(page.CREATE)
    assert (made["name"], made["policy"]["methods"], made["metadata"]["invoke"]["summary"]) == (
        "demo-new",
        ["GET"],
        "Demo function",
    )
    # Whether an executor was heard of lately may change from one to the other on a machine that is busy.
    assert (await shell.answers(page.DETAIL)) | {"runtime_health": made["runtime_health"]} == made
    assert made["metadata"]["dependency_resolution"]["last_install_status"] == "skipped"

    policy = (await shell.answers(page.POLICY))["policy"]
    assert (policy["timeout_ms"], policy["max_concurrency"], policy["max_body_bytes"], policy["methods"]) == (
        1200,
        5,
        262144,
        ["GET", "POST"],
    )
    shared = (await shell.answers(page.PACKS))["metadata"]["shared_deps"]
    assert (shared["configured"], shared["missing"]) == (["common_http"], ["common_http"])
    assert (await shell.answers(page.SCHEDULE))["policy"]["schedule"]["every_seconds"] == 60

    async def is_scheduled() -> bool:
        found = await shell.answers(page.SCHEDULES)
        return [(each["name"], each["schedule"]["query"]) for each in found["schedules"]] == [("demo-new", {"action": "inc"})]

    await eventually(is_scheduled)
    env = (await shell.answers(page.ENV))["fn_env"]
    assert env == {"GREETING_PREFIX": {"value": "hello", "is_secret": False}}
    assert "json.dumps" in (await shell.answers(page.CODE))["code"]

    invoked = await shell.answers(page.INVOKE)
    assert (invoked["status"], invoked["body"]) == (200, '{"ok": true, "query": {"name": "Ops"}}')
    shell.job = (await shell.answers(page.JOB))["id"]

    async def is_done() -> bool:
        return (await shell.answers(page.JOB_META))["status"] == "done"

    await eventually(is_done)
    result = await shell.answers(page.JOB_RESULT)
    assert (result["status"], result["body"]) == (200, '{"ok": true, "query": {"name": "Async"}}')

    assert await shell.answers(page.DELETE) == {"ok": True, "runtime": "python", "name": "demo-new"}
    assert '"error":"unknown function"' in await shell.prints(page.DETAIL)


async def test_page_about_the_api_works_as_printed(shell: Shell, functions: Path) -> None:
    (functions / "post.risk-score.py").write_text('def handler(event):\n    return {"score": len(event["query"]["email"])}\n')
    (functions / "node" / "node-echo").mkdir(parents=True)
    (functions / "node" / "node-echo" / "fn.config.json").write_text('{"invoke": {"methods": ["POST"]}}')
    (functions / "node" / "node-echo" / "handler.js").write_text(
        "exports.handler = (event) => ({ name: event.query.name, said: event.body, user: event.context.user });\n"
    )
    await shell.bring(functions)

    async def is_there() -> bool:
        return "score" in await shell.prints(page.RISK_SCORE)

    await eventually(is_there)
    assert await shell.answers(page.RISK_SCORE) == {"score": 16}

    async def echoes() -> bool:
        return '"status":200' in await shell.prints(page.NODE_ECHO)

    await eventually(echoes)
    echoed = await shell.answers(page.NODE_ECHO)
    assert echoed["body"] == '{"name":"Node","said":"{\\"x\\":1}","user":{"trace_id":"abc-123"}}'

    async def is_healthy() -> bool:
        return (await shell.prints(page.HEALTH)).startswith("HTTP/1.1 200")

    await eventually(is_healthy)
    if page.HAS_JQ:
        assert "/risk-score" in await shell.prints(page.CATALOG)
