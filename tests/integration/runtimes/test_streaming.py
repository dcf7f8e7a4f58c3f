"""Answers that come in pieces, on every runtime that has a natural form for them."""

from pathlib import Path

import pytest

from libs.testing.guests import ANSWER, CHUNK, END, ERROR, START, WINDOW, Bench, Guest, Sources

PIECE = 64 * 1024

HELLO: Sources = {
    "python": "def handler(event):\n    yield 'one '\n    yield 'two '\n    yield 'drei ü'\n",
    "node": "exports.handler = function* (event) { yield 'one '; yield 'two '; yield 'drei ü'; };\n",
    "deno": "export function* handler(event) { yield 'one '; yield 'two '; yield 'drei ü'; }\n",
    "php": "<?php function handler() { yield 'one '; yield 'two '; yield 'drei ü'; }\n",
}

GATED: Sources = {
    "python": (
        "import os, time\ndef handler(event):\n    yield 'first'\n"
        "    while not os.path.exists(event['query']['gate']):\n        time.sleep(0.005)\n    yield 'second'\n"
    ),
    "node": (
        "const fs = require('fs');\nexports.handler = function* (event) { yield 'first'; while "
        "(!fs.existsSync(event.query.gate)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5); "
        "yield 'second'; };\n"
    ),
    "deno": (
        "import fs from 'node:fs';\nexport function* handler(event) { yield 'first'; while "
        "(!fs.existsSync(event.query.gate)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5); "
        "yield 'second'; }\n"
    ),
    "php": (
        "<?php\n"
        "function handler($event) {\n"
        "    yield 'first';\n"
        "    while (!file_exists($event['query']['gate'])) { usleep(5000); clearstatcache(); }\n"
        "    yield 'second';\n"
        "}\n"
    ),
}
"""Sends a small piece, then waits for a file."""

ASYNC_GATED: Sources = {
    "python": (
        "import asyncio, os\nasync def handler(event):\n    yield 'first'\n"
        "    while not os.path.exists(event['query']['gate']):\n        await asyncio.sleep(0.005)\n    yield 'second'\n"
    ),
    "node": (
        "const fs = require('fs');\nexports.handler = async function* (event) { yield 'first'; while "
        "(!fs.existsSync(event.query.gate)) await new Promise((go) => setTimeout(go, 5)); yield 'second'; };\n"
    ),
    "deno": (
        "import fs from 'node:fs';\nexport async function* handler(event) { yield 'first'; while "
        "(!fs.existsSync(event.query.gate)) await new Promise((go) => setTimeout(go, 5)); yield 'second'; }\n"
    ),
}

ENDLESS: Sources = {
    "python": "def handler(event):\n    while True:\n        yield b'x' * 65536\n",
    "node": "exports.handler = function* (event) { while (true) yield new Uint8Array(65536); };\n",
    "deno": "export function* handler(event) { while (true) yield new Uint8Array(65536); }\n",
    "php": "<?php function handler() { while (true) yield str_repeat('x', 65536); }\n",
}
ASYNC_ENDLESS: Sources = {
    "python": "async def handler(event):\n    while True:\n        yield b'x' * 65536\n",
    "node": "exports.handler = async function* (event) { while (true) yield new Uint8Array(65536); };\n",
    "deno": "export async function* handler(event) { while (true) yield new Uint8Array(65536); }\n",
}

