"""What a handler may return and what goes out for it, on every runtime."""

import ast
import json

import pytest

from libs.messages.calls import PROXY_HEAD
from libs.testing.guests import ANSWER, Answered, Sources

RUST_READS = """use serde_json::Value;
pub fn handler(_event: Value) -> Value {
    serde_json::from_str(&std::fs::read_to_string("answer.json").unwrap()).unwrap()
}
"""
"""One program for all values: compiling takes longer than all else."""


def returning(python: str, node: str, php: str = "", rust: object = ...) -> Sources:
    """A handler that returns an expression; for Rust, what it returns."""
    others: dict[str, str | dict[str, str]] = {}
    if php:
        others["php"] = f"<?php\nfunction handler(array $event) {{\n    return {php};\n}}\n"
    if rust is not ...:
        others["rust"] = {"handler.rs": RUST_READS, "answer.json": json.dumps(rust)}
    return {
        **others,
        "python": f"def handler(event):\n    return {python}\n",
        "node": f"exports.handler = () => ({node});\n",
        "deno": f"export const handler = () => ({node});\n",
    }


def same(expression: str) -> Sources:
    """A handler that returns an expression of texts, numbers, lists and objects, written as in Python and JavaScript."""
    return returning(expression, expression, php(expression), ast.literal_eval(expression))


def truthful(expression: str) -> Sources:
    """As `same`, with `true` in it."""
    python = expression.replace("true", "True")
    return returning(python, expression, php(python), ast.literal_eval(python))


def php(expression: str) -> str:
    """The same value in PHP: a text keeps its quotes and escapes, which mean the same there."""

    def written(node: ast.expr) -> str:
        if isinstance(node, ast.Dict):
            return f"[{', '.join(f'{written(k)} => {written(v)}' for k, v in zip(node.keys, node.values, strict=True) if k)}]"
        if isinstance(node, ast.List):
            return f"[{', '.join(map(written, node.elts))}]"
        return ast.get_source_segment(expression, node) or ""

    return written(ast.parse(expression, mode="eval").body)


def test_an_object_is_json(answered: Answered) -> None:
    answer = answered(same('{"größe": [1, 2.5, "x"]}'))
    assert answer.status == 200
    assert answer.json() == {"größe": [1, 2.5, "x"]}
    assert answer.headers == [("content-type", "application/json")]


def test_a_list_is_json(answered: Answered) -> None:
    answer = answered(same('[{"a": 1}, 2]'))
    assert (answer.status, answer.json(), answer.header("content-type")) == (200, [{"a": 1}, 2], "application/json")


@pytest.mark.core
def test_a_text_is_plain_text(answered: Answered) -> None:
    answer = answered({**same('"1 < 2 €"'), "bash": "handler() { printf '1 < 2 €'; }\n"})
    assert (answer.text, answer.header("content-type")) == ("1 < 2 €", "text/plain; charset=utf-8")


@pytest.mark.parametrize("text", ["<!DOCTYPE html><p>x", " <html><body>x", "<h1>Hello</h1>", "<div class='a'>b</div>\\n"])
def test_a_text_that_looks_like_html_is_html(answered: Answered, text: str) -> None:
    assert answered(same(f'"{text}"')).header("content-type") == "text/html; charset=utf-8"


@pytest.mark.parametrize("text", ["a <b>c</b>", "<", "<3 you", ""])
def test_a_text_with_an_angle_bracket_is_not_always_html(answered: Answered, text: str) -> None:
    assert answered(same(f'"{text}"')).header("content-type") in ("text/plain; charset=utf-8", None)


@pytest.mark.parametrize(("expression", "text"), [("42", "42"), ("2.5", "2.5")])
def test_a_number_is_text(answered: Answered, expression: str, text: str) -> None:
    answer = answered(same(expression))
    assert (answer.text, answer.header("content-type")) == (text, "text/plain; charset=utf-8")


def test_a_truth_value_is_text(answered: Answered) -> None:
    assert answered(truthful("true")).text == "true"


@pytest.mark.core
def test_nothing_is_an_empty_answer(answered: Answered) -> None:
    answer = answered({**returning("None", "undefined", "null", None), "bash": "handler() { :; }\n"})
    assert (answer.type, answer.status, answer.headers, answer.body) == (ANSWER, 200, [], b"")


def test_bytes_go_out_unchanged(answered: Answered) -> None:
    answer = answered(
        returning("bytes(range(256))", "Buffer.from(Array.from({ length: 256 }, (_, i) => i))", "pack('C*', ...range(0, 255))")
    )
    assert answer.body == bytes(range(256))
    assert answer.header("content-type") == "application/octet-stream"


def test_an_envelope_says_status_headers_and_body(answered: Answered) -> None:
    answer = answered(same('{"status": 201, "headers": {"X-Made": "yes", "Content-Type": "text/x-y"}, "body": "made"}'))
    assert (answer.status, answer.text) == (201, "made")
    assert answer.headers == [("x-made", "yes"), ("content-type", "text/x-y")]


