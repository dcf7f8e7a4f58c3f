"""Bodies that a handler reads by and by, in every style of every runtime that has a form for it."""

import pytest

from libs.testing.guests import ANSWER, CHUNK, END, ERROR, LOADED, PIECEWISE, START, WINDOW, Bench, Guest, Sources

_FETCH = "export default async function (request) {{ {} }}\n"
_WORKER = "export default {{ async fetch(request, env, ctx) {{ {} }} }};\n"
_ASGI = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    async def start():
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    async def part(data, more):
        await send({"type": "http.response.body", "body": data, "more_body": more})
    async def pieces():
        more = True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            more = message["more_body"]
            yield message["body"]
"""
_WSGI = """
def app(environ, start_response):
    body = environ["wsgi.input"]
    start_response("200 OK", [("content-type", "text/plain")])
"""


def script(template: str, code: str) -> dict[str, dict[str, str]]:
    """Return the code for both runtimes of the language."""
    text = template.format(code)
    return {
        "node": {"handler.mjs": text},
        "deno": {"handler.ts": text.replace("function (request", "function (request: Request")},
    }


def styles(*, fetch: str, asgi: str, wsgi: str) -> dict[str, Sources]:
    """Return a behaviour in every style."""
    return {
        "fetch": script(_FETCH, fetch),
        "worker": {
            "node": {"handler.mjs": _WORKER.format(fetch)},
            "deno": {"handler.ts": _WORKER.format(fetch).replace("request, env, ctx", "request: Request")},
        },
        "asgi": {"python": _ASGI + "".join(f"    {line}\n" for line in asgi.splitlines())},
        "wsgi": {"python": _WSGI + "".join(f"    {line}\n" for line in wsgi.splitlines())},
    }


FIRST = styles(
    fetch="const reader = request.body.getReader(); const { value } = await reader.read(); return new Response(value);",
    asgi="message = await receive()\nawait start()\nawait part(message['body'], False)",
    wsgi="return [body.read1()]",
)
"""Answers with the first piece."""
WHOLE = styles(
    fetch="return new Response(await request.text());",
    asgi="data = b''.join([each async for each in pieces()])\nawait start()\nawait part(data, False)",
    wsgi="return [body.read()]",
)
"""Answers with all of it, once it is here."""
ECHO = styles(
    fetch="return new Response(request.body);",
    asgi="await start()\nasync for each in pieces():\n    await part(each, True)\nawait part(b'', False)",
    wsgi="return iter(body.read1, b'')",
)
"""Answers with each piece as it comes."""
UNREAD = styles(
    fetch="return new Response('unread');", asgi="await start()\nawait part(b'unread', False)", wsgi="return [b'unread']"
)
"""Does not care."""
FAILS = styles(
    fetch="await request.body.getReader().read(); throw new Error('enough');",
    asgi="await receive()\nraise RuntimeError('enough')",
    wsgi="body.read1()\nraise RuntimeError('enough')",
)
"""Fails when it has the first piece."""

every_style = pytest.mark.parametrize("style", list(ECHO))


def fill(guest: Guest, count: int) -> None:
    """Send so many pieces, each after it was asked for."""
    room = 0
    for number in range(count):
        while not room:
            room += guest.wanted()
        guest.give(b"%04d" % number, last=number == count - 1)
        room -= 1


@every_style
def test_guest_says_that_its_handler_reads_by_and_by(bench: Bench, style: str) -> None:
    root, entrypoint = bench.write(ECHO[style])
    loaded = bench.start().load(root, entrypoint)
    assert (loaded.type, loaded.flags & PIECEWISE) == (LOADED, PIECEWISE)


def test_guest_of_a_handler_that_takes_an_event_does_not_say_so(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    return 1\n",
        "node": "exports.handler = () => 1;\n",
        "deno": "export const handler = () => 1;\n",
        "php": "<?php function handler($event) { return 1; }\n",
    }
    root, entrypoint = bench.write(sources)
    loaded = bench.start().load(root, entrypoint)
    assert (loaded.type, loaded.flags & PIECEWISE) == (LOADED, 0)


@every_style
def test_handler_has_the_first_piece_before_the_second_is_sent(bench: Bench, style: str) -> None:
    guest = bench.loaded(FIRST[style])
    guest.begin()
    assert guest.wanted() == WINDOW
    guest.give(b"first")
    answer = guest.beside_credit()
    assert (answer.type, answer.text) == (ANSWER, "first")
    guest.give(b"too late")
    assert guest.call(method="POST", body=b"next").text == "next"


@every_style
def test_handler_that_wants_all_of_it_waits_for_the_rest(bench: Bench, style: str) -> None:
    guest = bench.loaded(WHOLE[style])
    for count in (1, 2, WINDOW, 3 * WINDOW):
        guest.begin()
        fill(guest, count)
        assert guest.beside_credit().text == "".join(f"{number:04d}" for number in range(count))


@every_style
def test_body_that_ends_without_a_piece_is_empty(bench: Bench, style: str) -> None:
    guest = bench.loaded(WHOLE[style])
    guest.begin()
    assert guest.wanted() == WINDOW
    guest.give(b"", last=True)
    assert guest.beside_credit().body == b""


@every_style
def test_guest_grants_no_more_than_a_window(bench: Bench, style: str) -> None:
    guest = bench.loaded(WHOLE[style])
    guest.begin()
    room = guest.wanted()
    for _ in range(40):
        guest.give(b"x")
        room += guest.wanted() - 1
        assert room <= WINDOW
    guest.give(b"", last=True)
    assert guest.beside_credit().text == "x" * 40


@every_style
def test_answer_streams_while_its_request_is_read(bench: Bench, style: str) -> None:
    guest = bench.loaded(ECHO[style])
    guest.begin()
    found = b""
    for number in range(40):
        guest.give(b"%04d" % number, last=number == 39)
        while len(found) < 4 * (number + 1):
            frame = guest.beside_credit()
            assert frame.type in (START, CHUNK)
            found += frame.body
            if frame.type == CHUNK:
                guest.credit()
    assert found == b"".join(b"%04d" % number for number in range(40))
    assert guest.beside_credit().type == END


@every_style
def test_handler_that_does_not_read_asks_for_nothing(bench: Bench, style: str) -> None:
    guest = bench.loaded(UNREAD[style])
    for _ in range(2):
        guest.begin()
        answer = guest.next_frame()
        assert (answer.type, answer.text) == (ANSWER, "unread")


@every_style
def test_handler_that_fails_in_the_middle_is_an_error_and_the_next_call_is_none(bench: Bench, style: str) -> None:
    guest = bench.loaded(FAILS[style])
    for _ in range(2):
        guest.begin()
        assert guest.wanted() == WINDOW
        guest.give(b"first")
        assert guest.beside_credit().type == ERROR
        guest.give(b"second")


@every_style
def test_large_pieces_arrive_as_they_are(bench: Bench, style: str) -> None:
    guest = bench.loaded(WHOLE[style])
    guest.begin()
    guest.wanted()
    body = b"".join(bytes([97 + number]) * 65536 for number in range(WINDOW))
    for number in range(WINDOW):
        guest.give(body[number * 65536 : (number + 1) * 65536], last=number == WINDOW - 1)
    frame = guest.beside_credit()
    assert (frame.body if frame.type == ANSWER else guest.rest_of(frame).body) == body


def test_lines_of_a_request_are_read_one_by_one(bench: Bench) -> None:
    sources: Sources = {
        "python": (
            "def app(environ, start_response):\n    start_response('200 OK', [('content-type', 'text/plain')])\n"
            "    for line in environ['wsgi.input']:\n        yield line.upper()\n"
        )
    }
    guest = bench.loaded(sources)
    guest.begin()
    guest.give(b"one\ntw")
    assert guest.beside_credit().body == b"ONE\n"
    guest.give(b"o\nthree", last=True)
    assert guest.beside_credit().body == b"TWO\n"
    assert guest.beside_credit().body == b"THREE"
    assert guest.beside_credit().type == END


def test_length_is_known_to_an_application_only_when_the_client_said_it(bench: Bench) -> None:
    sources: Sources = {
        "python": (
            "def app(environ, start_response):\n    start_response('200 OK', [])\n"
            "    return [str(environ.get('CONTENT_LENGTH')).encode()]\n"
        )
    }
    guest = bench.loaded(sources)
    guest.begin(headers={"host": "x", "content-length": "70000"})
    assert guest.beside_credit().text == "70000"
    guest.begin(headers={"host": "x"})
    assert guest.beside_credit().text == "None"


def test_request_cannot_be_read_after_its_answer(bench: Bench) -> None:
    code = (
        "const reader = request.body.getReader(); await reader.read();"
        " ctx.waitUntil(reader.read().catch(() => console.log('too late'))); return new Response('answered');"
    )
    template = "export default {{ async fetch(request, env, ctx) {{ {} }} }};\n"
    guest = bench.loaded({"node": {"handler.mjs": template.format(code)}, "deno": {"handler.js": template.format(code)}})
    guest.begin()
    guest.wanted()
    guest.give(b"first")
    assert guest.beside_credit().text == "answered"
    assert guest.next_frame().type == END
    assert guest.close() == 0
    assert guest.stdout == "too late\n"


def test_read_that_nobody_waits_for_does_not_fail_the_next_call(bench: Bench) -> None:
    code = (
        "if (request.headers.get('x-wait')) { await new Promise((go) => setTimeout(go, 100)); return new Response('fine'); }"
        " request.text(); return new Response('answered');"
    )
    guest = bench.loaded(script(_FETCH, code))
    guest.begin()
    assert guest.beside_credit().text == "answered"
    assert guest.call(headers={"host": "x", "x-wait": "1"}).text == "fine"
