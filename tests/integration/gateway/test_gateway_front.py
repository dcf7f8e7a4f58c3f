"""Home pages, static files and the landing page at a gateway."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from libs.messages import codec, subjects
from libs.messages.catalog import CatalogMeta, FunctionEntry
from libs.messages.web import AssetFile, AssetIndex, Assets, Home
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.wait import eventually
from tests.integration.gateway.serving import serving

FILES = {
    "index.html": b"<h1>app</h1>",
    "docs/index.html": b"<h1>docs</h1>",
    "app.4sK9dLxa.js": b"let a = 1;" * 200,
    "hello": b"a file",
}

type Open = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture(params=[True, False], ids=["short way", "long way"])
def fast(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
async def opened(net: Net, executor: FakeExecutor, *, fast: bool) -> AsyncIterator[Open]:
    """Start a gateway with settings, functions, homes and files; return a client of it."""
    executor.behaviour = lambda call: answer(orjson.dumps({"function": call.function, "path": orjson.loads(call.head)["path"]}))
    async with AsyncExitStack() as stack:

        async def start(
            *functions: FunctionEntry,
            homes: tuple[Home, ...] = (),
            files: dict[str, bytes] | None = None,
            assets: dict[str, Any] | None = None,
            large: str = "",
            **settings: Any,
        ) -> httpx.AsyncClient:
            bus = await net.connect("registry")
            await project(bus, *functions)
            entry = None
            if files is not None:
                objects = await bus.objects(subjects.ASSET_STORE)
                for data in files.values():
                    await objects.put(hashlib.sha256(data).hexdigest(), data)
                index = codec.encode(AssetIndex(files=tuple(_file(name, files[name], large) for name in sorted(files))))
                entry = Assets(index=hashlib.sha256(index).hexdigest(), **(assets or {}))
                await objects.put(entry.index, index)
            meta = CatalogMeta(generated_at=datetime.now(UTC), functions=len(functions), homes=homes, assets=entry)
            bucket = await bus.bucket(subjects.CATALOG_BUCKET)
            await bucket.put(subjects.CATALOG_META, codec.encode(meta))
            gateway = await stack.enter_async_context(serving(await net.connect("gateway"), fast=fast, **settings))
            await executor.beat()
            site = gateway.front
            names = gateway.catalogue.table.names
            await eventually(lambda: gateway.catalogue.complete.is_set() and all(names.find(each.name) for each in functions))
            await eventually(lambda: site.settled)
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", timeout=20)
            return await stack.enter_async_context(client)

        yield start


def _file(name: str, data: bytes, large: str) -> AssetFile:
    if name == large:
        return AssetFile(path=name, digest="", size=10**9, modified=1_000_000_000)
    return AssetFile(path=name, digest=hashlib.sha256(data).hexdigest(), size=len(data), modified=1_000_000_000)


async def test_a_file_is_answered_with_its_headers_and_not_twice(opened: Open) -> None:
    client = await opened(files=FILES)
    response = await client.get("/app.4sK9dLxa.js", headers={"accept-encoding": "identity"})
    assert (response.status_code, response.content) == (200, FILES["app.4sK9dLxa.js"])
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["x-request-id"]
    for condition in ({"if-none-match": response.headers["etag"]}, {"if-modified-since": response.headers["last-modified"]}):
        again = await client.get("/app.4sK9dLxa.js", headers=condition)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", response.headers["etag"])
    head = await client.head("/hello")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "6")
    part = await client.get("/hello", headers={"range": "bytes=2-3"})
    assert (part.status_code, part.text, part.headers["content-range"]) == (206, "fi", "bytes 2-3/6")
    coded = await client.get("/app.4sK9dLxa.js", headers={"accept-encoding": "br"})
    assert (coded.content, coded.headers["content-encoding"]) == (FILES["app.4sK9dLxa.js"], "br")


async def test_a_folder_has_its_index(opened: Open) -> None:
    client = await opened(files=FILES)
    assert (await client.get("/")).text == "<h1>app</h1>"
    assert (await client.get("/docs/")).text == "<h1>docs</h1>"
    response = await client.get("/docs?a=1")
    assert (response.status_code, response.headers["location"]) == (307, "/docs/?a=1")


@pytest.mark.parametrize("path", ["/%2e%2e", "/%2e%2e/x", "/a/%2e%2e/%2e%2e/etc/passwd", "/%00"])
async def test_a_path_out_of_the_folder_is_refused(opened: Open, path: str) -> None:
    client = await opened(files=FILES)
    raw = httpx.URL(str(client.base_url)).copy_with(raw_path=path.encode())
    assert (await client.get(raw)).status_code == 400


async def test_other_methods_never_get_a_file(opened: Open) -> None:
    client = await opened(files=FILES)
    assert (await client.post("/hello")).status_code == 404


async def test_a_file_goes_before_a_function_unless_functions_go_first(opened: Open) -> None:
    function = function_entry("hello", methods=("GET", "POST"))
    client = await opened(function, files=FILES)
    assert (await client.get("/hello")).text == "a file"
    assert (await client.post("/hello")).json()["function"] == "hello"
    first = await opened(function, files=FILES, assets={"functions_first": True})
    assert (await first.get("/hello")).json()["function"] == "hello"
    assert (await first.get("/docs/")).text == "<h1>docs</h1>"


async def test_a_single_page_answers_for_pages_that_are_not_there(opened: Open) -> None:
    client = await opened(function_entry("users", "/users", methods=("POST",)), files=FILES, assets={"single_page": True})
    assert (await client.get("/some/page", headers={"accept": "text/html"})).text == "<h1>app</h1>"
    assert (await client.get("/users")).status_code == 405
    for path in ("/api/x", "/x.png", "/_fn/x"):
        assert (await client.get(path)).status_code == 404
    plain = await opened(files=FILES)
    assert (await plain.get("/some/page")).json()["error"] == "not found"


async def test_a_file_that_is_too_large_is_413(opened: Open) -> None:
    client = await opened(files=FILES, large="hello")
    response = await client.get("/hello")
    assert (response.status_code, response.json()["error"]) == (413, "asset too large")
    small = await opened(files=FILES, max_asset_bytes=5)
    assert (await small.get("/hello")).status_code == 413


async def test_a_file_that_the_store_lacks_is_503(opened: Open, net: Net) -> None:
    client = await opened(files=FILES)
    objects = await (await net.connect("registry")).objects(subjects.ASSET_STORE)
    await objects.delete(hashlib.sha256(FILES["hello"]).hexdigest())
    response = await client.get("/hello")
    assert (response.status_code, response.json()["error"], response.headers["retry-after"]) == (503, "asset unavailable", "1")


async def test_a_home_function_of_the_operator_goes_before_all_else(opened: Open) -> None:
    functions = (function_entry("start", "/begin"), function_entry("other"))
    for named in ("start", "/begin"):
        client = await opened(
            *functions,
            homes=(Home(path="/", target="/other"),),
            files=FILES,
            home_function=named,
            home_redirect="https://example.com",
        )
        assert (await client.get("/")).json() == {"function": "start", "path": "/"}


async def test_a_home_redirect_of_the_operator_goes_before_the_config(opened: Open) -> None:
    client = await opened(
        function_entry("other"),
        homes=(Home(path="/", target="/other"),),
        home_function="gone",
        home_redirect="https://a.example/x",
    )
    response = await client.get("/")
    assert (response.status_code, response.headers["location"]) == (302, "https://a.example/x")


async def test_a_home_of_the_config_goes_before_files(opened: Open) -> None:
    client = await opened(function_entry("other"), homes=(Home(path="/", target="/other"),), files=FILES)
    assert (await client.get("/")).json()["function"] == "other"
    redirected = await opened(homes=(Home(path="/", redirect="/docs/"),), files=FILES)
    response = await redirected.get("/")
    assert (response.status_code, response.headers["location"]) == (302, "/docs/")


async def test_a_home_that_leads_nowhere_is_passed_over(opened: Open) -> None:
    client = await opened(homes=(Home(path="/", target="/gone"),), files=FILES)
    assert (await client.get("/")).text == "<h1>app</h1>"


async def test_a_home_of_a_folder_answers_at_its_url(opened: Open) -> None:
    client = await opened(function_entry("start", "/portal/start"), homes=(Home(path="/portal", target="/portal/start"),))
    for path in ("/portal", "/portal/"):
        assert (await client.get(path)).json() == {"function": "start", "path": "/portal"}
    assert (await client.post("/portal")).status_code == 405


async def test_the_landing_page_lists_what_can_be_called(opened: Open) -> None:
    client = await opened(function_entry("shown"), function_entry("elsewhere", hosts=("api.example.com",)))
    response = await client.get("/")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert 'href="/shown"' in response.text
    assert "elsewhere" not in response.text
    assert (await client.post("/")).status_code == 404


async def test_there_is_nothing_at_the_root_when_there_are_no_functions(opened: Open) -> None:
    client = await opened()
    response = await client.get("/")
    assert (response.status_code, response.json()["error"]) == (404, "not found")


async def test_there_is_no_landing_page_when_the_operator_wants_none(opened: Open) -> None:
    client = await opened(function_entry("shown"), landing_page=False)
    assert (await client.get("/")).status_code == 404
