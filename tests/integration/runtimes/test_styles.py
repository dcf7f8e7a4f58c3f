"""Handlers written for somewhere else, on every runtime that can run them: AWS Lambda, Cloudflare Workers."""

import base64
from typing import Any

from libs.testing.guests import ANSWER, BACKGROUND, END, Answered, Bench, Sources

LAMBDA_ECHO: Sources = {
    "python": "def handler(event, context):\n    return {'statusCode': 200, 'body': dumps(event)}\nfrom json import dumps\n",
    "node": ("exports.handler = function (event, context) { return { statusCode: 200, body: JSON.stringify(event) }; };\n"),
    "deno": "export function handler(event, context) { return { statusCode: 200, body: JSON.stringify(event) }; }\n",
}

LAMBDA_CONTEXT: Sources = {
    "python": (
        "import time\ndef handler(event, context):\n    first = context.getRemainingTimeInMillis()\n    time.sleep(0.05)\n"
        "    return {'id': context.awsRequestId, 'name': context.functionName, 'version': context.functionVersion,"
        " 'mb': int(context.memoryLimitInMB), 'first': first, 'then': context.getRemainingTimeInMillis()}\n"
    ),
    "node": (
        "exports.handler = async function (event, context) { const first = context.getRemainingTimeInMillis(); "
        "await new Promise((go) => setTimeout(go, 50)); return { id: context.awsRequestId, name: "
        "context.functionName, version: context.functionVersion, mb: Number(context.memoryLimitInMB), first, "
        "then: context.getRemainingTimeInMillis() }; };\n"
    ),
    "deno": (
        "export async function handler(event, context) { const first = context.getRemainingTimeInMillis(); "
        "await new Promise((go) => setTimeout(go, 50)); return { id: context.awsRequestId, name: "
        "context.functionName, version: context.functionVersion, mb: Number(context.memoryLimitInMB), first, "
        "then: context.getRemainingTimeInMillis() }; }\n"
    ),
}

WORKER_ECHO: Sources = {
    "python": (
        "async def fetch(request, env, ctx):\n    text = await request.text()\n"
        "    return {'method': request.method, 'url': request.url, 'agent': request.headers.get('User-Agent'),"
        " 'text': text, 'env': env['WORD']}\n"
    ),
    "node": (
        "module.exports = { async fetch(request, env, ctx) { return Response.json({ method: request.method, "
        "url: request.url, agent: request.headers.get('User-Agent'), text: await request.text(), env: env.WORD "
        "}); } };\n"
    ),
    "deno": (
        "export default { async fetch(request, env, ctx) { return Response.json({ method: request.method, url: "
        "request.url, agent: request.headers.get('User-Agent'), text: await request.text(), env: env.WORD }); } "
        "};\n"
    ),
}

WORKER_WAITS: Sources = {
    "python": (
        "import asyncio, os\nasync def fetch(request, env, ctx):\n"
        "    ctx.waitUntil(later(env['GATE']))\n    return 'answered'\n"
        "async def later(gate):\n    while not os.path.exists(gate):\n        await asyncio.sleep(0.005)\n    print('done')\n"
    ),
    "node": (
        "import { existsSync } from 'node:fs';\nexport default { fetch(request, env, ctx) { "
        "ctx.waitUntil(later(env.GATE)); return new Response('answered'); } };\nasync function later(gate) { "
        "while (!existsSync(gate)) await new Promise((go) => setTimeout(go, 5)); console.log('done'); }\n"
    ),
    "deno": (
        "import { existsSync } from 'node:fs';\nexport default { fetch(request, env, ctx) { "
        "ctx.waitUntil(later(env.GATE)); return new Response('answered'); } };\nasync function later(gate) { "
        "while (!existsSync(gate)) await new Promise((go) => setTimeout(go, 5)); console.log('done'); }\n"
    ),
}


def test_a_lambda_gets_an_event_of_version_2(answered: Answered) -> None:
    head: dict[str, Any] = {
        "method": "POST",
        "path": "/users/7",
        "raw_path": "/users/7?a=1&a=2&flag",
        "query": {"a": ["1", "2"], "flag": True},
        "headers": {"host": "example.org", "user-agent": "tests", "cookie": "a=1; b=2", "x-many": ["1", "2"]},
        "params": {"id": "7"},
    }
    event = answered(LAMBDA_ECHO, style="aws-lambda", body="text ü".encode(), **head).json()
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "POST /users/7", "/users/7")
    assert (event["rawQueryString"], event["queryStringParameters"]) == ("a=1&a=2&flag", {"a": "1,2", "flag": ""})
    assert (event["cookies"], event["pathParameters"]) == (["a=1", "b=2"], {"id": "7"})
    assert (event["headers"]["host"], event["headers"]["x-many"]) == ("example.org", "1,2")
    assert (event["body"], event["isBase64Encoded"]) == ("text ü", False)
    request = event["requestContext"]
    assert (request["requestId"], request["timeEpoch"]) == ("req-1700000000000-77-000001", 1_700_000_000_000)
    assert request["http"]["method"] == "POST"
    assert (request["http"]["path"], request["http"]["sourceIp"]) == ("/users/7", "127.0.0.1")
    assert request["http"]["userAgent"] == "tests"


def test_a_lambda_gets_a_body_that_is_no_text_as_base64(answered: Answered) -> None:
    event = answered(LAMBDA_ECHO, style="aws-lambda", method="POST", body=b"\x00\xff").json()
    assert (base64.b64decode(event["body"]), event["isBase64Encoded"]) == (b"\x00\xff", True)


def test_a_lambda_without_body_has_none(answered: Answered) -> None:
    event = answered(LAMBDA_ECHO, style="aws-lambda").json()
    assert event.get("body") is None
    assert event["isBase64Encoded"] is False


