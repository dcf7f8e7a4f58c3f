"""Handlers that take a web Request and give a Response, in the runtimes of JavaScript: the fetch style and Fluxbase's."""

import pytest

from libs.testing.guests import ANSWER, BACKGROUND, CHUNK, END, ERROR, START, WINDOW, Answered, Bench, Sources

pytestmark = pytest.mark.parametrize("runtime", ["node", "deno"], indirect=True)


def module(source: str) -> Sources:
    """An ES module, the same for both."""
    return {"node": {"handler.mjs": source}, "deno": {"handler.mjs": source}}


def typed(source: str) -> Sources:
    """A module of TypeScript, the same for both."""
    return {"node": {"handler.ts": source}, "deno": {"handler.ts": source}}


ECHO = module(
    "export default async (request) => Response.json({ method: request.method, url: request.url, "
    "headers: [...request.headers], body: request.body && [...new Uint8Array(await request.arrayBuffer())] });\n"
)


@pytest.mark.parametrize("style", ["auto", "fetch"])
def test_a_default_function_takes_a_request(answered: Answered, style: str) -> None:
    seen = answered(
        ECHO,
        style=style,
        method="POST",
        raw_path="/a/b?c=d&c=e",
        headers={"host": "example.org", "x-forwarded-proto": "https", "x-many": ["1", "2"]},
        body=b"\x00\xff",
    ).json()
    assert (seen["method"], seen["url"], seen["body"]) == ("POST", "https://example.org/a/b?c=d&c=e", [0, 255])
    assert ["x-many", "1, 2"] in seen["headers"]


def test_a_request_without_body_has_none(answered: Answered) -> None:
    assert answered(ECHO).json()["body"] is None


@pytest.mark.parametrize(
    "source",
    [
        "export default function handler(request: Request): Response { return new Response('x'); }\n",
        "export async function handler(request: Request): Promise<Response> { return new Response('x'); }\n",
        "export default { fetch: (request: Request): Response => new Response('x') };\n",
        "export function fetch(request: Request): Response { return new Response('x'); }\n",
    ],
)
def test_a_fetch_handler_is_found_under_any_of_its_names(answered: Answered, source: str) -> None:
    assert answered(typed(source), style="fetch").text == "x"


def test_the_context_tells_what_there_is(answered: Answered) -> None:
    source = (
        "export default (request, ctx) => Response.json({ ...ctx, waits: typeof ctx.waitUntil, "
        "passes: typeof ctx.passThroughOnException });\n"
    )
    context = answered(module(source), env={"WORD": "ü"}, params={"id": "7"}).json()
    assert context == {
        "env": {"WORD": "ü"},
        "request": {"id": "req-1700000000000-77-000001", "ip": "127.0.0.1", "country": None, "functionName": "tested"},
        "params": {"id": "7"},
        "user": None,
        "caller": {"type": "anonymous"},
        "app": None,
        "db": None,
        "integrations": None,
        "substrate": None,
        "waits": "function",
        "passes": "function",
    }


def test_a_response_keeps_status_headers_bytes_and_all_its_cookies(answered: Answered) -> None:
    source = (
        "export default () => { const headers = new Headers({ 'x-a': 'b' }); headers.append('set-cookie', 'a=1');\n"
        " headers.append('set-cookie', 'b=2; Path=/');\n"
        " return new Response(Uint8Array.of(0, 255), { status: 201, headers }); };\n"
    )
    answer = answered(module(source))
    assert (answer.type, answer.status, answer.body, answer.header("x-a")) == (ANSWER, 201, b"\x00\xff", "b")
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=1", "b=2; Path=/"]


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_response_of_a_status_without_body_has_none(answered: Answered, status: int) -> None:
    answer = answered(module(f"export default () => new Response(null, {{ status: {status} }});\n"))
    assert (answer.type, answer.status, answer.body) == (ANSWER, status, b"")


def test_an_error_response_is_an_invalid_response(answered: Answered) -> None:
    answer = answered(module("export default () => Response.error();\n"))
    assert (answer.status, answer.failure["code"]) == (502, "invalid_response")


def test_a_response_that_was_read_already_is_an_invalid_response(answered: Answered) -> None:
    source = "export default async () => { const r = new Response('x'); await r.text(); return r; };\n"
    assert answered(module(source)).failure["code"] == "invalid_response"


def test_a_large_response_that_is_there_is_one_answer(answered: Answered) -> None:
    answer = answered(module("export default () => new Response(new Uint8Array(1_000_000).fill(7));\n"))
    assert (answer.type, len(answer.body)) == (ANSWER, 1_000_000)


LIVE = module(
    "let pulled = 0;\n"
    "export default (request) => request.url.endsWith('?pulled') ? Response.json(pulled) : new Response(\n"
    "  new ReadableStream({ pull(to) { pulled += 1; to.enqueue(new Uint8Array(65536)); } }, { highWaterMark: 0 }),\n"
    "  { headers: { 'content-type': 'text/event-stream' } });\n"
)


