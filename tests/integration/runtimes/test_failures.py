"""What is told to whom when user code fails, on every runtime."""

import json

import pytest

from libs.testing.guests import ENTRY_FILES, ERROR, Answered, Bench, Sources
from libs.testing.wait import eventually


@pytest.mark.core
def test_a_handler_that_raises_is_answered_with_its_message(answered: Answered) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    raise RuntimeError('no luck')\n",
        "node": "exports.handler = () => { throw new Error('no luck'); };\n",
        "deno": "export const handler = () => { throw new Error('no luck'); };\n",
        "php": "<?php function handler() { throw new Error('no luck'); }\n",
        "rust": ('use serde_json::Value;\npub fn handler(_: Value) -> Result<Value, String> {\n    Err("no luck".into())\n}\n'),
        "bash": "handler() { echo 'no luck' >&2; return 1; }\n",
    }
    answer = answered(sources)
    assert (answer.type, answer.status) == (ERROR, 500)
    assert json.loads(answer.body) == {"error": "no luck"}
    assert answer.failure["code"] == "handler_error"
    assert answer.failure["message"] == "no luck"
    assert answer.failure["type"] in ("RuntimeError", "Error")


def test_an_error_of_a_class_of_its_own_is_told_by_that(answered: Answered) -> None:
    sources: Sources = {
        "python": "class Mine(TypeError):\n    pass\ndef handler(event):\n    raise Mine('no')\n",
        "node": "class Mine extends TypeError {}\nexports.handler = () => { throw new Mine('no'); };\n",
        "deno": "class Mine extends TypeError {}\nexport const handler = () => { throw new Mine('no'); };\n",
        "php": "<?php class Mine extends TypeError {} function handler() { throw new Mine('no'); }\n",
    }
    assert answered(sources).failure["type"] == "Mine"


def test_a_stack_shows_user_code_with_paths_of_its_own_folder_only(bench: Bench) -> None:
    sources: Sources = {
        "python": "def deep():\n    raise KeyError('k')\ndef handler(event):\n    deep()\n",
        "node": "function deep() { throw new TypeError('k'); }\nexports.handler = () => deep();\n",
        "deno": "function deep() { throw new TypeError('k'); }\nexport const handler = () => deep();\n",
        "php": "<?php\nfunction deep() { throw new TypeError('k'); }\nfunction handler() { deep(); }\n",
        "rust": (
            "use serde_json::Value;\n"
            "fn deep() {\n"
            '    panic!("k")\n'
            "}\n"
            "pub fn handler(_: Value) -> Value {\n"
            "    deep();\n"
            "    Value::Null\n"
            "}\n"
        ),
    }
    stack = bench.loaded(sources).call().failure["stack"]
    assert "deep" in stack
    assert "handler" in stack
    assert str(bench.folder) not in stack
    assert "/runtimes/" not in stack


def test_a_missing_file_is_404(answered: Answered) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    open('/nowhere/at-all')\n",
        "node": "exports.handler = () => require('fs').readFileSync('/nowhere/at-all');\n",
        "deno": "export const handler = () => Deno.readTextFileSync('/tmp/nowhere/at-all');\n",
        "rust": (
            "use serde_json::Value;\n"
            "pub fn handler(_: Value) -> Result<Value, std::io::Error> {\n"
            '    Ok(std::fs::read_to_string("/nowhere/at-all")?.into())\n'
            "}\n"
        ),
    }
    assert answered(sources).status == 404


@pytest.mark.core
def test_a_worker_answers_again_after_an_error(bench: Bench) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    return {'n': 1 / int(event['query']['d'])}\n",
        "node": "exports.handler = (event) => { if (event.query.d === '0') throw new Error('zero'); return { n: 1 }; };\n",
        "deno": "export const handler = (event) => { if (event.query.d === '0') throw new Error('zero'); return { n: 1 }; };\n",
        "php": "<?php function handler($event) { return ['n' => intdiv(1, (int) $event['query']['d'])]; }\n",
        "rust": (
            "use serde_json::{json, Value};\n"
            "pub fn handler(event: Value) -> Value {\n"
            '    let d: i32 = event["query"]["d"].as_str().unwrap().parse().unwrap();\n'
            '    json!({"n": 1 / d})\n'
            "}\n"
        ),
        "bash": 'handler() { [[ $REQUEST != *\'"d":"0"\'* ]] && printf \'{"n":1}\'; }\n',
    }
    guest = bench.loaded(sources)
    assert guest.call(query={"d": "0"}).type == ERROR
    assert guest.call(query={"d": "1"}).json()["n"] == 1


def test_an_async_handler_that_raises_is_answered(answered: Answered) -> None:
    sources: Sources = {
        "python": "async def handler(event):\n    raise RuntimeError('late')\n",
        "node": "exports.handler = async () => { throw new Error('late'); };\n",
        "deno": "export const handler = async () => { throw new Error('late'); };\n",
        "rust": (
            "use serde_json::Value;\n"
            "pub async fn handler(_: Value) -> Result<Value, Box<dyn std::error::Error>> {\n"
            '    Err("late".into())\n'
            "}\n"
        ),
    }
    assert json.loads(answered(sources).body) == {"error": "late"}


