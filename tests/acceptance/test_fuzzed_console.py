"""Every operation of the control plane, as its own document describes it, with requests that fit and requests that do not.

Whatever is sent, the answer is one that the document names, no server error, and JSON with an `error` when it is a refusal.
Values are made from the schemas of the document by Hypothesis, always the same ones.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from libs.testing.cluster import Cluster, running_cluster
from libs.testing.fastfn import FUNCTIONS
from libs.testing.hostile import write
from libs.testing.wait import eventually

pytestmark = pytest.mark.timeout(240)

SETTINGS = {
    "FN_DEFAULT_TIMEOUT_MS": "30000",
    "FN_OPENAPI_INCLUDE_INTERNAL": "1",
    "FN_CONSOLE_LOGIN_ENABLED": "1",
    "FN_CONSOLE_LOGIN_USERNAME": "ada",
    "FN_CONSOLE_LOGIN_PASSWORD": "right",
}
ENDLESS = {"/_fn/logs/stream"}
RUNS = {"/_fn/invoke"}
"""A function that gives no answer is a 502 or a 504 there, and no fault of the platform."""
EXAMPLES = 12
"""Of each operation, half of them requests that fit the document."""
ORDER = ("POST", "PUT", "PATCH", "GET", "DELETE")
"""Things are made first and removed last, so that the others have something to be about."""
NASTY = [
    "", " ", ".", "..", "../x", "a/../b", "/etc/passwd", "a\0b", "\n", "%00", "%2e%2e", "ä", "\u202e", "\ufb01", "\U0001d54f",
    "a" * 5000, "null", "0", "-1", "1e999", "true", "[]", "{}", "' or 1=1", "<script>", "${x}", "WHOLE", "Whole", "whole/", "*",
]  # fmt: skip
TARGETS = [
    {"runtime": "python", "name": "whole", "version": "v2"},
    {"runtime": "node", "name": "whole-js", "version": "default"},
    {"runtime": "python", "name": "made", "version": "default"},
    {"runtime": "python", "name": "made", "version": "v2"},
    {"runtime": "node", "name": "Made", "version": "default"},
    {"runtime": "python", "name": "acme/made", "version": "default"},
    {"runtime": "python", "name": "users/[id].py", "version": "default"},
    {"runtime": "lua", "name": "twin", "version": "made"},
]
"""What requests are about, all of one request about the same."""
KNOWN_VALUES: dict[str, list[str]] = {
    "path": ["handler.py", "fn.config.json", "fn.env.json", "lib/a.txt", "v2/handler.py"],
    "key": ["API_KEY", "A.b-c"],
    "alias": ["stable", "default", "v2"],
    "code": ["def handler(event):\n    return 1\n", "exports.handler = () => 1;\n", "not ( code"],
    "method": ["GET", "POST", "put"],
    "route": ["/whole", "/users/:id", "/users/7"],
    "username": ["ada"],
    "password": ["right"],
}
FREE: dict[str, list[Any]] = {
    "/_fn/function": [
        {}, {"methods": ["POST"]}, {"code": "x = 1"}, {"route": "/made"}, {"filename": "main.py"}, {"methods": 5}, {"code": 5},
    ],
    "/_fn/function-config": [
        {"timeout_ms": 90000}, {"invoke": {"routes": ["/made"]}}, {"schedule": {"every_seconds": 86400}}, {"routes": []},
        {"worker_pool": {"max_queue": 2}}, {"invoke": {"schema": {"body": {"$ref": "#"}}}}, {"edge": {"base_url": 5}},
    ],
    "/_fn/function-env": [
        {"A": "1"}, {"A": None}, {"A": {"value": "x", "is_secret": True}}, {"A": []}, {"": "x"}, {"A=B": "x"}, {"A\0": "\0"},
    ],
}  # fmt: skip
"""Bodies of which the document only says that they are objects."""


class Operation(NamedTuple):
    """What may be asked, and what may be answered."""

    method: str
    path: str
    parameters: list[dict[str, Any]]
    body: dict[str, Any] | None
    statuses: frozenset[int]


@pytest.fixture(scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A platform of its own: what is sent changes functions, secrets and switches."""
    folder = write(tmp_path_factory.mktemp("functions"), FUNCTIONS)
    async with running_cluster(tmp_path_factory.mktemp("fuzzed"), folder, settings=SETTINGS) as cluster:
        yield cluster


@pytest.fixture(scope="module")
async def operations(platform: Cluster) -> list[Operation]:
    async with httpx.AsyncClient(base_url=platform.url, timeout=60) as client:

        async def document() -> dict[str, Any] | None:
            found = (await client.get("/openapi.json")).json()
            return found if "/whole" in found["paths"] else None

        found = await eventually(document)
        job = (await client.post("/_fn/jobs", json={"name": "whole"})).json()["id"]
    assert found is not None
    KNOWN_VALUES["id"] = [job, f"{job}@1", "swagger-ui.css"]
    every = [each for each in _internal(found) if each.path not in ENDLESS]
    return sorted(every, key=lambda each: (ORDER.index(each.method), each.path))