ENVELOPE: Sources = {
    "python": (
        "def handler(event):\n"
        "    return {'status': 201, 'headers': {'Content-Type': 'text/event-stream', 'X-A': 'b'}, 'body': events()}\n"
        "def events():\n    for n in range(3):\n        yield f'data: {n}\\n\\n'\n"
    ),
    "node": (
        "exports.handler = function (event) { return { status: 201, headers: { 'Content-Type': "
        "'text/event-stream', 'X-A': 'b' }, body: events() }; };\nfunction* events() { for (let n = 0; n < 3; "
        "n++) yield `data: ${n}\\n\\n`; }\n"
    ),
    "deno": (
        "export function handler(event) { return { status: 201, headers: { 'Content-Type': 'text/event-stream', "
        "'X-A': 'b' }, body: events() }; }\nfunction* events() { for (let n = 0; n < 3; n++) yield `data: "
        "${n}\\n\\n`; }\n"
    ),
    "php": (
        "<?php\n"
        "function handler() {\n"
        "    $headers = ['Content-Type' => 'text/event-stream', 'X-A' => 'b'];\n"
        "    return ['status' => 201, 'headers' => $headers, 'body' => events()];\n"
        "}\n"
        'function events() { for ($n = 0; $n < 3; $n++) yield "data: $n\\n\\n"; }\n'
    ),
}

BREAKS: Sources = {
    "python": "def handler(event):\n    yield 'begun'\n    raise RuntimeError('broken off')\n",
    "node": "exports.handler = function* (event) { yield 'begun'; throw new Error('broken off'); };\n",
    "deno": "export function* handler(event) { yield 'begun'; throw new Error('broken off'); }\n",
    "php": "<?php function handler() { yield 'begun'; throw new Error('broken off'); }\n",
}


def pieces_until_silent(guest: Guest) -> int:
    """Take pieces until no more come without credit, and return how many those were."""
    count = 0
    while not guest.silent():
        frame = guest.next_frame()
        assert frame.type == CHUNK
        assert len(frame.body) <= PIECE
        count += 1
    return count


def test_pieces_come_in_order_and_the_stream_ends(bench: Bench) -> None:
    streamed = bench.loaded(HELLO).stream()
    assert (streamed.start.status, streamed.text, streamed.end.type) == (200, "one two drei ü", END)
    assert streamed.start.header("content-type") == "text/plain; charset=utf-8"


def test_bytes_stream_as_they_are(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    yield b'\\x00\\xff'\n    yield bytearray(b'\\xfe')\n",
        "node": "exports.handler = function* (event) { yield Uint8Array.of(0, 255); yield Uint8Array.of(254).buffer; };\n",
        "deno": "export function* handler(event) { yield Uint8Array.of(0, 255); yield Uint8Array.of(254).buffer; }\n",
        "php": '<?php function handler() { yield "\\x00\\xff"; yield "\\xfe"; }\n',
    }
    streamed = bench.loaded(sources).stream()
    assert streamed.body == b"\x00\xff\xfe"
    assert streamed.start.header("content-type") == "application/octet-stream"


def test_a_stream_has_the_status_and_headers_of_its_envelope(bench: Bench) -> None:
    streamed = bench.loaded(ENVELOPE).stream()
    assert (streamed.start.status, streamed.start.header("x-a")) == (201, "b")
    assert streamed.start.header("content-type") == "text/event-stream"
    assert streamed.text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize("sources", [GATED, ASYNC_GATED], ids=["plain", "async"])
