"""The documentation that a gateway serves: the document, where it is, and what it gives way to."""

import asyncio
import re
import shutil
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from libs.messages import subjects
from libs.messages.catalog import Interface
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, function_entry, project
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway


@pytest.fixture
async def hello(net: Net, gateway: Gateway) -> None:
    """A function."""
    await project(await net.connect("registry"), function_entry("hello", "/hello/:name"))
    await eventually(lambda: gateway.catalogue.meta is not None)


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize("path", ["/openapi.json", "/_fn/openapi.json"])
async def test_document_is_there_and_valid(client: httpx.AsyncClient, path: str) -> None:
    got = await client.get(path)
    assert (got.status_code, got.headers["content-type"]) == (200, "application/json")
    made = got.json()
    OpenAPIV31SpecValidator(made).validate()
    assert (made["openapi"], made["info"]) == ("3.1.0", {"title": "fastfn API", "version": "1.0.0"})
    assert list(made["paths"]) == ["/hello/{name}"]
    assert made["servers"] == [{"url": str(client.base_url).rstrip("/")}]


@pytest.mark.usefixtures("hello")
async def test_document_follows_the_catalogue(client: httpx.AsyncClient, net: Net) -> None:
    async def paths() -> list[str]:
        return list((await client.get("/openapi.json")).json()["paths"])

    assert await paths() == ["/hello/{name}"]
    registry = await net.connect("registry")
    await project(registry, function_entry("more"))
    await eventually(lambda: _holds(paths, ["/hello/{name}", "/more"]))
    bucket = await registry.bucket(subjects.CATALOG_BUCKET)
    await bucket.delete(subjects.catalog_key(namespace="default", runtime="python", function="hello"))
    await eventually(lambda: _holds(paths, ["/more"]))


async def _holds(paths: Any, expected: list[str]) -> bool:
    return await paths() == expected


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize("forwarded", ["x-forwarded-host", "x-forwarded-proto"])
async def test_server_is_not_what_a_stranger_says_it_is(client: httpx.AsyncClient, forwarded: str) -> None:
    made = (await client.get("/openapi.json", headers={forwarded: "https"})).json()
    assert made["servers"] == [{"url": str(client.base_url).rstrip("/")}]


@pytest.mark.usefixtures("hello")
async def test_server_is_relative_when_the_host_can_be_none(client: httpx.AsyncClient) -> None:
    made = (await client.get("/openapi.json", headers={"host": 'evil"<script>'})).json()
    assert made["servers"] == [{"url": "/"}]


async def test_pages_give_way_to_functions_of_the_same_path(client: httpx.AsyncClient, net: Net, gateway: Gateway) -> None:
    own = function_entry("own", "/docs", "/openapi.json", "/system/metrics")
    await project(await net.connect("registry"), own)
    await eventually(lambda: gateway.catalogue.meta is not None)
    for path in ("/docs", "/openapi.json", "/system/metrics"):
        assert (await client.get(path)).json() == {"ok": True}
    made = (await client.get("/_fn/openapi.json")).json()
    assert "/docs" in made["paths"]


@pytest.mark.usefixtures("hello")
async def test_health_is_at_both_of_its_addresses(client: httpx.AsyncClient) -> None:
    got = await client.get("/system/metrics")
    assert got.status_code == 200
    assert got.json().keys() == (await client.get("/_fn/health")).json().keys()


