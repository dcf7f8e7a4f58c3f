"""Each example is called as its own text says, and answers what it promises."""

import base64
import hashlib
import hmac
import json
import os
import struct
import zlib

import httpx
import pytest

from libs.testing.wait import eventually
from services.executor.runtimes.installed import runtimes

SECRET = b"change-me"  # of examples/functions/webhook/fn.env.json


async def require(language: str) -> None:
    """Skip the test where the language is missing; fail it in continuous integration."""
    (runtime,) = (each for each in runtimes() if each.name == language)
    found = await runtime.probe()
    if found.present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{language} is missing: {found.hint}")
    pytest.skip(f"{language} is missing: {found.hint}")


async def test_greeting_answers_with_the_name_of_the_query(client: httpx.AsyncClient) -> None:
    answer = await client.get("/hello", params={"name": "Ada"})

    assert (answer.status_code, answer.json()) == (200, {"hello": "Ada"})
    assert (await client.get("/hello")).json() == {"hello": "world"}
    assert answer.headers["x-request-id"]
    assert answer.headers["traceparent"]


async def test_path_parameter_reaches_the_handler(client: httpx.AsyncClient) -> None:
    assert (await client.get("/users/2")).json() == {"id": "2", "name": "Grace Hopper", "path": "/users/2"}

    missing = await client.get("/users/99")
    assert (missing.status_code, missing.json()) == (404, {"error": "there is no user 99"})


async def test_form_is_posted_as_a_browser_does(client: httpx.AsyncClient) -> None:
    answer = await client.post("/contact", data={"name": "Ada <3", "message": "Hi"})

    assert answer.status_code == 201
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Thank you, Ada &lt;3." in answer.text
    assert (await client.post("/contact", data={"name": "Ada"})).status_code == 422
    assert (await client.post("/contact")).status_code == 422

    wrong = await client.get("/contact")
    assert wrong.status_code == 405
    assert "POST" in wrong.headers["allow"]


async def test_report_is_a_csv_file(client: httpx.AsyncClient) -> None:
    answer = await client.get("/reports/sales", params={"year": "2024"})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="sales.csv"'
    assert answer.text == 'year,item,sold\r\n2024,books,1460\r\n2024,"maps, folded",275\r\n'


async def test_pixel_is_an_image_of_that_size_and_color(client: httpx.AsyncClient) -> None:
    answer = await client.get("/pixel", params={"color": "ff8800", "size": "3"})

    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", answer.content[16:24]) == (3, 3)
    start = answer.content.index(b"IDAT") + 4
    length = struct.unpack(">I", answer.content[start - 8 : start - 4])[0]
    assert zlib.decompress(answer.content[start : start + length]) == (b"\x00" + b"\xff\x88\x00" * 3) * 3
    assert (await client.get("/pixel", params={"color": "nothing"})).status_code == 400


async def test_sum_is_typescript(client: httpx.AsyncClient) -> None:
    assert (await client.get("/sum", params={"a": 1, "b": 2.5})).json() == {"numbers": [1, 2.5], "sum": 3.5}
    assert (await client.get("/sum", params={"a": "x"})).status_code == 400


@pytest.mark.parametrize(
    ("how", "status", "message"),
    [
        ("value", 400, "that is not a number"),
        ("missing", 404, "no such report"),
        ("exit", 502, "runtime error"),
        ("", 500, "this function always fails"),
    ],
)
async def test_failure_tells_the_caller_what_went_wrong(client: httpx.AsyncClient, how: str, status: int, message: str) -> None:
    answer = await client.get("/fail", params={"how": how})

    assert answer.status_code == status
    assert message in answer.json()["error"]


async def test_blog_takes_everything_below_its_folder(client: httpx.AsyncClient) -> None:
    answer = await client.get("/blog/2024/05/first%20post")

    assert answer.json() == {"slug": "2024/05/first post", "parts": ["2024", "05", "first post"]}
    assert (await client.get("/blog")).status_code == 404