def _internal(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method, said in item.items():
            if "internal" in said["tags"]:
                content = said.get("requestBody", {}).get("content", {})
                schema = content["application/json"].get("schema", {}) if content else None
                statuses = frozenset(map(int, said["responses"]))
                yield Operation(method.upper(), path, said.get("parameters", []), schema, statuses)


def fitting(schema: dict[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """Return values of a schema: of the few kinds that the document has."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema.get("type", ["string", "integer", "object"])
    several: list[str] = cast("list[str]", kinds) if isinstance(kinds, list) else [str(kinds)]
    return st.one_of([_of_kind(kind, schema, name) for kind in several])


def _of_kind(kind: str, schema: dict[str, Any], name: str) -> st.SearchStrategy[Any]:
    match kind:
        case "string":
            known = KNOWN_VALUES.get(name, [])
            return st.sampled_from(known) if known else st.text(max_size=20)
        case "integer":
            return st.integers(schema.get("minimum", -5), schema.get("maximum", 2**40))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(fitting(schema.get("items", {})), max_size=3)
        case _:
            members = schema.get("properties", {})
            required = schema.get("required", [])
            more = schema.get("additionalProperties", {"type": "string"})
            if not members:
                return st.dictionaries(
                    st.sampled_from(["a", "default", "v2", "python/made/handler.py"]), fitting(more), max_size=3
                )
            return st.fixed_dictionaries(
                {each: fitting(members[each], each) for each in required},
                optional={each: fitting(said, each) for each, said in members.items() if each not in required},
            )


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(NASTY) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "put", "a", "", "..", *NASTY]), inner, max_size=3)
    ),
    max_leaves=5,
)
_TEXTS = st.sampled_from(NASTY) | st.text(max_size=12)


@st.composite
def requests_of(draw: st.DrawFn, operation: Operation, *, fit: bool) -> httpx.Request:
    """Return a request, without an address."""
    path, query = operation.path, list[tuple[str, str]]()
    target: dict[str, str] = draw(st.sampled_from(TARGETS))
    for parameter in operation.parameters:
        name, schema = parameter["name"], parameter["schema"]
        spoiled = not fit and draw(st.integers(0, 3)) == 0
        value = draw(_TEXTS) if spoiled else target[name] if name in target else draw(fitting(schema, name))
        text = value if isinstance(value, str) else json.dumps(value)
        if parameter["in"] == "path":
            path = path.replace(f"{{{name}}}", quote(text or "x", safe=""))
        elif parameter.get("required") or draw(st.booleans()):
            query.append((name, text))
    headers = {} if fit else draw(st.sampled_from([{}, {"if-match": "x"}, {"if-match": '"1"'}, {"content-type": "text/plain"}]))
    content: bytes | None = None
    if operation.body is not None:
        free = FREE.get(operation.path)
        whole = st.sampled_from(free) if free else fitting(operation.body)
        value: object = draw(whole if fit else whole | _ANYTHING)
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            if "name" in fields and operation.body.get("properties", {}).keys() >= target.keys():
                fields |= target
            if fields and not fit:
                fields[draw(st.sampled_from(sorted(fields)))] = draw(_ANYTHING)
            value = fields
        content = json.dumps(value).encode()
        if not fit and draw(st.integers(0, 3)) == 0:
            content = draw(
                st.binary(max_size=20)
                | st.just(b"[" * 2000)
                | st.just(b"\xff\xfe{}")
                | st.just(b'{"name": "\\ud800"}')
                | st.just(b"")
            )
    url = httpx.URL(f"http://fnbus{path}", params=query) if query else httpx.URL(f"http://fnbus{path}")
    return httpx.Request(operation.method, url, headers=headers, content=content)


@pytest.mark.parametrize("fit", [True, False], ids=["fitting", "wrong"])
async def test_every_operation_answers_as_its_document_says(platform: Cluster, operations: list[Operation], fit: bool) -> None:
    def run() -> None:
        with httpx.Client(base_url=platform.url, timeout=60) as client:
            for operation in operations:
                _hold(client, operation, fit=fit)
                if operation.path == "/_fn/ui-state":
                    assert client.delete("/_fn/ui-state").status_code == 200

    await anyio.to_thread.run_sync(run)


def _hold(client: httpx.Client, operation: Operation, *, fit: bool) -> None:
    @settings(
        max_examples=EXAMPLES // 2 if operation.parameters or operation.body is not None else 2,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
    )
    @given(request=requests_of(operation, fit=fit))
    def hold(request: httpx.Request) -> None:
        answer = client.request(
            request.method,
            client.base_url.copy_with(raw_path=request.url.raw_path),
            headers={name: value for name, value in request.headers.items() if name in ("if-match", "content-type")},
            content=request.content or None,
        )
        told = f"{request.method} {request.url} {request.content[:200]!r}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code < 500 or (operation.path in RUNS and answer.status_code in (502, 504)), told
        assert answer.status_code in operation.statuses, told
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/json", told
            assert re.fullmatch(r"\S.*", answer.json()["error"], re.DOTALL), told
        assert str(Path.cwd()) not in answer.text, told

    hold()


@pytest.fixture
async def client(platform: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=platform.url, timeout=120, verify=False) as made:
        yield made


async def upload(client: httpx.AsyncClient, files: dict[str, str], **more: Any) -> httpx.Response:
    return await client.put("/_fn/files", json={"put": {path: {"content": text} for path, text in files.items()}, **more})


def everything(platform: Cluster) -> dict[str, bytes]:
    """Return all files of the functions, and of what lies beside their folder."""
    inside = {str(path): path.read_bytes() for path in platform.functions.rglob("*") if path.is_file()}
    return inside | {str(path): b"" for path in platform.functions.parent.iterdir() if path.name != ".lock"}


UNFIT_PATHS = (
    "", "/", ".", "..", "../up.py", "a/../../up.py", "a/..", "/etc/up.py", "a//b.py", "./a.py", "a/./b.py", "a/", "a\0b.py",
    "a\nb.py", "a\\b.py", "..\\up.py", "a/" * 200 + "b.py", "x" * 300 + ".py", ".git/config", "a/.ssh/key", ".fnbus/x",
    "caf\u00e9.py", "cafe\u0301.py", "\u202ea.py", "\ufb01.py", "a\u0000.py", "C:\\x.py", "a:b.py", "node_modules/../../x.py",
    " ", " a.py",
)  # fmt: skip


async def test_upload_whose_path_leads_elsewhere_is_refused_whole(platform: Cluster, client: httpx.AsyncClient) -> None:
    before = everything(platform)

    for path in UNFIT_PATHS:
        for answer in (
            await upload(client, {"get.fits.py": "def handler(event):\n    return 1\n", path: "x = 1"}),
            await client.put("/_fn/files", json={"remove": [path]}),
        ):
            assert answer.status_code == 400, (path, answer.text)
            assert "invalid path" in answer.json()["error"], (path, answer.text)
    assert everything(platform) == before


@pytest.mark.parametrize(
    "files",
    [
        {"clash.py": "a = 1", "Clash.py": "a = 2"},
        {"clash/a.py": "a = 1", "clash": "a = 2"},
        {"clash": "a = 2", "clash/a.py": "a = 1"},
        {"clash/a.py": "a = 1", "CLASH/b.py": "a = 2"},
        {"get.fresh2.py": "a = 1", "python/fresh": "a = 2"},
        {"get.fresh2.py": "a = 1", "python/fresh/handler.py/a.py": "a = 2"},
    ],
    ids=["case", "folder", "file", "case of a folder", "folder that is there", "file that is there"],
)
async def test_upload_whose_names_clash_is_taken_or_refused_whole(
    platform: Cluster, client: httpx.AsyncClient, files: dict[str, str]
) -> None:
    before = everything(platform)

    answer = await upload(client, files)

    assert answer.status_code in (200, 400, 409), answer.text
    if answer.status_code == 200:
        assert set(answer.json()["changed"]) == set(files)
        assert (await client.put("/_fn/files", json={"remove": list(files)})).status_code == 200
    assert everything(platform) == before


async def test_upload_that_is_too_much_is_refused(platform: Cluster, client: httpx.AsyncClient) -> None:
    async def huge() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1024 * 1024

    before = everything(platform)
    large = await upload(client, {"large.bin": "x" * (3 * 1024 * 1024)})
    whole = await client.put("/_fn/files", content=b" " * (64 * 1024 * 1024))
    streamed = await client.put("/_fn/files", content=huge())
    assert [answer.status_code for answer in (large, whole, streamed)] == [400, 413, 413]
    assert everything(platform) == before


async def test_ten_thousand_files_are_too_many_at_once(platform: Cluster, client: httpx.AsyncClient) -> None:
    before = everything(platform)

    answer = await upload(client, {f"many/_lib/m{at // 500}/f{at}.txt": "x" for at in range(10_000)})

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("a change may name ")
    assert everything(platform) == before
    assert (await client.get("/fresh")).text == "fresh"


async def test_links_are_neither_read_nor_written_through(platform: Cluster, client: httpx.AsyncClient, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("outside")
    folder = platform.functions / "python" / "returns"
    (folder / "link.txt").symlink_to(outside)
    (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
    target = "runtime=python&name=returns"
    await client.post("/_fn/reload")
    try:
        for path in ("link.txt", "linked/outside.txt"):
            shown = await client.get(f"/_fn/function-file-content?{target}&path={path}")
            put = await client.put(f"/_fn/function-file-content?{target}", json={"path": path, "content": "changed"})
            tree = await upload(client, {f"python/returns/{path}": "changed"})
            assert "outside" not in shown.json().get("content", ""), shown.text
            assert [each.status_code for each in (shown, put, tree)] == [404, 400, 400], (shown.text, put.text, tree.text)
        assert outside.read_text() == "outside"
    finally:
        (folder / "link.txt").unlink()
        (folder / "linked").unlink()
