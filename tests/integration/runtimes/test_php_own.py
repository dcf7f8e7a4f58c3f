"""What is PHP's own: output buffering, headers by function, `exit`, superglobals, composer."""

import json
from pathlib import Path

import pytest

from libs import errors
from libs.testing.guests import BACKGROUND, CHUNK, END, ERROR, START, WINDOW, Answered, Bench, Sources
from libs.testing.wait import eventually
from services.executor.runtimes.php import PhpRuntime

pytestmark = pytest.mark.parametrize("runtime", ["php"], indirect=True)


def php(body: str, *, before: str = "") -> Sources:
    """A handler with that body."""
    return {"php": f"<?php\n{before}\nfunction handler($event) {{\n{body}\n}}\n"}


def test_what_a_handler_echoes_is_its_answer_when_it_returns_nothing(bench: Bench) -> None:
    guest = bench.loaded(php("echo 'Hello, '; print $event['query']['name'];"))
    answer = guest.call()
    assert (answer.status, answer.text, answer.header("content-type")) == (200, "Hello, World", "text/plain; charset=utf-8")
    assert guest.stdout == ""


def test_a_template_is_an_answer(bench: Bench) -> None:
    source = "<?php function handler($event) { ?>\n<p><?= htmlspecialchars($event['query']['name']) ?></p>\n<?php }\n"
    answer = bench.loaded({"php": source}).call(query={"name": "<b>"})
    assert (answer.text, answer.header("content-type")) == ("<p>&lt;b&gt;</p>\n", "text/html; charset=utf-8")


def test_what_a_handler_echoes_is_logged_when_it_returns_something(bench: Bench) -> None:
    guest = bench.loaded(php("echo 'noted'; return ['a' => 1];"))
    assert guest.call().json() == {"a": 1}
    assert guest.stdout == "noted"


def test_buffers_that_a_handler_leaves_open_are_flushed_into_its_answer(bench: Bench) -> None:
    guest = bench.loaded(php("ob_start(); echo 'a'; ob_start(); echo 'b';"))
    assert [guest.call().text for _ in range(2)] == ["ab", "ab"]


def test_a_handler_may_buffer_by_itself(answered: Answered) -> None:
    body = "ob_start(); echo 'inside'; $text = ob_get_clean(); return strtoupper($text) . ob_get_level();"
    assert answered(php(body)).text == "INSIDE0"


def test_headers_status_and_cookies_are_said_by_function(bench: Bench) -> None:
    body = (
        "if (isset($event['query']['plain'])) return 'plain';\n"
        "header('Content-Type: text/x-y'); header('X-A: 1'); header('X-A: 2'); header('X-B: 1'); header('x-b: 2', false);\n"
        "setcookie('a', 'b c', ['path' => '/', 'httponly' => true]); http_response_code(201);\n"
        "echo json_encode(headers_list());"
    )
    guest = bench.loaded(php(body))
    answer = guest.call()
    cookie = ["set-cookie", "a=b%20c; path=/; HttpOnly"]
    assert (answer.status, json.loads(answer.head)) == (
        201,
        [["content-type", "text/x-y"], ["x-a", "2"], ["x-b", "1"], ["x-b", "2"], cookie],
    )
    plain = guest.call(query={"plain": "1"})
    assert (plain.status, plain.headers) == (200, [("content-type", "text/plain; charset=utf-8")])


def test_an_envelope_wins_over_headers_that_were_said(answered: Answered) -> None:
    said = "header('X-A: said'); header('X-B: said'); http_response_code(404);"
    answer = answered(php(f"{said} return ['status' => 201, 'headers' => ['X-A' => 'r']];"))
    assert (answer.status, answer.headers) == (201, [("x-b", "said"), ("x-a", "r")])


def test_a_location_header_redirects(answered: Answered) -> None:
    answer = answered(php("header('Location: /x'); exit;"))
    assert (answer.status, answer.headers) == (302, [("location", "/x")])


def test_a_header_that_cannot_be_sent_is_an_invalid_response(answered: Answered) -> None:
    assert answered(php("header(\"X-A: a\\nb\"); echo 'x';")).failure["code"] == "invalid_response"


