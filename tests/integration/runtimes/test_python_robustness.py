"""What user code may do to its own Python worker without anybody else being told nonsense."""

import json

import pytest

from libs.testing.guests import ANSWER, ERROR, START, Answered, Bench

pytestmark = pytest.mark.parametrize("runtime", ["python"], indirect=True)

HANDLER = "import os, sys, threading\ndef handler(event):\n"


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("sys.exit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise BaseException('x')", "BaseException"),
        ("return handler(event)", "RecursionError"),
        ("raise ExceptionGroup('many', [ValueError('x')])", "ExceptionGroup"),
        ("raise MemoryError", "MemoryError"),
    ],
)
@pytest.mark.parametrize("form", ["def", "async def"])
def test_whatever_is_raised_is_an_error_of_its_call_alone(bench: Bench, statement: str, kind: str, form: str) -> None:
    if form == "async def" and kind == "RecursionError":
        statement = "return await handler(event)"
    source = f"import sys\n{form} handler(event):\n    if event['query'].get('ok'):\n        return 'ok'\n    {statement}\n"
    guest = bench.loaded({"python": source})
    answer = guest.call()
    assert (answer.type, answer.status, answer.failure["type"]) == (ERROR, 500, kind)
    assert guest.call(query={"ok": "1"}).text == "ok"


@pytest.mark.parametrize("statement", ["os._exit(5)", "os.kill(os.getpid(), 9)", "os.abort()"])
def test_a_worker_that_ends_itself_sends_nothing_more(bench: Bench, statement: str) -> None:
    guest = bench.loaded({"python": HANDLER + f"    {statement}\n"})
    with pytest.raises(EOFError):
        guest.call()


@pytest.mark.parametrize("after", ["return 'x'", "raise RuntimeError", "yield 'x'"])
def test_a_fork_that_runs_on_never_speaks_for_its_worker(bench: Bench, after: str) -> None:
    source = HANDLER + f"    child = os.fork()\n    if child:\n        os.waitpid(child, 0)\n    {after}\n"
    guest = bench.loaded({"python": source})
    for _ in range(3):
        answer = guest.call()
        if answer.type == START:
            assert guest.rest_of(answer).text == "x"
        else:
            assert answer.type == (ANSWER if "return" in after else ERROR)
    assert guest.silent()


def test_a_process_pool_of_the_handler_works(answered: Answered) -> None:
    source = (
        "import multiprocessing\ndef square(n):\n    return n * n\ndef handler(event):\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool:\n        return pool.map(square, [1, 2, 3])\n"
    )
    assert answered({"python": source}).json() == [1, 4, 9]


def test_threads_that_print_do_not_touch_answers(bench: Bench) -> None:
    source = (
        "import threading\ndone = threading.Event()\ndef shout():\n    while not done.is_set():\n        print('x' * 1000)\n"
        "def handler(event):\n    if not event['query'].get('last'):\n        threading.Thread(target=shout).start()\n"
        "    else:\n        done.set()\n    return {'n': event['query']['n']}\n"
    )
    guest = bench.loaded({"python": source})
    for n in range(20):
        assert guest.call(query={"n": str(n), "last": "1" if n == 2 else ""}).json() == {"n": str(n)}


def test_a_handler_that_closes_every_descriptor_ends_its_worker(bench: Bench) -> None:
    guest = bench.loaded({"python": HANDLER + "    os.closerange(0, 1024)\n    return 'x'\n"})
    with pytest.raises(EOFError):
        guest.call()
    assert guest.close() >= 0


def test_a_handler_that_closes_its_output_still_answers(bench: Bench) -> None:
    guest = bench.loaded({"python": HANDLER + "    sys.stdout.close()\n    sys.stderr = None\n    return 'x'\n"})
    for _ in range(2):
        assert guest.call().text == "x"


@pytest.mark.parametrize(
    "value",
    ["loop", "{'body': loop}", "[[[loop]]]", "{'a': object()}", "{1, 2}", "{'body': {'a': {1}}}", "deep"],
)
def test_a_value_that_cannot_be_written_is_an_error_and_the_worker_goes_on(bench: Bench, value: str) -> None:
    source = (
        "loop = {}\nloop['loop'] = loop\ndeep = []\nfor _ in range(200_000):\n    deep = [deep]\n"
        f"def handler(event):\n    return 'ok' if event['query'].get('ok') else {value}\n"
    )
    guest = bench.loaded({"python": source})
    assert guest.call().failure["code"] == "handler_error"
    assert guest.call(query={"ok": "1"}).text == "ok"


def test_huge_headers_are_handed_on(answered: Answered) -> None:
    answer = answered({"python": HANDLER + "    return {'headers': {'x-a': 'b' * 300_000}, 'body': 'x'}\n"})
    assert len(answer.header("x-a") or "") == 300_000


@pytest.mark.parametrize("headers", ["{'x': 'a\\r\\nb: c'}", "{'a b': 'c'}", "{'': 'x'}", "['x']", "7", "{'x': object()}"])
def test_headers_that_are_none_are_an_invalid_response(answered: Answered, headers: str) -> None:
    answer = answered({"python": HANDLER + f"    return {{'headers': {headers}, 'body': 'x'}}\n"})
    assert (answer.status, answer.failure["code"]) == (502, "invalid_response")


def test_a_value_whose_methods_raise_is_an_error(bench: Bench) -> None:
    source = (
        "class Odd:\n    def __getattr__(self, name):\n        raise RuntimeError('odd')\n"
        "def handler(event):\n    return 'ok' if event['query'].get('ok') else Odd()\n"
    )
    guest = bench.loaded({"python": source})
    assert guest.call().type == ERROR
    assert guest.call(query={"ok": "1"}).text == "ok"


def test_code_cannot_replace_what_the_worker_answers_with(bench: Bench) -> None:
    source = (
        "import json, os, builtins\ndef broken(*a, **k):\n    raise RuntimeError('replaced')\n"
        "os.write = os.read = json.dumps = broken\ndel builtins.open\ndef handler(event):\n    return {'a': 1}\n"
    )
    assert bench.loaded({"python": source}).call().json() == {"a": 1}


def test_an_error_is_told_when_its_stack_cannot_be(bench: Bench) -> None:
    source = "import sys\ndef handler(event):\n    sys.modules['traceback'] = None\n    raise RuntimeError('x')\n"
    guest = bench.loaded({"python": source})
    assert json.loads(guest.call().body) == {"error": "x"}