def test_a_response_body_is_pulled_only_when_there_is_room(bench: Bench) -> None:
    guest = bench.loaded(LIVE)
    assert guest.call().type == START
    taken = 0
    while not guest.silent():
        assert guest.next_frame().type == CHUNK
        taken += 1
    assert taken == WINDOW
    guest.credit(3)
    assert [guest.next_frame().type for _ in range(3)] == [CHUNK] * 3
    assert guest.silent()


def test_headers_of_a_response_leave_before_its_first_piece(bench: Bench) -> None:
    source = (
        "let give;\nexport default (request) => new Response(new ReadableStream({ start(to) { give = to; "
        "setTimeout(() => { to.enqueue(new TextEncoder().encode('data: 1\\n\\n')); to.close(); }, 300); } }),"
        " { headers: { 'content-type': 'text/event-stream' } });\n"
    )
    guest = bench.loaded(module(source))
    start = guest.call()
    assert (start.type, start.body, start.header("content-type")) == (START, b"", "text/event-stream")
    assert guest.rest_of(start).text == "data: 1\n\n"


def test_a_body_that_fails_midway_breaks_its_stream_off(bench: Bench) -> None:
    source = (
        "export default () => new Response(new ReadableStream({ async pull(to) { this.n = (this.n ?? 0) + 1;"
        " await new Promise((go) => setTimeout(go, 20)); if (this.n > 1) to.error(new Error('broken off'));"
        " else to.enqueue(new TextEncoder().encode('begun')); } }));\n"
    )
    guest = bench.loaded(module(source))
    streamed = guest.stream()
    assert (streamed.text, streamed.end.type) == ("begun", ERROR)
    assert streamed.end.failure["message"] == "broken off"


def test_a_source_is_told_when_its_call_has_failed_beside_it(bench: Bench) -> None:
    source = (
        "export async function* handler() {\n"
        "  setTimeout(() => { throw new TypeError('aside'); }, 20);\n"
        "  try { while (true) yield new Uint8Array(65536); } finally { console.log('told'); }\n}\n"
    )
    guest = bench.loaded(module(source))
    frame = guest.call()
    while frame.type in (START, CHUNK):
        frame = guest.next_frame()
    assert frame.failure["message"] == "aside"
    assert guest.call().type == START
    assert guest.stdout == "told\n"


def test_a_readable_stream_is_a_body_by_itself_and_in_an_envelope(bench: Bench) -> None:
    source = (
        "const body = () => new ReadableStream({ start(to) { to.enqueue('a'); to.enqueue('b'); to.close(); } });\n"
        "export const handler = (event) => event.query.k ? { status: 201, body: body() } : body();\n"
    )
    guest = bench.loaded(module(source))
    plain, envelope = guest.stream(query={}), guest.stream(query={"k": "1"})
    assert (plain.text, plain.start.status) == ("ab", 200)
    assert (envelope.text, envelope.start.status) == ("ab", 201)


def test_a_node_stream_is_a_body(bench: Bench) -> None:
    source = "import { Readable } from 'node:stream';\nexport const handler = () => Readable.from(['a', 'b', 'c']);\n"
    assert bench.loaded(module(source)).stream().text == "abc"


def test_a_call_goes_on_until_what_it_waits_for_is_done_even_if_that_fails(bench: Bench) -> None:
    source = (
        "const late = () => new Promise((_, no) => setTimeout(() => no(new Error('late')), 20));\n"
        "export default (request, { waitUntil }) => { waitUntil(late());"
        " return new Response('x'); };\n"
    )
    guest = bench.loaded(module(source))
    answer = guest.call()
    assert (answer.text, answer.flags & BACKGROUND) == ("x", BACKGROUND)
    end = guest.next_frame()
    assert (end.type, end.flags & BACKGROUND) == (END, 0)
    assert "late" in guest.stderr


def test_a_stream_may_be_waited_for_as_well(bench: Bench) -> None:
    source = (
        "export const fetch = (request, env, ctx) => { ctx.waitUntil(new Promise((go) => setTimeout(go, 20)));"
        " return new Response(new ReadableStream({ async pull(to) { await new Promise((go) => setTimeout(go, 5));"
        " to.enqueue(new TextEncoder().encode('x')); to.close(); } })); };\n"
    )
    guest = bench.loaded(module(source), style="cloudflare-worker")
    streamed = guest.stream()
    assert (streamed.text, streamed.end.type, streamed.end.flags & BACKGROUND) == ("x", END, BACKGROUND)
    assert guest.next_frame().type == END