async def test_exit_answers_with_what_was_echoed_and_ends_the_worker(bench: Bench) -> None:
    guest = bench.loaded(php("echo 'good'; http_response_code(202); exit('bye');"))
    answer = guest.call()
    assert (answer.status, answer.text) == (202, "goodbye")
    assert answer.flags & BACKGROUND, "a worker that is about to end would get the next call"
    await eventually(lambda: guest.process.poll() == 0)


@pytest.mark.parametrize(
    ("body", "message"),
    [("require 'broken.php';", "Cannot redeclare"), ("trigger_error('by hand', E_USER_ERROR);", "by hand")],
)
async def test_an_error_that_cannot_be_caught_is_answered_and_ends_the_worker(bench: Bench, body: str, message: str) -> None:
    sources: Sources = {
        "php": {
            "handler.php": f"<?php\nfunction handler() {{\n{body}\n}}\n",
            "broken.php": "<?php function a() {} function a() {}\n",
        }
    }
    guest = bench.loaded(sources)
    answer = guest.call()
    assert (answer.type, answer.status, answer.failure["code"]) == (ERROR, 500, "handler_error")
    assert message in answer.failure["message"]
    assert str(bench.folder) not in answer.failure["stack"]
    assert answer.flags & BACKGROUND, "a worker that is about to end would get the next call"
    await eventually(lambda: guest.process.poll() is not None)


def test_memory_beyond_the_limit_is_answered(answered: Answered) -> None:
    answer = answered(php("$all = []; while (true) $all[] = str_repeat('x', 1000000);"))
    assert (answer.status, answer.failure["code"]) == (502, "memory_limit")
    assert json.loads(answer.body) == {"error": "runtime error: memory limit of 128 MB exceeded"}


def test_code_that_exits_while_it_loads_is_refused(bench: Bench) -> None:
    assert "ended the process" in bench.refused({"php": "<?php exit(1);\n"}).failure["message"]


@pytest.mark.parametrize(
    "child",
    ["return 'child';", "exit(3);", "throw new Exception('child');", "echo 'noted'; flush();", "str_repeat('x', 1 << 31);"],
)
def test_a_fork_of_the_worker_answers_nothing(bench: Bench, child: str) -> None:
    fork = f"$child = pcntl_fork(); if ($child === 0) {{ {child} exit; }} pcntl_waitpid($child, $status); return 'parent';"
    guest = bench.loaded(php(f"if (!function_exists('pcntl_fork')) {{ return 'parent'; }} {fork}"))
    for _ in range(2):
        assert guest.call().text == "parent"


def test_warnings_go_to_the_log_and_not_into_the_answer(bench: Bench) -> None:
    guest = bench.loaded(php("echo $missing; echo 'x';"))
    assert guest.call().text == "x"
    assert "Undefined variable $missing" in guest.stderr


def test_superglobals_are_new_for_each_call(bench: Bench) -> None:
    body = "$seen = [$_GET, $_POST, isset($_SERVER['LEFT'])]; $_GET['a'] = $_POST['b'] = $_SERVER['LEFT'] = 1; return $seen;"
    guest = bench.loaded(php(body))
    assert [guest.call().json() for _ in range(2)] == [[[], [], False]] * 2


def test_flush_streams_what_was_echoed(bench: Bench, tmp_path: Path) -> None:
    body = (
        "while (ob_get_level() > 0) ob_end_flush();\nheader('Content-Type: text/event-stream');\n"
        "echo \"data: 1\\n\\n\"; flush();\nwhile (!file_exists($event['query']['gate'])) { usleep(5000); clearstatcache(); }\n"
        "echo 'data: '; echo \"2\\n\\n\"; ob_flush(); flush(); echo 'rest';"
    )
    gate = tmp_path / "gate"
    guest = bench.loaded(php(body))
    for _ in range(2):
        start = guest.call(query={"gate": str(gate)})
        assert (start.type, start.body, start.header("content-type")) == (START, b"data: 1\n\n", "text/event-stream")
        gate.touch()
        assert guest.rest_of(start).pieces == [b"data: 1\n\n", b"data: 2\n\n", b"rest"]
    assert guest.stdout == ""