def test_a_lambda_context_counts_the_time_that_remains(answered: Answered) -> None:
    context = answered(LAMBDA_CONTEXT, style="aws-lambda").json()
    assert (context["id"], context["name"]) == ("req-1700000000000-77-000001", "tested")
    assert (context["version"], context["mb"]) == ("default", 128)
    assert 0 <= context["then"] < context["first"] <= 2500


def test_a_lambda_answer_has_its_cookies_and_all_its_headers(answered: Answered) -> None:
    sources: Sources = {
        "python": (
            "def handler(event, context):\n    return {'statusCode': 201, 'headers': {'X-A': 'b'}, 'cookies': ['a=1', 'b=2'],"
            " 'multiValueHeaders': {'X-Many': ['1', '2']}, 'isBase64Encoded': True, 'body': 'AP8='}\n"
        ),
        "node": (
            "exports.handler = function (event, context) { return { statusCode: 201, headers: { 'X-A': 'b' }, "
            "cookies: ['a=1', 'b=2'], multiValueHeaders: { 'X-Many': ['1', '2'] }, isBase64Encoded: true, body: "
            "'AP8=' }; };\n"
        ),
        "deno": (
            "export function handler(event, context) { return { statusCode: 201, headers: { 'X-A': 'b' }, cookies: "
            "['a=1', 'b=2'], multiValueHeaders: { 'X-Many': ['1', '2'] }, isBase64Encoded: true, body: 'AP8=' }; }\n"
        ),
    }
    answer = answered(sources, style="aws-lambda")
    assert (answer.status, answer.body, answer.header("x-a")) == (201, b"\x00\xff", "b")
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert [value for name, value in answer.headers if name == "x-many"] == ["1", "2"]


def test_a_lambda_answer_without_status_is_json(answered: Answered) -> None:
    sources: Sources = {
        "python": "def handler(event, context):\n    return {'hello': 'world'}\n",
        "node": "exports.handler = function (event, context) { return { hello: 'world' }; };\n",
        "deno": "export function handler(event, context) { return { hello: 'world' }; }\n",
    }
    answer = answered(sources, style="aws-lambda")
    assert (answer.status, answer.json(), answer.header("content-type")) == (200, {"hello": "world"}, "application/json")


def test_a_lambda_may_be_async(answered: Answered) -> None:
    sources: Sources = {
        "python": (
            "import asyncio\nasync def handler(event, context):\n    await asyncio.sleep(0)\n"
            "    return {'statusCode': 200, 'body': 'x'}\n"
        ),
        "node": ("exports.handler = async function (event, context) { await null; return { statusCode: 200, body: 'x' }; };\n"),
        "deno": "export async function handler(event, context) { await null; return { statusCode: 200, body: 'x' }; }\n",
    }
    assert answered(sources, style="aws-lambda").text == "x"


def test_a_cloudflare_worker_gets_a_request_and_its_environment(answered: Answered) -> None:
    seen = answered(
        WORKER_ECHO,
        style="cloudflare-worker",
        env={"WORD": "ü"},
        method="POST",
        path="/a",
        raw_path="/a?b=c",
        headers={"host": "example.org", "x-forwarded-proto": "https", "user-agent": "tests"},
        body=b"text",
    ).json()
    assert seen == {"method": "POST", "url": "https://example.org/a?b=c", "agent": "tests", "text": "text", "env": "ü"}


def test_a_cloudflare_worker_answers_with_a_response(answered: Answered) -> None:
    sources: Sources = {
        "python": (
            "from workers import Response\nasync def fetch(request, env, ctx):\n"
            "    return Response('made', status=201, headers={'X-A': 'b'})\n"
        ),
        "node": "export default { fetch: () => new Response('made', { status: 201, headers: { 'X-A': 'b' } }) };\n",
        "deno": "export default { fetch: () => new Response('made', { status: 201, headers: { 'X-A': 'b' } }) };\n",
    }
    answer = answered(sources, style="cloudflare-worker")
    assert (answer.status, answer.text, answer.header("x-a")) == (201, "made", "b")


def test_what_a_cloudflare_worker_waits_for_goes_on_after_the_answer(bench: Bench) -> None:
    gate = bench.folder / "gate"
    guest = bench.loaded(WORKER_WAITS, style="cloudflare-worker", env={"GATE": str(gate)})
    answer = guest.call()
    assert (answer.type, answer.text, answer.flags & BACKGROUND) == (ANSWER, "answered", BACKGROUND)
    gate.touch()
    end = guest.next_frame()
    assert (end.type, end.flags & BACKGROUND) == (END, 0)
    assert guest.stdout == "done\n"
    assert guest.call().type == ANSWER
    assert guest.next_frame().type == END


def test_a_cloudflare_worker_may_ask_to_be_passed_through(answered: Answered) -> None:
    sources: Sources = {
        "python": "def fetch(request, env, ctx):\n    ctx.passThroughOnException()\n    return 'x'\n",
        "node": "export default { fetch(request, env, ctx) { ctx.passThroughOnException(); return new Response('x'); } };\n",
        "deno": "export default { fetch(request, env, ctx) { ctx.passThroughOnException(); return new Response('x'); } };\n",
    }
    assert answered(sources, style="cloudflare-worker").text == "x"


def test_a_style_that_nobody_knows_is_refused(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    return 1\n",
        "node": "exports.handler = function (event) { return 1; };\n",
        "deno": "export function handler(event) { return 1; }\n",
        "php": "<?php function handler() { return 1; }\n",
        "rust": "pub fn handler(_: serde_json::Value) -> i32 {\n    1\n}\n",
    }
    assert "no-style" in bench.refused(sources, style="no-style").failure["message"]