def signed(body: bytes) -> dict[str, str]:
    return {"x-signature": "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()}


async def test_webhook_takes_what_is_signed(client: httpx.AsyncClient) -> None:
    body = json.dumps({"order": 7}).encode()

    answer = await client.post("/webhook", content=body, headers=signed(body))

    assert (answer.status_code, answer.json()) == (202, {"accepted": {"order": 7}})


async def test_webhook_refuses_what_is_not(client: httpx.AsyncClient) -> None:
    body = b'{"order": 7}'

    assert (await client.post("/webhook", content=body)).status_code == 401
    assert (await client.post("/webhook", content=body + b" ", headers=signed(body))).status_code == 401
    assert (await client.post("/webhook", content=b"\xff\xfe", headers=signed(b"\xff\xfe"))).status_code == 400
    large = b" " * 70_000
    assert (await client.post("/webhook", content=large, headers=signed(large))).status_code == 413
    assert (await client.get("/webhook")).status_code == 405


async def test_counter_remembers_while_its_process_is_warm(client: httpx.AsyncClient) -> None:
    seen: dict[int, int] = {}

    async def counted_on() -> bool:
        answer = (await client.get("/counter")).json()
        before = seen.get(answer["pid"], 0)
        seen[answer["pid"]] = answer["calls"]
        return before > 0 and answer["calls"] > before

    await eventually(counted_on)


async def test_slow_is_answered_within_its_time_and_cut_off_beyond(client: httpx.AsyncClient) -> None:
    assert (await client.get("/slow", params={"seconds": 0.05})).json() == {"slept": 0.05}

    late = await client.get("/slow", params={"seconds": 30})
    assert late.status_code == 504
    assert late.json()["error"] == "runtime timeout"
    assert (await client.get("/slow", params={"seconds": 0})).status_code == 200


async def test_tick_can_be_called_and_is_scheduled(client: httpx.AsyncClient) -> None:
    assert (await client.get("/tick")).json()["started_by"] == "call"

    async def planned() -> bool:
        schedules = (await client.get("/_fn/schedules")).json()["schedules"]
        return any(each["name"] == "tick" and each["state"]["next"] for each in schedules)

    await eventually(planned)


async def test_greet_has_two_versions(client: httpx.AsyncClient) -> None:
    assert (await client.get("/greet/Ada")).text == "Hello, Ada!\n"
    assert (await client.get("/greet")).text == "Hello, world!\n"
    assert (await client.get("/greet@v2", params={"name": "Ada"})).json() == {
        "greeting": "Hello",
        "name": "Ada",
        "version": "v2",
    }
    assert (await client.get("/greet@v9")).status_code == 404


async def test_binary_body_comes_back_from_the_job_of_an_image(client: httpx.AsyncClient) -> None:
    job = (await client.post("/_fn/jobs", json={"name": "get.pixel.js", "query": {"color": "0000ff"}})).json()

    async def result() -> httpx.Response | None:
        answer = await client.get(f"/_fn/jobs/{job['id']}/result")
        return answer if answer.status_code == 200 else None

    found = await eventually(result)
    assert found is not None
    assert base64.b64decode(found.json()["body_base64"]).startswith(b"\x89PNG")


async def test_ticks_arrive_while_the_generator_goes_on(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/ticks", params={"count": 100, "seconds": 5}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        first = await anext(answer.aiter_text())

    assert first == "event: tick\ndata: 1\n\n"
    whole = await client.get("/ticks", params={"count": 3, "seconds": 0})
    assert whole.text == "".join(f"event: tick\ndata: {number}\n\n" for number in (1, 2, 3))


async def test_page_is_html_made_by_php(client: httpx.AsyncClient) -> None:
    await require("php")

    answer = await client.get("/page", params={"name": "Ada <3"})

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-store"
    assert "<h1>Hello, Ada &lt;3!</h1>" in answer.text


async def test_short_link_is_a_response_of_deno(client: httpx.AsyncClient) -> None:
    await require("deno")

    answer = await client.get("/go/docs")

    assert (answer.status_code, answer.headers["location"]) == (302, "https://docs.deno.com/")
    assert "docs" in (await client.get("/go")).json()
    assert (await client.get("/go/nowhere")).status_code == 404


async def test_primes_are_counted_by_a_program_once_it_is_compiled(client: httpx.AsyncClient) -> None:
    await require("rust")

    async def compiled() -> httpx.Response | None:
        answer = await client.get("/primes", params={"below": 50})
        if answer.status_code == 503:
            assert answer.headers["retry-after"]
            return None
        return answer

    answer = await eventually(compiled, within=100)
    assert answer is not None
    assert (answer.status_code, answer.json()) == (200, {"below": 50, "count": 15, "last": [31, 37, 41, 43, 47]})
    assert (await client.get("/primes", params={"below": "many"})).status_code == 500
    assert (await client.get("/primes", params={"below": 1})).json()["count"] == 0


async def test_lambda_handler_converts(client: httpx.AsyncClient) -> None:
    answer = await client.get("/convert", params={"value": "10", "from": "km", "to": "mi"})

    assert (answer.status_code, answer.json()) == (200, {"value": 6.213712, "unit": "mi"})
    assert answer.headers["x-aws-request-id"] == answer.headers["x-request-id"]
    assert (await client.get("/convert", params={"from": "furlong"})).status_code == 400


async def test_worker_records_after_its_answer(client: httpx.AsyncClient) -> None:
    answer = await client.post("/audit", content="a change")

    assert answer.status_code == 202
    assert answer.json()["accepted"]

    async def recorded() -> bool:
        execution = await client.get(f"/_fn/executions/{answer.headers['x-request-id']}")
        return execution.status_code == 200 and 'recorded "a change"' in execution.json()["stdout"]

    await eventually(recorded)


async def test_swatch_is_drawn_by_a_wsgi_application(client: httpx.AsyncClient) -> None:
    answer = await client.get("/colors/teal")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert 'fill="#008080"' in answer.text
    assert (await client.get("/colors")).text == "teal tomato"
    assert (await client.get("/colors/nothing")).status_code == 404


async def test_pattern_that_never_ends_is_ended_by_its_limit(client: httpx.AsyncClient) -> None:
    found = await client.get("/match", params={"pattern": "o(.)", "text": "hello world"})
    endless = await client.get("/match", params={"pattern": "(a+)+$", "text": "a" * 40 + "!"})

    assert [match["at"] for match in found.json()["matches"]] == [4, 7]
    assert endless.status_code == 502
    assert endless.json()["error"] == "runtime error: cpu limit of 300 ms exceeded"
    assert (await client.get("/match", params={"pattern": "("})).status_code == 400
