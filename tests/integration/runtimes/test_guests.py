"""What a guest keeps to itself and how it ends, on every runtime."""

import pytest

from libs.testing.guests import CALL, ENTRY_FILES, Bench, Sources, request_head
from libs.testing.wait import eventually

HELLO: Sources = {
    "python": "def handler(event):\n    return {'hello': event['query']['name']}\n",
    "node": "exports.handler = (event) => ({ hello: event.query.name });\n",
    "deno": "export const handler = (event) => ({ hello: event.query.name });\n",
    "php": "<?php function handler($event) { return ['hello' => $event['query']['name']]; }\n",
    "rust": (
        "use serde_json::{json, Value};\n"
        "pub fn handler(event: Value) -> Value {\n"
        '    json!({"hello": event["query"]["name"]})\n'
        "}\n"
    ),
    "bash": ('handler() { [[ $REQUEST =~ \\"name\\":\\"([^\\"]*) ]] && printf \'{"hello":"%s"}\' "${BASH_REMATCH[1]}"; }\n'),
}


def test_output_of_a_handler_is_flushed_before_the_answer_and_never_mixed_with_it(bench: Bench) -> None:
    sources: Sources = {
        "python": (
            "import sys\ndef handler(event):\n    print('to out', end='', flush=True)\n    print('to err', file=sys.stderr)\n"
            "    sys.stdout.buffer.write(b'\\x00\\x00\\x00\\x14\\x05')\n    return 'ok'\n"
        ),
        "node": (
            "exports.handler = () => { process.stdout.write('to out'); console.error('to err');"
            " process.stdout.write(Buffer.from([0, 0, 0, 20, 5])); return 'ok'; };\n"
        ),
        "deno": (
            "export const handler = () => { Deno.stdout.writeSync(new TextEncoder().encode('to out')); console.error('to err');"
            " Deno.stdout.writeSync(Uint8Array.of(0, 0, 0, 20, 5)); return 'ok'; };\n"
        ),
        "php": (
            "<?php\n"
            "function handler() {\n"
            "    echo 'to out';\n"
            '    fwrite(STDERR, "to err\\n");\n'
            '    echo "\\0\\0\\0\\x14\\x05";\n'
            "    return 'ok';\n"
            "}\n"
        ),
        "rust": (
            "use serde_json::Value;\n"
            "use std::io::Write;\n"
            "pub fn handler(_: Value) -> Value {\n"
            '    print!("to out");\n'
            '    eprintln!("to err");\n'
            "    std::io::stdout().write_all(&[0, 0, 0, 20, 5]).unwrap();\n"
            '    "ok".into()\n'
            "}\n"
        ),
    }
    guest = bench.loaded(sources)
    assert guest.call().text == "ok"
    assert guest.stdout == "to out\x00\x00\x00\x14\x05"
    assert guest.stderr == "to err\n"


def test_output_is_not_lost_when_it_is_not_text(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    print('\\udc80')\n    return 'ok'\n",
        "node": "exports.handler = () => { console.log('\\udc80'); return 'ok'; };\n",
        "deno": "export const handler = () => { console.log('\\udc80'); return 'ok'; };\n",
        "php": "<?php function handler() { echo \"\\xff\\n\"; return 'ok'; }\n",
    }
    assert bench.loaded(sources).call().text == "ok"


def test_arguments_of_the_process_do_not_tell_the_descriptor(bench: Bench) -> None:
    sources: Sources = {
        "python": "import os, sys\ndef handler(event):\n    return [os.path.basename(a) for a in sys.argv]\n",
        "node": "exports.handler = () => process.argv.slice(1).map((a) => require('path').basename(a));\n",
        "deno": "export const handler = () => [...Deno.args, ...process.argv.slice(1).map((a) => a.split('/').pop())];\n",
        "php": "<?php function handler() { global $argv; return array_map('basename', $argv); }\n",
        "rust": (
            "use serde_json::{json, Value};\n"
            "pub fn handler(_: Value) -> Value {\n"
            '    let more = std::env::args().count() > 1 || std::env::var("FNBUS_GUEST").is_ok();\n'
            '    json!([if more { "more" } else { "handler.rs" }])\n'
            "}\n"
        ),
    }
    assert bench.loaded(sources).call().json() == [ENTRY_FILES[bench.runtime]]