@pytest.mark.usefixtures("hello")
async def test_document_takes_no_other_method(client: httpx.AsyncClient) -> None:
    got = await client.post("/openapi.json")
    assert (got.status_code, got.json()["error"], got.headers["allow"]) == (405, "method not allowed", "GET")


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize("chosen", [{"docs_enabled": False}])
@pytest.mark.parametrize("path", ["/openapi.json", "/_fn/openapi.json", "/docs", "/_fn/docs", "/_fn/docs/swagger-ui.css"])
async def test_documents_are_not_there_when_they_are_switched_off(client: httpx.AsyncClient, path: str) -> None:
    got = await client.get(path)
    assert (got.status_code, got.json()["error"]) == (404, "docs disabled")


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize("chosen", [{"openapi_include_internal": True, "public_base_url": "https://api.example.com/"}])
async def test_document_tells_what_the_settings_say(client: httpx.AsyncClient) -> None:
    made = (await client.get("/openapi.json")).json()
    OpenAPIV31SpecValidator(made).validate()
    assert made["servers"] == [{"url": "https://api.example.com"}]
    assert "connect-src 'self' https://api.example.com;" in (await client.get("/docs")).headers["content-security-policy"]
    assert "/_fn/jobs/{id}/result" in made["paths"]
    assert [tag["name"] for tag in made["tags"]] == ["functions", "internal"]


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize("chosen", [{"trusted_proxies": (ip_network("127.0.0.0/8"),)}])
async def test_server_is_what_a_trusted_proxy_says_it_is(client: httpx.AsyncClient) -> None:
    headers = {"x-forwarded-host": "evil.example, api.example.com", "x-forwarded-proto": "https"}
    made = (await client.get("/openapi.json", headers=headers)).json()
    assert made["servers"] == [{"url": "https://api.example.com"}]


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize("path", ["/docs", "/_fn/docs"])
async def test_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient, path: str) -> None:
    got = await client.get(path)
    assert (got.status_code, got.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in got.headers["content-security-policy"]
    named = re.findall(r'(?:src|href|data-url)="([^"]+)"', got.text)
    assert len(named) == 5
    for each in named:
        assert not each.startswith(("/", "http"))
        found = await client.get(urljoin(str(got.url), each))
        assert found.status_code == 200
    style = await client.get("/_fn/docs/swagger-ui.css")
    again = await client.get("/_fn/docs/swagger-ui.css", headers={"if-none-match": style.headers["etag"]})
    assert (style.headers["content-type"], again.status_code) == ("text/css; charset=utf-8", 304)


@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize("name", ["nothing.js", "__init__.py", "..%2f__init__.py"])
async def test_page_has_no_other_files(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/_fn/docs/{name}")).status_code == 404


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("hello")
@pytest.mark.parametrize("net", ["memory"], indirect=True)
@pytest.mark.parametrize("path", ["/docs", "/_fn/docs"])
async def test_page_shows_the_functions_in_a_browser(client: httpx.AsyncClient, path: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on PATH")
    process = await asyncio.create_subprocess_exec(
        browser,
        *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"),
        *("--virtual-time-budget=30000", "--dump-dom", str(client.base_url.join(path))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    shown, said = await process.communicate()
    assert "/hello/{name}" in shown.decode().replace("<wbr>", "").replace("\u200b", ""), said.decode()
    assert b"Content Security Policy" not in said, said.decode()


@pytest.mark.parametrize("fast", [True, False])
async def test_request_that_a_schema_refuses_never_reaches_the_function(
    client: httpx.AsyncClient, net: Net, gateway: Gateway, executor: FakeExecutor
) -> None:
    entry = function_entry("strict", methods=("POST",))
    said = Interface(body_schema='{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}')
    versions = tuple(replace(version, interface=said) for version in entry.versions)
    await project(await net.connect("registry"), replace(entry, versions=versions))
    await eventually(lambda: gateway.catalogue.meta is not None)
    for path, wrong in (("/strict", {"n": "x"}), ("/_fn/invoke", {"name": "strict", "method": "POST", "body": {"n": "x"}})):
        refused = await client.post(path, json=wrong)
        assert (refused.status_code, refused.json()["place"]) == (400, "body.n")
        assert refused.json()["error"] == 'invalid request: body.n: "x" is not of type "integer"'
    assert executor.invocations == []
    assert (await client.post("/strict", json={"n": 1})).json() == {"ok": True}
    assert executor.invocations[0].body == b'{"n":1}'