def test_a_handler_that_flushes_waits_for_credit(bench: Bench) -> None:
    guest = bench.loaded(php("while (true) { echo str_repeat('x', 65536); flush(); }"))
    assert guest.call().type == START
    for _ in range(WINDOW):
        assert guest.next_frame().type == CHUNK
    assert guest.silent()
    guest.credit()
    assert guest.next_frame().type == CHUNK
    assert guest.close() == 0


def test_a_handler_that_fails_after_it_has_flushed_breaks_its_stream_off(bench: Bench) -> None:
    streamed = bench.loaded(php("echo 'a'; flush(); throw new Exception('late');")).stream()
    assert (streamed.text, streamed.end.type) == ("a", ERROR)
    assert streamed.end.failure["message"] == "late"


def test_exit_after_a_flush_ends_the_stream(bench: Bench) -> None:
    guest = bench.loaded(php("echo 'a'; flush(); echo 'b'; exit;"))
    assert guest.call().body == b"a"
    # By hand: no credit can be granted to a guest that has ended.
    piece, end = guest.next_frame(), guest.next_frame()
    assert [(frame.type, frame.body) for frame in (piece, end)] == [(CHUNK, b"b"), (END, b"")]
    assert end.flags & BACKGROUND, "a worker that is about to end would get the next call"


def test_an_open_file_is_streamed_as_body(bench: Bench) -> None:
    sources: Sources = {
        "php": {
            "handler.php": "<?php function handler() { return ['body' => fopen('data.bin', 'rb')]; }\n",
            "data.bin": "0123456789" * 20_000,
        }
    }
    streamed = bench.loaded(sources).stream()
    assert streamed.text == "0123456789" * 20_000


@pytest.mark.parametrize(
    "source",
    [
        "return function ($event) { return 'x'; };",
        "namespace Mine; function handler($event) { return 'x'; }",
        "return new class { public function __invoke($event) { return 'x'; } };",
    ],
)
def test_a_handler_is_found_in_other_forms(answered: Answered, source: str) -> None:
    assert answered({"php": f"<?php\n{source}\n"}).text == "x"


def test_an_autoloader_of_composer_is_used(answered: Answered) -> None:
    sources: Sources = {
        "php": {
            "handler.php": "<?php function handler() { return Greeting::TEXT; }\n",
            "vendor/autoload.php": "<?php spl_autoload_register(fn () => require __DIR__ . '/Greeting.php');\n",
            "vendor/Greeting.php": "<?php class Greeting { const TEXT = 'auto'; }\n",
        }
    }
    assert answered(sources).text == "auto"


@pytest.mark.usefixtures("runtime")
async def test_a_composer_manifest_is_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "composer.json").write_text('{"require": {"monolog/monolog": "^3"}}')
    monkeypatch.setenv("PATH", str(tmp_path))
    php_runtime = PhpRuntime()
    with pytest.raises(errors.UnavailableError, match="apt install composer"):
        php_runtime.build(code, "handler.php")
    composer = tmp_path / "composer"
    composer.write_text("#!/bin/sh\n")
    composer.chmod(0o755)
    plan = php_runtime.build(code, "handler.php")
    assert plan is not None
    assert (plan.manifest, plan.inputs, plan.output, plan.mount) == ("composer.json", ("composer.json",), "vendor", "vendor")
    assert {"install", "--no-dev", "--no-scripts"} <= set(plan.argv)


@pytest.mark.usefixtures("runtime")
def test_code_without_a_manifest_has_nothing_to_build(tmp_path: Path) -> None:
    assert PhpRuntime().build(tmp_path, "handler.php") is None
    (tmp_path / "composer.json").write_text("{")
    with pytest.raises(errors.PermanentError, match=r"composer\.json is not JSON"):
        PhpRuntime().build(tmp_path, "handler.php")


def test_a_proxy_is_data(bench: Bench) -> None:
    assert bench.loaded(php("return ['proxy' => ['url' => 'https://example.com']];")).call().json() == {
        "proxy": {"url": "https://example.com"}
    }
