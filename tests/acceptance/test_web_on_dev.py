"""Static files and the edge proxy as a user has them: `fnbus dev` on a folder, files saved while it runs, an origin elsewhere.

What functions ask the gateway to fetch is tried in the spellings by which private addresses are reached past a guard.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from libs.testing.hostile import write
from libs.testing.origin import OK, Origin, origin
from libs.testing.wait import eventually
from tests.acceptance.running_dev import Dev, running

_FETCH = """
def handler(event):
    return {"proxy": {"url": event["query"]["url"], "headers": {"x-mine": "1", "host": "forged.example"}}}
"""
_BASE = (
    'exports.handler = (event) => ({ proxy: { path: event.query.path || "/v1/items?a=1", method: "POST", body: "sent" } });\n'
)
_PAGE = "<!doctype html><title>app</title>"

PRIVATE = (
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://LOCALHOST:{port}/", "http://localhost.:{port}/",
    "http://127.1:{port}/", "http://2130706433:{port}/", "http://0x7f000001:{port}/", "http://0x7f.0.0.1:{port}/",
    "http://017700000001:{port}/", "http://0177.0.0.1:{port}/", "http://0:{port}/", "http://0.0.0.0:{port}/",
    "http://[::1]:{port}/", "http://[::]:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/", "http://[64:ff9b::7f00:1]:{port}/", "http://[2002:7f00:1::]:{port}/",
    "http://[fd00::1]:{port}/", "http://[fe80::1]:{port}/", "http://[fe80::1%25lo]:{port}/", "http://10.0.0.1:{port}/",
    "http://192.168.0.1:{port}/", "http://172.16.0.1:{port}/", "http://100.64.0.1:{port}/", "http://169.254.169.254/latest/",
    "http://\uff11\uff12\uff17.0.0.1:{port}/", "http://127\u30020\u30020\u30021:{port}/", "http://\u2460\u2461\u2466.0.0.1:{port}/",
    "http://public.example@127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@public.example/", "http://user:pw@localhost:{port}/",
)  # fmt: skip


@pytest.fixture(scope="module")
async def there() -> AsyncIterator[Origin]:
    """A server on this machine."""

    def answer(line: str) -> bytes:
        if line.startswith("get /redirects "):
            return b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/inner\r\ncontent-length: 0\r\n\r\n"
        return OK

    async with origin(answer) as made:
        yield made


@pytest.fixture(scope="module")
async def dev(tmp_path_factory: pytest.TempPathFactory, there: Origin) -> AsyncIterator[Dev]:
    allowed = json.dumps({"edge": {"base_url": there.url, "allow_private": True}, "timeout_ms": 20000})
    files = {
        "fn.config.json": '{"assets": {"directory": "public", "not_found_handling": "single-page-application"}}',
        "public/index.html": _PAGE,
        "public/app.3f2a9c1b.css": "body {}",
        "public/.hidden": "no",
        "public/data/list.json": "[1]",
        "python/fetch/handler.py": _FETCH,
        "python/fetch/fn.config.json": '{"edge": {}, "timeout_ms": 20000}',
        "python/listed/handler.py": _FETCH,
        "python/listed/fn.config.json": (
            '{"edge": {"allow_hosts": ["*.example.com"], "allow_private": true}, "timeout_ms": 20000}'
        ),
        "python/closed/handler.py": _FETCH,
        "python/closed/fn.config.json": '{"timeout_ms": 20000}',
        "api/fn.config.json": '{"timeout_ms": 20000}',
        "node/based/handler.js": _BASE,
        "node/based/fn.config.json": allowed,
        "python/inner/handler.py": _FETCH,
        "python/inner/fn.config.json": allowed,
        "api/get.hello.py": "def handler(event):\n    return 'hello'\n",
    }
    folder = write(tmp_path_factory.mktemp("web") / "functions", files)
    async with running(folder, folder.parent / "state") as made:
        yield made


@pytest.fixture
async def web(dev: Dev) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=dev.url, timeout=60, verify=False) as made:
        yield made


async def test_files_are_served_with_what_caches_need(web: httpx.AsyncClient) -> None:
    page, hashed = await web.get("/"), await web.get("/app.3f2a9c1b.css")

    assert (page.status_code, page.text) == (200, _PAGE)
    assert page.headers["cache-control"] == "public, max-age=0, must-revalidate"
    assert page.headers["etag"].startswith('W/"')
    assert "immutable" in hashed.headers["cache-control"]
    known = await web.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    since = await web.get("/", headers={"if-modified-since": page.headers["last-modified"]})
    assert since.status_code == 304
    head = await web.head("/data/list.json")
    assert (head.content, head.headers["content-length"]) == (b"", "3")


async def test_single_page_answers_for_navigation_only(web: httpx.AsyncClient) -> None:
    browser = {"accept": "text/html,*/*;q=0.8", "sec-fetch-mode": "navigate"}

    assert (await web.get("/some/where", headers=browser)).text == _PAGE
    assert (await web.get("/api/hello", headers=browser)).text == "hello"
    for path in ("/api/nothing", "/api-v2", "/missing.js"):
        assert (await web.get(path, headers=browser)).status_code == 404
    assert (await web.post("/some/where", headers=browser)).status_code == 404


@pytest.mark.parametrize(
    "path", ["/.hidden", "/%2ehidden", "/../fn.config.json", "/%2e%2e/fn.config.json", "/data/..%2f..%2ffn.config.json",
             "/data/%2e%2e/%2e%2e/python/fetch/handler.py", "/public/index.html", "/fn.config.json", "/python/fetch/handler.py",
             "/data%00/list.json", "/data\\..\\..\\fn.config.json", "//etc/passwd"],
)  # fmt: skip
async def test_nothing_but_the_files_of_its_folder_is_served(web: httpx.AsyncClient, path: str) -> None:
    answer = await web.get(web.base_url.copy_with(raw_path=path.encode()), headers={"accept": "application/json"})

    assert answer.status_code in (400, 404), (path, answer.status_code, answer.text)
    assert "assets" not in answer.text


async def test_saved_file_is_served_and_a_removed_one_is_not(dev: Dev, web: httpx.AsyncClient) -> None:
    folder = dev.functions / "public"
    (folder / "later.txt").write_text("later")

    async def is_there() -> bool:
        return (await web.get("/later.txt")).text == "later"

    await eventually(is_there)
    (folder / "later.txt").unlink()

    async def is_gone() -> bool:
        return (await web.get("/later.txt")).status_code == 404

    await eventually(is_gone)


async def test_link_that_leads_out_of_the_folder_is_not_served(dev: Dev, web: httpx.AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = dev.functions / "public"
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
    (folder / "after.txt").write_text("after")

    async def is_read() -> bool:
        return (await web.get("/after.txt")).text == "after"

    await eventually(is_read)
    for path in ("/link.txt", "/linked/secret.txt"):
        assert (await web.get(path)).status_code == 404
    for made in ("link.txt", "linked", "after.txt"):
        (folder / made).unlink()


async def test_function_s_answer_is_what_was_fetched_for_it(web: httpx.AsyncClient, there: Origin) -> None:
    answer = await web.get("/based", headers={"cookie": "mine=1", "authorization": "Bearer mine"})

    assert (answer.status_code, answer.text) == (200, "ok")
    head, body = there.requests[-1]
    assert (head.splitlines()[0], body) == ("post /v1/items?a=1 http/1.1", b"sent")
    assert "mine" not in head
    assert f"host: 127.0.0.1:{there.port}" in head


async def test_headers_that_a_function_sets_are_sent_but_for_the_host(web: httpx.AsyncClient, there: Origin) -> None:
    assert (await web.get("/inner", params={"url": f"{there.url}/x"})).text == "ok"

    head, _ = there.requests[-1]
    assert "x-mine: 1" in head
    assert "forged" not in head


@pytest.mark.parametrize("function", ["fetch", "listed"])
async def test_no_spelling_of_a_private_address_is_fetched(web: httpx.AsyncClient, there: Origin, function: str) -> None:
    before = there.connections

    for url in PRIVATE:
        answer = await web.get(f"/{function}", params={"url": url.format(port=there.port)})
        assert answer.status_code == 502, (url, answer.status_code, answer.text)
        assert answer.json()["error"].startswith("edge proxy failed: "), (url, answer.text)
    assert there.connections == before


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "http://[::ffff:169.254.169.254]/"]
)
async def test_addresses_of_credentials_are_refused_where_private_ones_are_allowed(web: httpx.AsyncClient, url: str) -> None:
    answer = await web.get("/inner", params={"url": url})

    assert answer.status_code == 502
    assert answer.json()["error"] in ("edge proxy failed: private host not allowed", "edge proxy failed: host not in allowlist")


async def test_redirect_to_a_private_address_is_passed_on_and_not_followed(web: httpx.AsyncClient, there: Origin) -> None:
    answer = await web.get("/inner", params={"url": f"{there.url}/redirects"})

    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:1/inner")


async def test_gateway_does_not_ask_its_own_control_plane(web: httpx.AsyncClient) -> None:
    for path in (
        "/_fn/catalog", "/_FN/catalog", "/%5ffn/catalog", "//_fn/catalog", "/a/../_fn/catalog", "/console", "/%2e/_fn/health",
        "/_fn%2fhealth", "/x/%2e%2e/_fn/health", "/%255ffn/health", "\\_fn\\health",
    ):  # fmt: skip
        answer = await web.get("/based", params={"path": path})
        assert answer.status_code == 502, (path, answer.text)
        assert "control-plane path not allowed" in answer.json()["error"] or "path" in answer.json()["error"], path


async def test_function_without_the_policy_fetches_nothing(web: httpx.AsyncClient, there: Origin) -> None:
    answer = await web.get("/closed", params={"url": there.url})

    assert (answer.status_code, answer.json()["error"]) == (502, "edge proxy disabled for this function")
    wrong = await web.get("/listed", params={"url": "http://example.org/"})
    assert wrong.json()["error"] == "edge proxy failed: host not in allowlist"
    for url in (
        "ftp://a.example.com/",
        "file:///etc/passwd",
        "gopher://a.example.com/",
        "//a.example.com/",
        "http://",
        "http://a b/",
    ):
        answer = await web.get("/listed", params={"url": url})
        assert (answer.status_code, answer.json()["error"].startswith("edge proxy failed: ")) == (502, True), url
