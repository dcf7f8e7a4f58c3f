"""What the gateway adds to answers for browsers: codings and cross-origin headers."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from libs.messages.catalog import FunctionEntry, Policy
from libs.messages.web import Cors
from libs.testing.buses import Net
from libs.testing.fakes import FakeExecutor, answer, function_entry, project
from libs.testing.wait import eventually
from services.gateway.assembly import Gateway

pytestmark = pytest.mark.parametrize("fast", [True, False], ids=["short way", "long way"])

APP = "https://app.example.com"

type Deploy = Callable[[FunctionEntry], Awaitable[None]]


@pytest.fixture
def deploy(net: Net, gateway: Gateway) -> Deploy:
    """Write a function into the catalogue and wait until the gateway has it."""

    async def write(function: FunctionEntry) -> None:
        await project(await net.connect("registry"), function)
        await eventually(lambda: gateway.catalogue.table.names.find(function.name, version="default") is not None)

    return write


@pytest.mark.parametrize("size", [1024, 200_000], ids=["at once", "in a thread"])
@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_a_text_is_coded_when_the_client_takes_that(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy, size: int, coding: str
) -> None:
    await deploy(function_entry("big"))
    body = b'"' + b"a" * (size - 2) + b'"'
    executor.behaviour = lambda _: answer(body, head=b'[["content-type","application/json"],["etag","\\"x\\""]]')
    response = await client.get("/big", headers={"accept-encoding": coding})
    assert (response.content, response.headers["content-encoding"], response.headers["vary"]) == (
        body,
        coding,
        "Accept-Encoding",
    )
    assert response.headers["etag"] == 'W/"x"'
    assert int(response.headers["content-length"]) < size
    plain = await client.get("/big", headers={"accept-encoding": "identity"})
    assert (plain.content, plain.headers.get("content-encoding"), plain.headers["vary"]) == (body, None, "Accept-Encoding")
    assert int(plain.headers["content-length"]) == size


@pytest.mark.parametrize(
    ("body", "head"),
    [
        (b"a" * 1023, b'[["content-type","text/plain"]]'),
        (b"a" * 5000, b'[["content-type","image/png"]]'),
        (b"a" * 5000, b'[["content-type","text/plain"],["content-encoding","identity"]]'),
        (b"a" * 5000, b'[["content-type","text/plain"],["cache-control","no-transform"]]'),
    ],
    ids=["small", "not a text", "coded already", "not to be transformed"],
)
async def test_an_answer_is_left_alone_when_coding_it_is_no_good(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy, body: bytes, head: bytes
) -> None:
    await deploy(function_entry("plain"))
    executor.behaviour = lambda _: answer(body, head=head)
    response = await client.get("/plain", headers={"accept-encoding": "gzip, br"})
    assert response.content == body
    assert response.headers.get("content-encoding") in (None, "identity")
    assert "vary" not in response.headers


async def test_a_head_request_gets_no_body_and_its_length(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy
) -> None:
    await deploy(function_entry("big"))
    executor.behaviour = lambda _: answer(b"a" * 50_000, head=b'[["content-type","text/plain"]]')
    response = await client.head("/big", headers={"accept-encoding": "gzip"})
    assert (response.content, response.headers["content-length"], response.headers["vary"]) == (b"", "50000", "Accept-Encoding")


async def test_a_preflight_is_answered_when_the_function_is_shared(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy
) -> None:
    await deploy(function_entry("api", methods=("GET", "PUT"), policy=Policy(cors=Cors(allow_origins=(APP,)))))
    asked = {"origin": APP, "access-control-request-method": "PUT", "access-control-request-headers": "x-token"}
    response = await client.options("/api", headers=asked)
    assert (response.status_code, response.headers["allow"]) == (204, "GET, PUT, HEAD, OPTIONS")
    assert response.headers["access-control-allow-origin"] == APP
    assert response.headers["access-control-allow-methods"] == "GET, PUT"
    assert response.headers["access-control-allow-headers"] == "x-token"
    assert response.headers["access-control-max-age"] == "600"
    for other in ({"access-control-request-method": "DELETE"}, {"origin": "https://evil.example"}):
        refused = await client.options("/api", headers=asked | other)
        assert refused.status_code == 204
        assert "access-control-allow-origin" not in refused.headers
    assert executor.invocations == []


async def test_answers_are_shared_when_the_policy_says_so_and_errors_too(
    client: httpx.AsyncClient, executor: FakeExecutor, deploy: Deploy
) -> None:
    policy = Policy(cors=Cors(allow_origins=(APP,), allow_credentials=True), max_body_bytes=10)
    await deploy(function_entry("api", methods=("POST",), policy=policy))
    for content, status in ((b"x", 200), (b"x" * 11, 413)):
        response = await client.post("/api", content=content, headers={"origin": APP})
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == APP
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["vary"] == "Origin"
    other = await client.post("/api", content=b"x", headers={"origin": "https://evil.example"})
    assert (other.status_code, "access-control-allow-origin" in other.headers) == (200, False)


async def test_nothing_is_shared_when_there_is_no_policy(client: httpx.AsyncClient, deploy: Deploy) -> None:
    await deploy(function_entry("own"))
    response = await client.get("/own", headers={"origin": APP})
    preflight = await client.options("/own", headers={"origin": APP, "access-control-request-method": "GET"})
    assert not [name for name in (*response.headers, *preflight.headers) if name.startswith("access-control")]