@pytest.mark.core
def test_descriptor_is_not_inherited_by_programs_that_user_code_starts(bench: Bench) -> None:
    sources: Sources = {
        "python": (
            "import subprocess\ndef handler(event):\n"
            "    return subprocess.run(['ls', '-l', '/proc/self/fd'], close_fds=False, capture_output=True, text=True).stdout\n"
        ),
        "node": "exports.handler = () => require('child_process').execFileSync('ls', ['-l', '/proc/self/fd']).toString();\n",
        "deno": (
            "const ls = new Deno.Command('ls', { args: ['-l', '/proc/self/fd'] });\n"
            "export const handler = () => new TextDecoder().decode(ls.outputSync().stdout);\n"
        ),
        "php": "<?php function handler() { return shell_exec('ls -l /proc/self/fd'); }\n",
        "rust": (
            "use serde_json::Value;\n"
            "pub fn handler(_: Value) -> Value {\n"
            '    let output = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();\n'
            "    String::from_utf8(output.stdout).unwrap().into()\n"
            "}\n"
        ),
        "bash": "handler() { ls -l /proc/self/fd; }\n",
    }
    listing = bench.loaded(sources).call().text
    # Node hands its children socket pairs as their stdio; anything above is inherited.
    above = [line for line in listing.splitlines() if "->" in line and int(line.split()[-3]) > 2]
    assert not [line for line in above if "socket:" in line], listing


@pytest.mark.core
def test_standard_input_is_empty(bench: Bench) -> None:
    sources: Sources = {
        "python": "import sys\ndef handler(event):\n    return {'in': sys.stdin.read()}\n",
        "node": "exports.handler = () => ({ in: require('fs').readFileSync(0, 'utf8') });\n",
        "deno": "export const handler = () => ({ in: Deno.stdin.readSync(new Uint8Array(9)) ?? '' });\n",
        "php": "<?php function handler() { return ['in' => stream_get_contents(STDIN)]; }\n",
        "rust": (
            "use serde_json::{json, Value};\n"
            "pub fn handler(_: Value) -> Value {\n"
            '    json!({"in": std::io::read_to_string(std::io::stdin()).unwrap()})\n'
            "}\n"
        ),
        "bash": 'handler() { printf \'{"in":"%s"}\' "$(cat)"; }\n',
    }
    assert bench.loaded(sources).call().json() == {"in": ""}


@pytest.mark.core
def test_a_frame_that_comes_in_pieces_is_put_together(bench: Bench) -> None:
    guest = bench.loaded(HELLO)
    assert guest.call(pieces_of=7).json() == {"hello": "World"}
    assert guest.call(body=b"x" * 200_000, pieces_of=65_536).json() == {"hello": "World"}


@pytest.mark.core
def test_calls_that_come_together_are_answered_one_by_one(bench: Bench) -> None:
    guest = bench.loaded(HELLO)
    for call in (11, 12, 13):
        guest.send(CALL, head=request_head(query={"name": str(call)}), call=call)
    answers = [guest.receive() for _ in range(3)]
    assert [(answer.call, answer.json()["hello"]) for answer in answers] == [(11, "11"), (12, "12"), (13, "13")]


def test_a_guest_ends_when_its_descriptor_is_closed_whatever_it_left_running(bench: Bench) -> None:
    sources: Sources = {
        "python": (
            "import threading\ndef handler(event):\n    threading.Thread(target=threading.Event().wait).start()\n"
            "    return 'ok'\n"
        ),
        "node": "exports.handler = () => { setInterval(() => {}, 1000); return 'ok'; };\n",
        "deno": "export const handler = () => { setInterval(() => {}, 1000); return 'ok'; };\n",
        "rust": (
            "use serde_json::Value;\n"
            "pub fn handler(_: Value) -> Value {\n"
            "    std::thread::spawn(std::thread::park);\n"
            '    "ok".into()\n'
            "}\n"
        ),
    }
    guest = bench.loaded(sources)
    assert guest.call().text == "ok"
    assert guest.close() == 0


@pytest.mark.core
async def test_a_guest_ends_when_its_descriptor_is_closed_before_it_has_code(bench: Bench) -> None:
    guest = bench.start()
    assert guest.close() == 0
    await eventually(lambda: guest.process.poll() == 0)
