"""Versions, rollback, aliases and the audit trail over HTTP: gateway and registry on one bus, over a folder of functions."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.lifecycle import Service
from libs.secrets import KeyRing
from libs.storage.memory import MemoryStore
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, FakeScheduler
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway
from services.registry import main
from services.registry.metrics import Metrics
from services.registry.readiness import Readiness
from services.registry.settings import RegistrySettings

KEYS = KeyRing.parse(KeyRing.generate())


class Functions:
    """A folder of functions and what a client sees of it."""

    def __init__(self, root: Path, client: httpx.AsyncClient, executor: FakeExecutor) -> None:
        self.root = root
        self._client = client
        self._executor = executor

    async def save(self, code: str, *, version: str = "", env: str = "") -> str:
        """Save a version of `hello`, and return its digest once calls go to it."""
        before = await self.digest(version or "default")
        folder = self.root / "python" / "hello" / version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "handler.py").write_text(code)
        if env:
            (folder / "fn.env.json").write_text(env)

        async def changed() -> str:
            now = await self.digest(version or "default")
            return now if now != before else ""

        return await eventually(changed)

    async def digest(self, version: str = "default") -> str:
        """Return what a call goes to; empty when it goes nowhere."""
        called = await self._client.get("/hello" if version == "default" else f"/hello@{version}")
        return self._executor.invocations[-1].digest if called.status_code == 200 else ""

    async def ask(self, method: str, path: str, *, status: int = 200, **more: Any) -> dict[str, Any]:
        got = await self._client.request(method, path, **more)
        assert got.status_code == status, got.text
        return got.json()

    async def roll(self, status: int = 200, **body: Any) -> dict[str, Any]:
        return await self.ask("POST", "/_fn/rollback", status=status, json={"name": "hello", **body})

    async def versions(self) -> dict[str, Any]:
        return await self.ask("GET", "/_fn/versions?name=hello&runtime=python")


@pytest.fixture
async def functions(
    net: Net, gateway: Gateway, client: httpx.AsyncClient, executor: FakeExecutor, tmp_path: Path
) -> AsyncIterator[Functions]:
    """A registry on an empty folder, with the gateway."""
    root = tmp_path / "functions"
    root.mkdir()
    chosen = RegistrySettings(functions_root=root, reconcile_seconds=0.5)
    async with asyncio.TaskGroup() as tasks:
        stack = contextlib.AsyncExitStack()
        service = Service("registry", tasks, stack)
        async with stack:
            bus = await net.connect("registry")
            await main.start(
                service,
                bus=bus,
                store=MemoryStore(),
                sealer=KEYS,
                chosen=chosen,
                metrics=Metrics(),
                readiness=Readiness(),
            )
            yield Functions(root, client, executor)
            service.stopping.set()
        service.cancel_loops()


async def test_rollback_without_a_digest_goes_one_version_back_each_time(functions: Functions) -> None:
    one, two, three = [await functions.save(code) for code in ("1", "2", "3")]

    rolled = await functions.roll()

    assert (rolled["digest"], rolled["before"], rolled["pinned"]) == (two, three, True)
    assert await functions.digest() == two  # whoever has the answer can rely on it
    assert (await functions.roll())["digest"] == one
    assert "no earlier version" in (await functions.roll(404))["error"]


async def test_rollback_survives_scans_and_ends_with_the_next_version(functions: Functions) -> None:
    one, two = [await functions.save(code) for code in ("1", "2")]
    await functions.roll(digest=one[:12])
    # Another function of the folder makes a round, and the same code saved again makes one of this function.
    (functions.root / "python" / "hello" / "handler.py").write_text("2")
    (functions.root / "get.other.py").write_text("x")

    async def other_is_there() -> bool:
        return (await functions.ask("GET", "/_fn/catalog"))["mapped_routes"].get("/other") is not None

    await eventually(other_is_there)
    assert await functions.digest() == one
    pins = (await functions.versions())["pins"]
    assert [(pin["digest"], pin["held_digest"], pin["by"]) for pin in pins] == [(one, two, "local")]

    three = await functions.save("3")

    assert three not in (one, two)
    assert (await functions.versions())["pins"] == []


async def test_file_route_may_be_named_by_its_route(functions: Functions) -> None:
    (functions.root / "get.other.py").write_text("x")

    async def is_there() -> bool:
        return (await functions.ask("GET", "/_fn/catalog"))["mapped_routes"].get("/other") is not None

    await eventually(is_there)

    for name in ("other", "/other", "get.other.py"):
        assert (await functions.ask("GET", f"/_fn/versions?name={name}"))["name"] == "get.other.py"


async def test_unpin_gives_the_label_back_to_the_folder(functions: Functions) -> None:
    one, two = [await functions.save(code) for code in ("1", "2")]
    await functions.roll(digest=one)

    taken_back = await functions.ask("DELETE", "/_fn/rollback?name=hello")

    assert (taken_back["digest"], taken_back["pinned"]) == (two, False)
    assert await functions.digest() == two
    assert "not pinned" in (await functions.ask("DELETE", "/_fn/rollback?name=hello", status=404))["error"]


async def test_versions_say_which_is_in_use_who_deployed_it_and_when(functions: Functions) -> None:
    one, two = [await functions.save(code) for code in ("1", "2")]
    await functions.roll(digest=one)

    found = await functions.versions()

    shown = {each["digest"]: each for each in found["versions"]}
    assert list(shown) == [two, one]
    assert (shown[one]["active"], shown[one]["labels"], shown[one]["by"]) == (True, ["default"], "folder")
    assert (shown[two]["active"], shown[two]["held_for"]) == (False, ["default"])
    assert shown[one]["created_at_ms"] <= shown[two]["created_at_ms"]


async def test_alias_splits_calls_by_weight_and_goes_again(functions: Functions) -> None:
    one = await functions.save("1")
    two = await functions.save("2")
    body = {"name": "hello", "alias": "canary", "versions": {"default": 1, one: 1}}

    made = await functions.ask("PUT", "/_fn/aliases", json=body)

    assert [(each["version"], each["percent"]) for each in made["aliases"][0]["versions"]] == [("default", 50), (one[:12], 50)]
    seen = Counter([await functions.digest("canary") for _ in range(60)])
    assert seen.keys() == {one, two}  # the odds of this going wrong by chance are 1 to 2^59
    assert await functions.digest() == two
    assert (await functions.ask("GET", "/_fn/aliases?name=hello"))["aliases"] == made["aliases"]
    assert await functions.ask("GET", "/_fn/aliases") == {"functions": [made]}

    left = await functions.ask("DELETE", "/_fn/aliases?name=hello&alias=canary")

    assert left["aliases"] == []
    assert await functions.digest("canary") == ""


async def test_share_of_a_canary_grows_by_the_digits_that_the_list_shows(functions: Functions) -> None:
    one = await functions.save("1")
    await functions.save("2")
    await functions.ask("PUT", "/_fn/aliases", json={"name": "hello", "alias": "default", "versions": {"default": 90, one: 10}})
    body = {"name": "hello", "alias": "default", "versions": {"default": 50, one[:12]: 50}}

    grown = await functions.ask("PUT", "/_fn/aliases", json=body)
    second = await functions.ask("PUT", "/_fn/aliases", json={"name": "hello", "alias": "old", "versions": one[:12]})

    assert [(each["digest"], each["percent"]) for each in grown["aliases"][0]["versions"]][1] == (one, 50)
    assert [each["digest"] for each in second["aliases"][1]["versions"]] == [one]


async def test_aliases_set_at_the_same_time_are_set_one_after_the_other(functions: Functions) -> None:
    await functions.save("1")
    await functions.save("2", version="v2")
    bodies = [{"name": "hello", "alias": "canary", "versions": {"default": 100 - at, "v2": at}} for at in range(1, 25)]

    made = await asyncio.gather(*(functions.ask("PUT", "/_fn/aliases", json=body) for body in bodies))

    last = await functions.ask("GET", "/_fn/aliases?name=hello")
    assert last["revision"] >= max(each["revision"] for each in made)
    weights = {each["version"]: each["weight"] for each in last["aliases"][0]["versions"]}
    assert weights in [body["versions"] for body in bodies]


@pytest.mark.parametrize("alias", [".", "..", "a b", "", "a/b", None])
async def test_alias_that_can_be_none_is_refused(functions: Functions, alias: object) -> None:
    await functions.save("1")
    refused = await functions.ask(
        "PUT", "/_fn/aliases", status=400, json={"name": "hello", "alias": alias, "versions": "default"}
    )
    assert refused["error"] == "invalid alias"


async def test_version_that_the_api_makes_is_by_who_asked_for_it(functions: Functions) -> None:
    await functions.save("1")

    await functions.ask("PUT", "/_fn/function-code?runtime=python&name=hello", json={"code": "2"})

    assert sorted(each["by"] for each in (await functions.versions())["versions"]) == ["folder", "local"]


async def test_default_label_may_be_split_for_the_public_route(functions: Functions) -> None:
    one = await functions.save("1")
    await functions.save("2")

    await functions.ask("PUT", "/_fn/aliases", json={"name": "hello", "alias": "default", "versions": {"default": 0, one: 7}})

    assert {await functions.digest() for _ in range(10)} == {one}


@pytest.mark.usefixtures("scheduler")
async def test_invoke_and_jobs_go_where_an_alias_leads(
    functions: Functions, executor: FakeExecutor, scheduler: FakeScheduler
) -> None:
    one = await functions.save("1")
    await functions.save("2")
    await functions.ask("PUT", "/_fn/aliases", json={"name": "hello", "alias": "old", "versions": one})

    await functions.ask("POST", "/_fn/invoke", json={"name": "hello", "version": "old"})
    await functions.ask("POST", "/_fn/jobs", json={"name": "hello", "version": "old"}, status=201)

    assert executor.invocations[-1].digest == one
    assert scheduler.submitted[-1].request.version == one[:12]


async def test_rollback_keeps_the_environment_of_then(functions: Functions, executor: FakeExecutor) -> None:
    one = await functions.save("1", env='{"A": "then"}')
    await functions.save("1", env='{"A": "now"}')

    await functions.roll()

    assert await functions.digest() == one
    audit = await functions.ask("GET", "/_fn/audit?function=hello")
    assert "then" not in str(audit)
    assert "now" not in str(audit)


async def test_secret_that_changes_makes_no_version_to_go_back_to(functions: Functions, client: httpx.AsyncClient) -> None:
    folder = functions.root / "python" / "hello"
    folder.mkdir(parents=True)
    (folder / "fn.config.json").write_text('{"secrets": ["KEY"]}')
    one = await functions.save("1")
    two = await functions.save("2")
    assert (await client.post("/_fn/secrets", json={"key": "KEY", "value": "hidden"})).status_code == 201

    async def renewed() -> str:
        now = await functions.digest()
        return now if now != two else ""

    assert await eventually(renewed) not in (one, two)
    assert [each["by"] for each in (await functions.versions())["versions"]] == ["folder", "folder"]

    rolled = await functions.roll()

    assert rolled["digest"] != one  # the code of then, with the secret of today
    assert await functions.digest() == rolled["digest"]
    shown = {each["digest"]: each for each in (await functions.versions())["versions"]}
    assert len(shown) == 2
    assert shown[rolled["digest"]]["labels"] == ["default"]
    assert "no earlier version" in (await functions.roll(404))["error"]


async def test_audit_tells_who_did_what_page_by_page(functions: Functions) -> None:
    one = await functions.save("1")
    two = await functions.save("2")
    await functions.roll(digest=one)

    newest = await functions.ask("GET", "/_fn/audit?function=hello&limit=1")

    record = newest["records"][0]
    assert (record["action"], record["principal"], record["ip"]) == ("version.rolled-back", "local", "127.0.0.1")
    assert (record["before"]["versions"], record["after"]["versions"]) == ({"default": two}, {"default": one})
    assert record["changed"] == ["default.code"]
    older = await functions.ask("GET", f"/_fn/audit?function=hello&before={newest['next']}")
    assert [each["action"] for each in older["records"]] == ["function.deployed", "function.deployed"]
    assert {each["principal"] for each in older["records"]} == {"folder"}
    assert older["next"] is None


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("GET", "/_fn/versions", None, 400, "name is required"),
        ("GET", "/_fn/versions?name=nobody", None, 404, "unknown function"),
        ("GET", "/_fn/versions?name=hello&runtime=node", None, 404, "unknown function"),
        ("POST", "/_fn/rollback", [], 400, "invalid json body"),
        ("POST", "/_fn/rollback", {"name": 5}, 400, "name is required"),
        ("POST", "/_fn/rollback", {"name": "hello", "digest": 5}, 400, "digest must be a string"),
        ("POST", "/_fn/rollback", {"name": "hello", "digest": "0123abcd"}, 404, "hello has no version 0123abcd"),
        ("POST", "/_fn/rollback", {"name": "hello", "version": "a b"}, 400, "invalid version"),
        ("POST", "/_fn/rollback", {"name": "hello", "version": "v9", "digest": "0123abcd"}, 404, "hello has no version"),
        ("PUT", "/_fn/aliases", {"name": "hello", "alias": "c", "versions": {}}, 400, "versions must be a version"),
        ("PUT", "/_fn/aliases", {"name": "hello", "alias": "c", "versions": {"default": "9"}}, 400, "a weight must be"),
        ("PUT", "/_fn/aliases", {"name": "hello", "alias": "c", "versions": {"default": -1}}, 400, "a weight is a number"),
        ("PUT", "/_fn/aliases", {"name": "hello", "alias": "c", "versions": "v9"}, 404, "hello has no version v9"),
        ("PUT", "/_fn/aliases", {"name": "hello", "versions": "default"}, 400, "invalid alias"),
        ("DELETE", "/_fn/aliases?name=hello&alias=c", None, 404, "hello has no alias c"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    functions: Functions, method: str, path: str, body: Any, status: int, text: str
) -> None:
    await functions.save("1")

    refused = await functions.ask(method, path, status=status, **({} if body is None else {"json": body}))

    assert refused["error"].startswith(text)


async def test_change_of_a_function_that_is_another_by_now_is_refused(functions: Functions) -> None:
    await functions.save("1")
    one = (await functions.versions())["revision"]
    await functions.save("2")

    refused = await functions.ask("POST", "/_fn/rollback", status=409, json={"name": "hello"}, headers={"if-match": f'"{one}"'})

    assert "was changed meanwhile" in refused["error"]
    assert (await functions.versions())["pins"] == []