def test_a_small_first_piece_leaves_before_the_handler_ends(bench: Bench, sources: Sources, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    guest = bench.loaded(sources)
    start = guest.call(query={"gate": str(gate)})
    assert start.type == START
    first = start.body or guest.next_frame().body
    assert first == b"first"
    gate.touch()
    assert guest.next_frame().body == b"second"
    assert guest.next_frame().type == END


@pytest.mark.parametrize("sources", [ENDLESS, ASYNC_ENDLESS], ids=["plain", "async"])
def test_a_handler_waits_for_credit_when_its_window_is_full(bench: Bench, sources: Sources) -> None:
    guest = bench.loaded(sources)
    assert guest.call().type == START
    assert pieces_until_silent(guest) == WINDOW
    guest.credit(2)
    assert pieces_until_silent(guest) == 2
    guest.credit()
    assert pieces_until_silent(guest) == 1


@pytest.mark.parametrize("sources", [ENDLESS, ASYNC_ENDLESS], ids=["plain", "async"])
def test_a_guest_ends_when_its_descriptor_is_closed_in_the_middle_of_a_stream(bench: Bench, sources: Sources) -> None:
    guest = bench.loaded(sources)
    assert guest.call().type == START
    assert pieces_until_silent(guest) == WINDOW
    assert guest.close() == 0


def test_a_large_piece_is_cut(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    yield 'a'\n    yield b'x' * 1_500_000\n",
        "node": "exports.handler = function* (event) { yield 'a'; yield new Uint8Array(1_500_000); };\n",
        "deno": "export function* handler(event) { yield 'a'; yield new Uint8Array(1_500_000); }\n",
        "php": "<?php function handler() { yield 'a'; yield str_repeat('x', 1500000); }\n",
    }
    streamed = bench.loaded(sources).stream()
    assert len(streamed.body) == 1_500_001
    assert max(len(piece) for piece in streamed.pieces) <= PIECE


def test_a_handler_that_fails_in_the_middle_breaks_its_stream_off(bench: Bench) -> None:
    guest = bench.loaded(BREAKS)
    streamed = guest.stream()
    assert (streamed.text, streamed.end.type) == ("begun", ERROR)
    assert streamed.end.failure["message"] == "broken off"
    assert streamed.end.failure["code"] == "handler_error"
    assert guest.stream().text == "begun"


def test_a_handler_that_fails_before_its_first_piece_answers_with_an_error(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    if event:\n        raise RuntimeError('at once')\n    yield 'x'\n",
        "node": "exports.handler = function* (event) { if (event) throw new Error('at once'); yield 'x'; };\n",
        "deno": "export function* handler(event) { if (event) throw new Error('at once'); yield 'x'; }\n",
        "php": "<?php function handler($event) { if ($event) throw new Error('at once'); yield 'x'; }\n",
    }
    answer = bench.loaded(sources).call()
    assert (answer.type, answer.status, answer.failure["message"]) == (ERROR, 500, "at once")


def test_an_empty_stream_is_an_empty_answer(bench: Bench) -> None:
    guest = bench.loaded(
        {
            "python": "def handler(event):\n    yield from ()\n",
            "node": "exports.handler = function* (event) { yield* []; };\n",
            "deno": "export function* handler(event) { yield* []; }\n",
            "php": "<?php function handler() { yield from []; }\n",
        }
    )
    answer = guest.call()
    assert (answer.status, answer.body) == (200, b"")
    if answer.type != ANSWER:
        assert guest.rest_of(answer).body == b""


def test_a_worker_takes_the_next_call_after_a_stream(bench: Bench) -> None:
    guest = bench.loaded(HELLO)
    assert [guest.stream().text for _ in range(3)] == ["one two drei ü"] * 3


def test_output_of_a_stream_is_flushed_before_its_end(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    yield 'x'\n    print('said', end='')\n",
        "node": "exports.handler = function* (event) { yield 'x'; process.stdout.write('said'); };\n",
        "deno": "export function* handler(event) { yield 'x'; Deno.stdout.writeSync(new TextEncoder().encode('said')); }\n",
        "php": "<?php function handler() { yield 'x'; echo 'said'; }\n",
    }
    guest = bench.loaded(sources)
    assert guest.stream().text == "x"
    assert guest.stdout == "said"


def test_a_piece_that_is_no_text_and_no_bytes_breaks_the_stream_off(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    yield 'x'\n    yield {'not': 'a piece'}\n",
        "node": "exports.handler = function* (event) { yield 'x'; yield { not: 'a piece' }; };\n",
        "deno": "export function* handler(event) { yield 'x'; yield { not: 'a piece' }; }\n",
        "php": "<?php function handler() { yield 'x'; yield ['not' => 'a piece']; }\n",
    }
    streamed = bench.loaded(sources).stream()
    assert (streamed.text, streamed.end.type) == ("x", ERROR)