@pytest.mark.parametrize("key", ["body_base64", "body"])
def test_an_envelope_is_taken_in_its_lambda_spelling(answered: Answered, key: str) -> None:
    text = f'{{"statusCode": 202, "isBase64Encoded": true, "{key}": "AAH/"}}'
    answer = answered(truthful(text))
    assert (answer.status, answer.body) == (202, b"\x00\x01\xff")


def test_an_envelope_with_base64_is_bytes(answered: Answered) -> None:
    text = '{"headers": {"content-type": "image/png"}, "is_base64": true, "body_base64": "iVBORw0KGgo="}'
    answer = answered(truthful(text))
    assert (answer.body, answer.header("content-type")) == (b"\x89PNG\r\n\x1a\n", "image/png")


def test_an_empty_base64_body_is_an_empty_body(answered: Answered) -> None:
    text = '{"status": 200, "is_base64": true, "body_base64": ""}'
    assert answered(truthful(text)).body == b""


def test_an_object_as_body_is_json(answered: Answered) -> None:
    answer = answered(same('{"status": 201, "body": {"id": 1}}'))
    assert (answer.status, answer.json(), answer.header("content-type")) == (201, {"id": 1}, "application/json")


def test_bytes_as_body_go_out_unchanged(answered: Answered) -> None:
    answer = answered(returning('{"body": b"\\x00\\xff"}', "{ body: Buffer.from([0, 255]) }", '["body" => "\\x00\\xff"]'))
    assert (answer.body, answer.header("content-type")) == (b"\x00\xff", "application/octet-stream")


def test_a_text_with_a_binary_content_type_is_one_byte_per_character(answered: Answered) -> None:
    text = '{"headers": {"Content-Type": "image/png"}, "body": "\\x89PNG\\x00"}'
    assert answered(same(text)).body == b"\x89PNG\x00"


def test_rows_with_a_csv_content_type_are_csv(answered: Answered) -> None:
    rows = '[{"id": 1, "name": "a, \\"b\\""}, {"id": 2, "name": "c", "more": "d"}]'
    answer = answered(same(f'{{"headers": {{"content-type": "text/csv"}}, "body": {rows}}}'))
    assert answer.text == 'id,name,more\n1,"a, ""b""",\n2,c,d\n'


def test_lists_with_a_csv_content_type_are_csv(answered: Answered) -> None:
    answer = answered(same('{"headers": {"content-type": "text/csv; charset=utf-8"}, "body": [["a", "b"], [1, 2.5], "x"]}'))
    assert answer.text == "a,b\n1,2.5\nx\n"


def test_a_list_of_cookies_is_several_headers(answered: Answered) -> None:
    answer = answered(same('{"headers": {"Set-Cookie": ["a=1", "b=2; Path=/"]}, "body": "x"}'))
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a=1", "b=2; Path=/"]


def test_a_redirect_needs_no_body(answered: Answered) -> None:
    answer = answered(same('{"status": 302, "headers": {"Location": "/x"}}'))
    assert (answer.status, answer.headers, answer.body) == (302, [("location", "/x")], b"")


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_has_none(answered: Answered, status: int) -> None:
    answer = answered(same(f'{{"status": {status}, "body": {{"a": 1}}}}'))
    assert (answer.status, answer.headers, answer.body) == (status, [], b"")


def test_headers_of_the_connection_are_dropped(answered: Answered) -> None:
    headers = '{"Connection": "close", "Transfer-Encoding": "chunked", "Content-Length": "999", "Upgrade": "x", "X-A": 1}'
    answer = answered(same(f'{{"headers": {headers}, "body": "x"}}'))
    assert answer.headers == [("x-a", "1"), ("content-type", "text/plain; charset=utf-8")]


@pytest.mark.parametrize(
    "header",
    ['"X-Bad": "a\\r\\nSet-Cookie: b"', '"X-Bad": "a\\nb"', '"X-Bad": "a\\x00b"', '"X-Bad": "5 €"', '"X-Bad": {"a": 1}'],
)
def test_a_header_that_cannot_be_sent_is_an_invalid_response_that_names_it(answered: Answered, header: str) -> None:
    answer = answered(same(f'{{"headers": {{{header}}}, "body": "x"}}'))
    assert answer.status == 502
    assert answer.failure["code"] == "invalid_response"
    assert "x-bad" in answer.failure["message"]
    assert answer.body == b'{"error":"invalid runtime response"}'


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\\nb", "ä"])
def test_a_header_name_that_cannot_be_sent_is_an_invalid_response(answered: Answered, name: str) -> None:
    assert answered(same(f'{{"headers": {{"{name}": "x"}}}}')).failure["code"] == "invalid_response"


def test_a_latin1_header_value_is_sent(answered: Answered) -> None:
    assert answered(same('{"headers": {"X-Name": "größe"}, "body": "x"}')).header("x-name") == "größe"


@pytest.mark.parametrize("status", ['"active"', "99", "600", "200.5", '"200"', "[200]"])
def test_an_envelope_with_an_impossible_status_is_an_invalid_response(answered: Answered, status: str) -> None:
    answer = answered(same(f'{{"status": {status}, "body": "x"}}'))
    assert (answer.status, answer.failure["code"]) == (502, "invalid_response")
    assert "status" in answer.failure["message"]


