"""Handlers that misbehave: what their callers notice, and that nobody else notices anything."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from libs.testing.beacon import Beacon
from libs.testing.cluster import Cluster
from libs.testing.wait import eventually

ALL_BYTES = bytes(range(256))
MEBIBYTE = ALL_BYTES * 4096


async def active(http: httpx.AsyncClient, name: str) -> int:
    """Return how many slots of a function the gateway holds taken."""
    states = (await http.get("/_fn/health")).json()["functions"]["states"]
    return sum(state["worker_pool"]["active"] for state in states if state["name"] == name)


async def is_free(http: httpx.AsyncClient, name: str) -> bool:
    return await active(http, name) == 0


@pytest.mark.parametrize(("path", "text"), [("/raises", "boom ✓ xxxxxxxxxx"), ("/raises-js", "boom")])
async def test_handler_that_raises_is_500_with_its_message(http: httpx.AsyncClient, path: str, text: str) -> None:
    answer = await http.get(path)

    assert (answer.status_code, answer.json()["error"]) == (500, text)


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("/broken", ("get.broken.py:3", "SyntaxError")),
        ("/broken-js", ("get.broken-js.js:2", "SyntaxError")),
        ("/imports", ("get.imports.py:2", "nothing_of_this_name")),
        ("/no-handler", ("get.no-handler.py", "handler")),
    ],
)
async def test_file_that_cannot_be_loaded_is_named_with_its_line_while_others_go_on(
    http: httpx.AsyncClient, path: str, texts: tuple[str, ...]
) -> None:
    answer = await http.get(path)

    assert answer.status_code == 500
    assert all(text in answer.json()["error"] for text in texts), answer.text
    assert (await http.get("/fine")).text == "fine"


async def test_file_that_ends_its_process_while_it_loads_is_a_502(http: httpx.AsyncClient) -> None:
    answer = await http.get("/dies-at-load")

    assert answer.status_code == 502
    assert "exit code 7" in answer.json()["error"]


@pytest.mark.parametrize("what", ["status", "range", "huge", "headers", "newline", "name", "nul", "base64"])
async def test_answer_that_is_none_is_a_502_and_adds_no_header(http: httpx.AsyncClient, what: str) -> None:
    answer = await http.get("/nonsense", params={"what": what})

    assert (answer.status_code, answer.json()["error"]) == (502, "invalid runtime response")
    assert not {"x-one", "x-two"} & answer.headers.keys()


@pytest.mark.parametrize("what", ["status", "range", "newline"])
async def test_answer_that_is_none_is_a_502_in_node(http: httpx.AsyncClient, what: str) -> None:
    answer = await http.get("/nonsense-js", params={"what": what})

    assert (answer.status_code, answer.json()["error"]) == (502, "invalid runtime response")
    assert not {"x-one", "x-two"} & answer.headers.keys()


@pytest.mark.parametrize(
    ("path", "what"), [("/nonsense", "object"), ("/nonsense", "loop"), ("/nonsense-js", "loop"), ("/nonsense-js", "bigint")]
)
async def test_value_without_a_json_form_is_a_500_that_says_so(http: httpx.AsyncClient, path: str, what: str) -> None:
    answer = await http.get(path, params={"what": what})

    assert answer.status_code == 500
    assert "cannot be written" in answer.json()["error"]


async def test_handler_cannot_frame_the_answer_itself(http: httpx.AsyncClient) -> None:
    answer = await http.get("/nonsense", params={"what": "framing"})

    assert (answer.status_code, answer.text) == (200, "whole")
    assert answer.headers["content-length"] == "5"
    assert "transfer-encoding" not in answer.headers


async def test_handler_cannot_forge_what_the_gateway_says(http: httpx.AsyncClient) -> None:
    answer = await http.get("/nonsense", params={"what": "forged"}, headers={"x-request-id": "mine-1"})

    assert answer.headers.get_list("x-request-id") == ["mine-1"]
    assert len(answer.headers.get_list("traceparent")) == 1
    assert answer.headers["traceparent"] != "y"


@pytest.mark.parametrize("path", ["/nonsense", "/nonsense-js"])
async def test_list_of_cookies_is_a_header_for_each(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, params={"what": "cookies"})

    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]


@pytest.mark.parametrize(
    ("path", "how", "text"),
    [
        ("/exits", "_exit", "exit code 3"),
        ("/exits", "clean", "exit code 0"),
        ("/exits", "kill", "signal 9"),
        ("/exits", "segv", "signal 11"),
        ("/exits-js", "exit", "exit code 3"),
        ("/exits-js", "kill", "signal 9"),
        ("/exits-js", "abort", "signal 6"),
    ],
)
async def test_handler_that_ends_its_process_is_a_502_and_the_next_call_works(
    http: httpx.AsyncClient, path: str, how: str, text: str
) -> None:
    answer = await http.get(path, params={"how": how})

    assert answer.status_code == 502
    assert answer.json()["error"].startswith("runtime error: ")
    assert text in answer.json()["error"]
    assert (await http.get(path, params={"how": "not"})).json() == {"how": "not"}


@pytest.mark.parametrize(
    ("path", "how"),
    [("/exits", "exit"), ("/exits", "deep"), ("/exits", "interrupt"), ("/exits-js", "later"), ("/exits-js", "throw")],
)
async def test_handler_that_fails_in_an_odd_way_is_a_500_and_the_next_call_works(
    http: httpx.AsyncClient, path: str, how: str
) -> None:
    assert (await http.get(path, params={"how": how})).status_code == 500
    assert (await http.get(path, params={"how": "not"})).json() == {"how": "not"}


async def test_garbage_on_stdout_is_output_and_not_protocol(http: httpx.AsyncClient) -> None:
    answer = await http.get("/garbage", params={"where": "stdout"})

    assert (answer.status_code, answer.json()) == (200, {"where": "stdout"})


@pytest.mark.parametrize("where", ["descriptors", "close"])
async def test_garbage_in_the_protocol_costs_only_the_call_that_wrote_it(http: httpx.AsyncClient, where: str) -> None:
    answer = await http.get("/garbage", params={"where": where})

    assert answer.status_code == 502
    assert answer.json()["error"].startswith("runtime error: ")
    assert (await http.get("/garbage")).json() == {"where": None}


async def test_ten_megabytes_of_output_hold_nothing_up(http: httpx.AsyncClient) -> None:
    assert (await http.get("/floods")).json() == {"printed": 10 * 1024 * 1024}


async def test_handler_over_its_deadline_is_dead_when_the_504_is_out(http: httpx.AsyncClient, beacon: Beacon) -> None:
    answer = await http.get("/stubborn", params={"port": beacon.port})

    assert (answer.status_code, answer.json()["error"]) == (504, "runtime timeout")
    await beacon.arrived(1)
    assert not beacon.alive()


async def test_endless_loop_in_node_is_a_504(http: httpx.AsyncClient) -> None:
    answer = await http.get("/spins")

    assert (answer.status_code, answer.json()["error"]) == (504, "runtime timeout")


async def test_children_that_outlive_the_answer_hold_nothing_up(http: httpx.AsyncClient, beacon: Beacon) -> None:
    for _ in range(3):
        answer = await http.get("/forks", params={"port": beacon.port})
        assert (answer.status_code, answer.json()) == (200, {"left": "children"})


@pytest.fixture
async def held(http: httpx.AsyncClient, beacon: Beacon) -> AsyncIterator[list[asyncio.Task[httpx.Response]]]:
    """Twenty calls that run until the beacon lets them go: as many as a function may have unless it says otherwise."""
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(http.get("/held", params={"port": beacon.port})) for _ in range(20)]
        try:
            await beacon.arrived(20)
            yield made
        finally:
            beacon.release()


async def test_twenty_calls_run_at_once_and_the_next_one_is_429_at_once(
    http: httpx.AsyncClient, beacon: Beacon, held: list[asyncio.Task[httpx.Response]]
) -> None:
    shed = await http.get("/held", params={"port": beacon.port})

    assert (shed.status_code, shed.json()["error"]) == (429, "worker pool overflow")
    assert shed.headers["retry-after"] == "1"
    assert not any(call.done() for call in held)
    assert (await http.get("/fine")).text == "fine"
    beacon.release()
    answers = await asyncio.gather(*held)
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "released")}
    await eventually(lambda: is_free(http, "held"))


async def test_client_that_leaves_frees_the_only_slot_and_ends_the_handler(hostile: Cluster, beacon: Beacon) -> None:
    async with httpx.AsyncClient(base_url=hostile.url, timeout=60) as http:
        async with httpx.AsyncClient(base_url=hostile.url, timeout=60) as leaver:
            call = asyncio.create_task(leaver.get("/patient", params={"port": beacon.port}))
            await beacon.arrived(1)
            assert (await http.get("/patient", params={"port": beacon.port})).status_code == 429
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

        await eventually(lambda: not beacon.alive(0))
        await eventually(lambda: is_free(http, "patient"))


async def test_client_that_leaves_ends_no_call_of_another_client_with_the_same_id(hostile: Cluster, beacon: Beacon) -> None:
    params = {"port": beacon.port}
    async with (
        httpx.AsyncClient(base_url=hostile.url, timeout=60) as leaver,
        httpx.AsyncClient(base_url=hostile.url, timeout=60) as stayer,
    ):
        left = asyncio.create_task(leaver.get("/held", params=params))
        await beacon.arrived(1)
        given = await beacon.told(0)
        stays = asyncio.create_task(stayer.get("/held", params=params, headers={"x-request-id": given}))
        await beacon.arrived(2)
        assert await beacon.told(1) == given

        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        await eventually(lambda: not beacon.alive(0))
        assert beacon.alive(1)
        beacon.release()
        assert (await stays).text == "released"


@pytest.mark.parametrize("path", ["/echo", "/echo-js"])
@pytest.mark.parametrize(
    "body",
    [b"", b"\0", ALL_BYTES, MEBIBYTE, MEBIBYTE * 3, b"\xef\xbb\xbfmark", b"\xed\xa0\x80", "✓\r\n\u2028".encode()],
    ids=["empty", "nul", "all", "1 MiB", "3 MiB", "mark", "surrogate", "text"],
)
async def test_body_comes_back_as_it_went(http: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await http.post(path, content=body)

    assert answer.status_code == 200, answer.text
    assert answer.headers["x-length"] == str(len(body))
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(body).digest()


async def test_answer_beyond_the_cap_is_a_502(http: httpx.AsyncClient) -> None:
    answer = await http.get("/large", params={"size": 7 * 1024 * 1024, "binary": "1"})

    assert (answer.status_code, answer.json()["error"]) == (502, "runtime error: response too large")
    assert (await http.get("/large", params={"size": 3})).status_code == 200