def test_a_rejection_that_nobody_handles_ends_the_call_that_runs(bench: Bench) -> None:
    source = (
        "export const handler = (event) => event.query.ok ? 'ok' : never();\n"
        "const never = () => { Promise.reject(new Error('aside')); return new Promise(() => {}); };\n"
    )
    guest = bench.loaded(module(source))
    assert guest.call(query={}).failure["message"] == "aside"
    assert guest.call(query={"ok": "1"}).text == "ok"


def test_code_that_spoils_the_languages_own_objects_spoils_no_frame(bench: Bench) -> None:
    source = (
        "export const handler = (event) => { JSON.stringify = JSON.parse = () => 'spoiled'; Array.prototype.push = null;"
        " Buffer.from = Buffer.concat = Buffer.allocUnsafe = null; return { n: 1 }; };\n"
        "import { Buffer } from 'node:buffer';\n"
    )
    guest = bench.loaded(module(source))
    assert [guest.call(body=b"x" * 10).type for _ in range(3)] == [ANSWER] * 3


# Lambda's older ways to answer


@pytest.mark.parametrize(
    "body",
    [
        "callback(null, { statusCode: 201, body: 'x' });",
        "setTimeout(() => callback(null, { statusCode: 201, body: 'x' }), 5);",
        "context.succeed({ statusCode: 201, body: 'x' });",
        "setTimeout(() => context.done(null, { statusCode: 201, body: 'x' }), 5);",
    ],
)
def test_a_lambda_answers_by_its_callback_or_its_context(answered: Answered, body: str) -> None:
    source = f"export const handler = (event, context, callback) => {{ {body} }};\n"
    answer = answered(module(source), style="aws-lambda")
    assert (answer.status, answer.text) == (201, "x")


@pytest.mark.parametrize("body", ["callback(new Error('no'));", "context.fail('no');", "setTimeout(() => callback('no'), 5);"])
def test_a_lambda_fails_by_its_callback_or_its_context(answered: Answered, body: str) -> None:
    source = f"export const handler = (event, context, callback) => {{ {body} }};\n"
    assert answered(module(source), style="aws-lambda").failure["message"] == "no"


# Fluxbase


@pytest.mark.parametrize(
    "source",
    [
        "export default async function handler(req) { return new Response(JSON.stringify(await req.json())); }\n",
        "export const handler = async (req) => ({ status: 200, body: req.body });\n",
        "export default async (req) => ({ status: 200, headers: {}, body: await req.text() });\n",
        "export function main(req) { return JSON.parse(req.body); }\n",
        "export function default_handler(req) { return { status: 200, body: JSON.parse(req.body) }; }\n",
    ],
)
def test_a_fluxbase_handler_is_taken_in_any_of_its_shapes(answered: Answered, source: str) -> None:
    answer = answered(module(source), style="fluxbase", method="POST", body=b'{"a":1}')
    assert (answer.status, answer.json()) == (200, {"a": 1})


@pytest.mark.parametrize(
    ("returned", "text"),
    [("7", "7"), ("'x'", '"x"'), ("undefined", ""), ("({ status: 'pending', id: 5 })", '{"status":"pending","id":5}')],
)
def test_a_fluxbase_handler_may_return_a_plain_value(answered: Answered, returned: str, text: str) -> None:
    answer = answered(module(f"export default () => {returned};\n"), style="fluxbase")
    assert (answer.status, answer.text, answer.header("content-type")) == (200, text, "application/json")


def test_a_fluxbase_request_is_a_record_and_a_request_in_one(answered: Answered) -> None:
    source = (
        "export default async (req) => ({ ...req, agent: req.headers.get('User-Agent'), has: req.headers.has('nope'),"
        " json: await req.json(), size: (await req.arrayBuffer()).byteLength, who: req.user.id });\n"
    )
    headers = {"host": "example.org", "user-agent": "tests"}
    seen = answered(
        module(source), style="fluxbase", method="POST", raw_path="/f?a=b", headers=headers, body=b"[1]", user={"id": "u1"}
    ).json()
    assert (seen["method"], seen["url"], seen["body"]) == ("POST", "http://example.org/f?a=b", "[1]")
    assert (seen["headers"], seen["agent"], seen["has"]) == (headers, "tests", False)
    assert (seen["json"], seen["size"], seen["who"], seen["user_id"]) == ([1], 3, "u1", "u1")


def test_a_fluxbase_handler_reads_its_secrets(bench: Bench) -> None:
    source = (
        "export default () => [secrets.get('WORD'), secrets.getRequired('WORD'), secrets.getUser('WORD'),"
        " Deno.env.get('WORD'), secrets.get('NOPE') ?? null, Fluxbase.isCancelled()];\n"
    )
    guest = bench.loaded(module(source), style="fluxbase", env={"WORD": "ü"})
    assert guest.call().json() == ["ü", "ü", "ü", "ü", None, False]
