"""What is Node's own: kinds of modules and exports, TypeScript, fetch's Response, the event loop."""

import json

import pytest

from libs.testing.guests import Answered, Bench, Sources

pytestmark = pytest.mark.parametrize("runtime", ["node"], indirect=True)


def of(name: str, source: str, **others: str) -> Sources:
    """A behaviour whose entry file has that name."""
    return {"node": {name: source, **others}}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("handler.js", "module.exports = { handler() { return this.text; }, text: 'x' };"),
        ("handler.cjs", "exports.handler = () => 'x';"),
        ("handler.js", "export const handler = () => 'x';"),
        ("handler.js", "export default () => 'x';"),
        ("handler.mjs", "export default { handler: () => 'x' };"),
        ("handler.mjs", "export async function main() { return 'x'; }"),
        ("handler.mjs", "const text = await Promise.resolve('x');\nexport const handler = () => text;"),
        ("handler.ts", "type E = { method: string };\nexport const handler = (event: E): string => 'x';"),
        ("handler.ts", "interface E { method: string }\nmodule.exports.handler = (event: E): string => 'x';"),
        ("get.[id].mts", "export default (request: Request): Response => new Response('x');"),
    ],
)
def test_a_handler_is_found_in_any_kind_of_module(answered: Answered, name: str, source: str) -> None:
    assert answered(of(name, source)).text == "x"


def test_a_function_as_the_module_itself_needs_a_style_that_says_what_it_takes(bench: Bench) -> None:
    sources = of("handler.js", "module.exports = () => 'x';")
    assert "no function named handler" in bench.refused(sources).failure["message"]
    assert bench.loaded(sources, style="native").call().text == "x"


def test_modules_of_the_folder_are_imported(answered: Answered) -> None:
    sources = {
        "handler.ts": "import { word } from './word.ts';\nimport pkg from 'pkg';\nexport const handler = () => word + pkg;\n",
        "word.ts": "export const word: string = 'w';\n",
        "node_modules/pkg/package.json": '{"name": "pkg", "main": "main.js"}',
        "node_modules/pkg/main.js": "module.exports = '!';\n",
    }
    assert answered({"node": sources}).text == "w!"


@pytest.mark.parametrize(
    ("name", "source", "place"),
    [
        ("handler.mjs", "export const a = 1;\nexport const = 2;\n", "handler.mjs:2: SyntaxError: "),
        ("[id].mjs", "\nthrow new RangeError('no');\n", "[id].mjs:2: RangeError: no"),
        ("handler.mjs", "import { b } from './b.mjs';\n", "handler.mjs:1: SyntaxError: "),
        ("handler.mjs", "import './c.mjs';\n", "c.mjs:2: SyntaxError: "),
        ("handler.ts", "const a: number = 1;\nconst b: = 2;\n", "handler.ts:2: SyntaxError: "),
    ],
)
def test_a_load_error_names_file_and_line_in_any_kind_of_module(bench: Bench, name: str, source: str, place: str) -> None:
    answer = bench.refused({"node": {name: source, "b.mjs": "export const a = 1;\n", "c.mjs": "\nconst = 1;\n"}})
    assert json.loads(answer.body)["error"].startswith(place)


def test_a_fetch_response_is_answered_with_all_its_cookies(answered: Answered) -> None:
    source = (
        "exports.handler = () => { const r = new Response(new Uint8Array([0, 255]), { status: 201, headers: { 'x-a': 'b' } });"
        " r.headers.append('set-cookie', 'a=1'); r.headers.append('set-cookie', 'b=2'); return r; };"
    )
    answer = answered({"node": source})
    assert (answer.status, answer.body) == (201, b"\x00\xff")
    assert answer.headers == [
        ("x-a", "b"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("content-type", "application/octet-stream"),
    ]


def test_a_fetch_response_of_json_is_json(answered: Answered) -> None:
    answer = answered({"node": "exports.handler = async () => Response.json({ a: 1 });"})
    assert (answer.json(), answer.header("content-type")) == ({"a": 1}, "application/json")


def test_anything_can_be_thrown(bench: Bench) -> None:
    source = (
        "exports.handler = (event) => { throw { s: 'text', u: undefined, o: { message: 'm' },"
        " e: Object.assign(new Error('gone'), { code: 'ENOENT' }), n: Object.create(null),"
        " r: Object.defineProperty(new Error('rude'), 'name', { get() { throw 1; } }),"
        " c: Object.defineProperty(new Error('rude'), 'code', { get() { throw 1; } }),"
        " q: Object.defineProperty(new Error(), 'message', { get() { throw 1; } }) }[event.query.k]; };"
    )
    guest = bench.loaded({"node": source})
    answers = {key: guest.call(query={"k": key}) for key in "suoenrcq"}
    errors = {key: json.loads(answer.body)["error"] for key, answer in answers.items()}
    assert errors == {
        "s": "text",
        "u": "undefined",
        "o": "m",
        "e": "gone",
        "n": "object",
        "r": "rude",
        "c": "rude",
        "q": "Error",
    }
    assert answers["e"].status == 404


def test_an_exception_outside_of_the_promise_answers_the_call_that_runs(bench: Bench) -> None:
    source = (
        "exports.handler = (event) => event.query.ok ? 'ok' :"
        " new Promise(() => setTimeout(() => { throw new Error('aside'); }, 1));"
    )
    guest = bench.loaded({"node": source})
    assert guest.call().failure["message"] == "aside"
    assert guest.call(query={"ok": "1"}).text == "ok"


def test_a_function_as_answer_is_a_handler_error(answered: Answered) -> None:
    assert "function" in answered({"node": "exports.handler = () => () => 1;"}).failure["message"]
