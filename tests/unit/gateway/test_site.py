"""Which static file or home a request is for, and how a file is answered."""

import pytest

from libs.messages.web import AssetFile, Assets, Home
from services.gateway.front import files, landing
from services.gateway.front.landing import Listed
from services.gateway.front.site import Site

FILES = tuple(
    AssetFile(path=path, digest=path, size=10, modified=1_000_000_000)
    for path in ("app.js", "docs/index.html", "index.html", "größe.txt")
)
PLAIN = Assets(index="i")
SINGLE = Assets(index="i", single_page=True)


def found(site: Site, path: str, raw: bytes = b"") -> str | None:
    file = site.find(path, raw or path.encode())
    return file.file.path if file is not None else None


@pytest.mark.parametrize(
    ("path", "raw", "expected"),
    [
        ("/", b"/", "index.html"),
        ("/app.js", b"/app.js", "app.js"),
        ("/app.js", b"/app.js/", None),
        ("/docs", b"/docs/", "docs/index.html"),
        ("/größe.txt", b"/gr%C3%B6%C3%9Fe.txt", "größe.txt"),
        ("/App.js", b"/App.js", None),
        ("/nothing", b"/nothing", None),
    ],
)
def test_a_path_leads_to_a_file(path: str, raw: bytes, expected: str | None) -> None:
    assert found(Site((), PLAIN, FILES), path, raw) == expected


def test_a_folder_without_slash_is_told_apart() -> None:
    site = Site((), PLAIN, FILES)
    without, with_slash, root = (site.find(path, raw) for path, raw in (("/docs", b"/docs"), ("/docs", b"/docs/"), ("/", b"/")))
    assert [each.folder for each in (without, with_slash, root) if each is not None] == [True, False, False]


@pytest.mark.parametrize(
    ("path", "accept", "mode", "falls_back"),
    [
        ("/some/page", "text/html", "navigate", True),
        ("/some/page", "", "", True),
        ("/some/page", "*/*", "", True),
        ("/some/page", "application/json", "", False),
        ("/some/page", "*/*", "cors", False),
        ("/some/page.png", "*/*", "", False),
        ("/api", "*/*", "", False),
        ("/api/users", "*/*", "", False),
        ("/api-v2/users", "*/*", "", False),
        ("/apiary", "*/*", "", True),
        ("/_fn/health", "*/*", "", False),
    ],
)
def test_a_single_page_answers_for_navigation_only(path: str, accept: str, mode: str, *, falls_back: bool) -> None:
    assert (Site((), SINGLE, FILES).fallback(path, accept=accept, mode=mode) is not None) is falls_back
    assert Site((), PLAIN, FILES).fallback(path, accept=accept, mode=mode) is None


def test_files_go_first_unless_functions_do_and_never_before_a_home() -> None:
    assert "/app.js" in Site((), PLAIN, FILES).first
    assert "/docs" in Site((), PLAIN, FILES).first
    assert not Site((), Assets(index="i", functions_first=True), FILES).first
    assert "/" not in Site([Home(path="/", target="x")], PLAIN, FILES).first


@pytest.mark.parametrize(
    ("path", "hashed"),
    [
        ("assets/index-4sK9dLxa.js", True),
        ("app.3f2a9c1b.css", True),
        ("chunk-0123456789abcdef.js", True),
        ("main-page-4sK9dLxa.js", True),
        ("index.html", False),
        ("jquery-3.7.1.min.js", False),
        ("report-20240101.pdf", False),
        ("annual-report2024.pdf", False),
        ("my-Download.js", False),
        ("x.deadbeef.js", False),
    ],
)
def test_a_name_with_a_hash_is_told_from_others(path: str, *, hashed: bool) -> None:
    assert files.is_hashed(path) is hashed


FILE = AssetFile(path="a.txt", digest="d" * 64, size=100, modified=1_000_000_000)
TAG = f'W/"{"d" * 32}"'
SAVED = "Sun, 09 Sep 2001 01:46:40 GMT"


def test_a_file_has_the_headers_of_a_file() -> None:
    plan = files.plan(FILE, {})
    assert (plan.status, plan.start, plan.end) == (200, 0, 100)
    assert dict(plan.headers) == {
        b"content-type": b"text/plain; charset=utf-8",
        b"cache-control": b"public, max-age=0, must-revalidate",
        b"etag": TAG.encode(),
        b"last-modified": SAVED.encode(),
        b"x-content-type-options": b"nosniff",
        b"accept-ranges": b"bytes",
    }


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": TAG}, 304),
        ({"if-none-match": TAG.removeprefix("W/")}, 304),
        ({"if-none-match": f'"x", {TAG}'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"'}, 200),
        ({"if-none-match": '"x"', "if-modified-since": SAVED}, 200),
        ({"if-modified-since": SAVED}, 304),
        ({"if-modified-since": "Sun, 09 Sep 2001 01:46:39 GMT"}, 200),
        ({"if-modified-since": "yesterday"}, 200),
    ],
)
def test_a_file_is_not_sent_again_to_who_has_it(headers: dict[str, str | list[str]], status: int) -> None:
    assert files.plan(FILE, headers).status == status


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-9", 206, (0, 10)),
        ("bytes=90-", 206, (90, 100)),
        ("bytes=-5", 206, (95, 100)),
        ("bytes=-500", 206, (0, 100)),
        ("bytes=50-500", 206, (50, 100)),
        ("bytes=100-", 416, (0, 0)),
        ("bytes=-0", 416, (0, 0)),
        ("bytes=9-1", 200, (0, 100)),
        pytest.param("bytes=" + "9" * 5000 + "-", 200, (0, 100), id="more digits than Python reads"),
        ("bytes=0-1,5-6", 200, (0, 100)),
        ("lines=1-2", 200, (0, 100)),
        ("bytes=-", 200, (0, 100)),
    ],
)
def test_a_part_of_a_file_is_sent_when_one_is_asked_for(wanted: str, status: int, part: tuple[int, int]) -> None:
    plan = files.plan(FILE, {"range": wanted})
    assert (plan.status, (plan.start, plan.end)) == (status, part)


def test_the_landing_page_lists_routes_and_links_those_that_can_be_followed() -> None:
    text = landing.page([Listed("/b/:id", ("GET",), "node"), Listed("/a<", ("GET", "POST"), "python")], docs=True).decode()
    assert "2 routes can be called here." in text
    assert '<a href="/a&lt;"><code>/a&lt;</code></a>' in text
    assert "GET, POST" in text
    assert "<code>/b/:id</code>" in text
    assert 'href="/b/:id"' not in text
    assert "<script" not in text
    assert "http" not in text


def test_the_landing_page_stays_small_when_there_are_thousands_of_routes() -> None:
    text = landing.page([Listed(f"/{at}", ("GET",), "node") for at in range(5000)], docs=False).decode()
    assert "5000 routes can be called here. The first 500 are listed." in text
    assert text.count("<tr><td>") == landing.MOST_ROUTES