@pytest.mark.parametrize("headers", ['"a: b"', "7", "[1]"])
def test_an_envelope_with_headers_that_are_none_is_an_invalid_response(answered: Answered, headers: str) -> None:
    assert answered(same(f'{{"headers": {headers}, "body": "x"}}')).failure["code"] == "invalid_response"


@pytest.mark.parametrize("body", ['"!!!!"', '"abc"', "7"])
def test_an_envelope_with_a_body_that_is_not_base64_is_an_invalid_response(answered: Answered, body: str) -> None:
    text = f'{{"is_base64": true, "body_base64": {body}}}'
    assert answered(truthful(text)).failure["code"] == "invalid_response"


def test_a_number_that_json_lacks_is_null(answered: Answered) -> None:
    sources = returning(
        '{"a": float("nan"), "b": [float("-inf"), 1.5]}', "{ a: NaN, b: [-Infinity, 1.5] }", '["a" => NAN, "b" => [-INF, 1.5]]'
    )
    assert answered(sources).json() == {"a": None, "b": [None, 1.5]}


def test_a_value_that_has_no_json_form_is_a_handler_error_that_names_it(answered: Answered) -> None:
    answer = answered(returning('{"a": {1, 2}}', "{ a: 1n }", '["a" => STDOUT]'))
    assert (answer.status, answer.failure["code"]) == (500, "handler_error")
    assert any(word in answer.failure["message"] for word in ("set", "BigInt", "resource"))


def test_a_value_that_contains_itself_is_a_handler_error(answered: Answered) -> None:
    sources: Sources = {
        "python": "def handler(event):\n    a = {}\n    a['a'] = a\n    return a\n",
        "node": "exports.handler = () => { const a = {}; a.a = a; return a; };\n",
        "deno": "export const handler = () => { const a = {}; a.a = a; return a; };\n",
        "php": "<?php function handler() { $a = new stdClass(); $a->a = $a; return $a; }\n",
    }
    assert answered(sources).failure["code"] == "handler_error"


def test_an_async_handler_is_awaited(answered: Answered) -> None:
    sources: Sources = {
        "python": "import asyncio\nasync def handler(event):\n    await asyncio.sleep(0)\n    return {'a': 1}\n",
        "node": "exports.handler = async () => { await null; return { a: 1 }; };\n",
        "deno": "export const handler = async () => { await null; return { a: 1 }; };\n",
        "rust": 'use serde_json::{json, Value};\npub async fn handler(_: Value) -> Value { json!({"a": ready().await}) }\n'
        "async fn ready() -> i32 { std::future::ready(1).await }\n",
    }
    assert answered(sources).json() == {"a": 1}


@pytest.mark.core
def test_a_large_body_goes_in_and_out_unchanged(answered: Answered) -> None:
    sources: Sources = {
        "python": "import base64\ndef handler(event):\n    return base64.b64decode(event['body_base64'])\n",
        "node": "exports.handler = (event) => Buffer.from(event.body_base64, 'base64');\n",
        "deno": "export const handler = (event) => Uint8Array.fromBase64(event.body_base64);\n",
        "php": "<?php function handler($event) { return base64_decode($event['body_base64']); }\n",
        "rust": "use serde_json::{json, Value};\npub fn handler(event: Value) -> Value {\n"
        '    json!({"is_base64": true, "body_base64": event["body_base64"]})\n}\n',
        "bash": "handler() { [[ $REQUEST == *base64* ]] || cat; }\n",
    }
    body = bytes(range(256)) * 16384  # 4 MiB
    assert answered(sources, body=body).body == body


@pytest.mark.parametrize("wanted", ['{"url": "https://example.com/a", "method": "POST", "body": "x"}', '{"path": "/b"}'])
def test_a_proxy_is_for_the_gateway(answered: Answered, wanted: str) -> None:
    expression = f'{{"proxy": {wanted}}}'
    answer = answered(returning(expression, expression, rust=ast.literal_eval(expression)))
    assert (answer.type, answer.status, answer.head) == (ANSWER, 200, PROXY_HEAD)
    assert answer.json() == json.loads(wanted)


def test_a_proxy_with_bytes_has_them_as_base64(answered: Answered) -> None:
    answer = answered(
        returning('{"proxy": {"path": "/", "body": b"\\x00\\xff"}}', '{ proxy: { path: "/", body: Buffer.from([0, 255]) } }')
    )
    assert answer.json() == {"path": "/", "body": None, "is_base64": True, "body_base64": "AP8="}


def test_a_proxy_that_is_no_object_is_no_answer(answered: Answered) -> None:
    expression = '{"proxy": "https://example.com"}'
    answer = answered(returning(expression, expression, rust=ast.literal_eval(expression)))
    assert answer.failure["code"] == "invalid_response"


def test_a_proxy_of_null_is_none(answered: Answered) -> None:
    answer = answered(
        returning('{"proxy": None, "body": "x"}', '{ proxy: null, body: "x" }', rust={"proxy": None, "body": "x"})
    )
    assert (answer.status, answer.text) == (200, "x")