def test_a_handler_that_ends_the_process_is_a_crash(bench: Bench) -> None:
    sources: Sources = {
        "python": "import os\ndef handler(event):\n    print('last words')\n    os._exit(3)\n",
        "node": "exports.handler = () => { console.log('last words'); process.exit(3); };\n",
        "deno": "export const handler = () => { console.log('last words'); Deno.exit(3); };\n",
        "rust": (
            "use serde_json::Value;\n"
            "pub fn handler(_: Value) -> Value {\n"
            '    println!("last words");\n'
            "    std::process::exit(3)\n"
            "}\n"
        ),
    }
    guest = bench.loaded(sources)
    with pytest.raises(EOFError):
        guest.call()
    assert guest.process.wait(20) == 3
    assert guest.stdout == "last words\n"


def test_code_with_a_syntax_error_is_a_load_error_that_names_file_and_line(bench: Bench) -> None:
    answer = bench.refused(
        {
            "python": "x = 1\n\ndef handler(event:\n    pass\n",
            "node": "const x = 1;\n\nconst = 2;\n",
            "deno": "const x = 1;\n\nconst = 2;\n",
            "php": "<?php\n\nfunction handler( {\n}\n",
        }
    )
    assert answer.status == 500
    assert f"{ENTRY_FILES[bench.runtime]}:3" in json.loads(answer.body)["error"]
    assert any(kind in json.loads(answer.body)["error"] for kind in ("SyntaxError", "ParseError"))
    assert str(bench.folder) not in answer.text


def test_code_that_raises_while_it_loads_is_a_load_error_that_names_file_and_line(bench: Bench) -> None:
    sources: Sources = {
        "python": {"handler.py": "import broken\n", "broken.py": "\nraise RuntimeError('not today')\n"},
        "node": {"handler.js": "require('./broken.js');\n", "broken.js": "\nthrow new Error('not today');\n"},
        "deno": {"handler.ts": "import './broken.ts';\n", "broken.ts": "\nthrow new Error('not today');\n"},
        "php": {
            "handler.php": "<?php require 'broken.php';\n",
            "broken.php": "<?php\nthrow new Error('not today');\n",
        },
    }
    error = json.loads(bench.refused(sources).body)["error"]
    assert error.startswith("broken.")
    assert ":2: " in error
    assert "not today" in error


def test_a_missing_module_is_a_load_error_that_names_it(bench: Bench) -> None:
    error = json.loads(
        bench.refused(
            {
                "python": "import not_there\n",
                "node": "require('not_there');\n",
                "deno": "import 'not_there';\n",
                "php": "<?php require 'not_there.php';\n",
            }
        ).body
    )["error"]
    assert "not_there" in error
    assert error.startswith("handler.")


@pytest.mark.core
def test_code_without_a_handler_is_a_load_error_that_says_so(bench: Bench) -> None:
    error = json.loads(
        bench.refused(
            {
                "python": "other = 1\n",
                "node": "exports.other = 1;\n",
                "deno": "export const other = 1;\n",
                "php": "<?php function other() {}\n",
                "bash": "other() { :; }\n",
            }
        ).body
    )["error"]
    assert "no function named handler or main" in error


@pytest.mark.core
def test_a_guest_that_could_not_load_still_ends_when_it_is_told(bench: Bench) -> None:
    bench.refused(
        {
            "python": "1 / 0\n",
            "node": "null.x;\n",
            "deno": "undefined.x();\n",
            "php": "<?php intdiv(1, 0);\n",
            "bash": "handler() {\n",
        }
    )
    assert bench.guests[0].close() == 0


async def test_an_exception_in_the_background_does_not_end_the_worker(bench: Bench) -> None:
    sources: Sources = {
        "python": (
            "import threading\ndef fail():\n    raise RuntimeError('behind')\n"
            "def handler(event):\n    threading.Thread(target=fail).start()\n    return 'ok'\n"
        ),
        "node": (
            "exports.handler = () => { setTimeout(() => { throw new Error('behind'); }, 1);"
            " Promise.reject(new Error('forgotten')); return 'ok'; };\n"
        ),
        "deno": (
            "export const handler = () => { setTimeout(() => { throw new Error('behind'); }, 1);"
            " Promise.reject(new Error('forgotten')); return 'ok'; };\n"
        ),
        "rust": (
            "use serde_json::Value;\n"
            "pub fn handler(_: Value) -> Value {\n"
            '    std::thread::spawn(|| panic!("behind"));\n'
            '    "ok".into()\n'
            "}\n"
        ),
    }
    guest = bench.loaded(sources)
    assert guest.call().text == "ok"
    await eventually(lambda: "behind" in guest.stderr)
    assert guest.call().text == "ok"


@pytest.mark.core
def test_a_worker_without_code_refuses_calls(bench: Bench) -> None:
    assert bench.start().call().failure["message"] == "no code is loaded"
