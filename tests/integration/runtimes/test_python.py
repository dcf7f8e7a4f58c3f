"""What is Python's own: parameters by name, tuples, exceptions with a status, one event loop."""

import json
from pathlib import Path

import pytest

from libs.testing.guests import ANSWER, Answered, Bench
from services.executor.workers.frames import COMPUTED

pytestmark = pytest.mark.parametrize("runtime", ["python"], indirect=True)

HANDLER = "def handler(event):\n"


def test_a_tuple_is_body_status_and_headers(answered: Answered) -> None:
    answer = answered({"python": HANDLER + "    return {'id': 1}, 201, {'X-A': 'b'}\n"})
    assert (answer.status, answer.json()) == (201, {"id": 1})
    assert answer.headers == [("x-a", "b"), ("content-type", "application/json")]


@pytest.mark.parametrize("value", ["(1, 2, 3, 4)", "('a', 'b')", "('a', True)", "('a', 200, 'x')"])
def test_a_tuple_that_is_no_answer_is_an_invalid_response(answered: Answered, value: str) -> None:
    assert answered({"python": HANDLER + f"    return {value}\n"}).failure["code"] == "invalid_response"


@pytest.mark.parametrize(
    ("raised", "status"),
    [("ValueError('x')", 400), ("FileNotFoundError('x')", 404), ("KeyError('x')", 500), ("Exception()", 500)],
)
def test_an_exception_has_the_status_of_its_kind(answered: Answered, raised: str, status: int) -> None:
    assert answered({"python": HANDLER + f"    raise {raised}\n"}).status == status


def test_an_answer_that_cannot_be_written_is_not_the_callers_fault(answered: Answered) -> None:
    answer = answered({"python": HANDLER + "    a = []\n    a.append(a)\n    return a\n"})
    assert (answer.status, answer.failure["code"]) == (500, "handler_error")


def test_an_answer_tells_that_its_handler_only_computed(bench: Bench) -> None:
    guest = bench.loaded({"python": HANDLER + "    return sum(range(100))\n"})
    assert any(guest.call().flags & COMPUTED for _ in range(20))


@pytest.mark.parametrize("wait", ["time.sleep(0.001)", "subprocess.run(['true'])"])
def test_an_answer_never_tells_that_a_handler_only_computed_when_it_waited(bench: Bench, wait: str) -> None:
    guest = bench.loaded({"python": "import subprocess, time\n" + HANDLER + f"    {wait}\n"})
    assert not any(guest.call().flags & COMPUTED for _ in range(20))


def test_an_exit_is_an_error_that_names_the_code(bench: Bench) -> None:
    guest = bench.loaded({"python": "import sys\ndef handler(event):\n    sys.exit(7)\n"})
    answer = guest.call()
    assert (answer.status, answer.failure["type"]) == (500, "SystemExit")
    assert "7" in json.loads(answer.body)["error"]
    assert guest.call().status == 500


def test_an_exception_whose_text_fails_is_named_by_its_type(answered: Answered) -> None:
    source = "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError\ndef handler(event):\n    raise Odd\n"
    assert json.loads(answered({"python": source}).body) == {"error": "Odd"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def handler(event, **rest):\n    return rest\n", {"id": "7", "other": "x"}),
        ("def handler(event, other, id):\n    return [id, other]\n", ["7", "x"]),
        ("def handler(event, absent='none'):\n    return [absent]\n", ["none"]),
        ("def handler(*, id):\n    return [id]\n", ["7"]),
        ("def handler(*args):\n    return [len(args), args[0]['method']]\n", [1, "GET"]),
        ("def handler():\n    return []\n", []),
        (
            "def handler(event, params, context):\n    return [params, context['version']]\n",
            [{"id": "7", "other": "x"}, "default"],
        ),
        ("class Handler:\n    def __call__(self, event, id):\n        return [id]\nhandler = Handler()\n", ["7"]),
        ("import functools\ndef f(k, event, id):\n    return [k, id]\nhandler = functools.partial(f, 1)\n", [1, "7"]),
        (
            "import functools\ndef deco(f):\n    @functools.wraps(f)\n    def wrapper(*a, **k):\n        return f(*a, **k)\n"
            "    return wrapper\n@deco\ndef handler(event, id):\n    return [id]\n",
            ["7"],
        ),
    ],
)
def test_a_handler_gets_the_parameters_that_it_names(answered: Answered, source: str, expected: object) -> None:
    assert answered({"python": source}, params={"id": "7", "other": "x"}).json() == expected


def test_a_parameter_that_is_missing_is_an_error_and_not_a_second_call(bench: Bench) -> None:
    guest = bench.loaded({"python": "def handler(event, id):\n    print('called')\n    return 'x'\n"})
    assert "id" in guest.call().failure["message"]
    assert guest.stdout == ""


def test_async_handlers_share_one_event_loop(bench: Bench) -> None:
    source = "import asyncio\nasync def handler(event):\n    return {'loop': id(asyncio.get_running_loop())}\n"
    guest = bench.loaded({"python": source})
    assert guest.call().json() == guest.call().json()


def test_a_fork_that_comes_back_from_the_handler_answers_nothing(bench: Bench) -> None:
    source = (
        "import os\ndef handler(event):\n    child = os.fork()\n    child and os.waitpid(child, 0)\n    return [child > 0]\n"
    )
    guest = bench.loaded({"python": source})
    assert guest.call().json() == [True]
    assert guest.call().json() == [True]


def test_packages_of_the_executor_are_not_importable(bench: Bench) -> None:
    assert "msgpack" in json.loads(bench.refused({"python": "import msgpack\n"}).body)["error"]


def test_guest_modules_are_not_on_the_path_of_user_code(bench: Bench) -> None:
    assert "fnbus_guest" in bench.refused({"python": "import guest\n"}).failure["message"].replace("'guest'", "fnbus_guest")


def test_a_dataclass_module_and_pickle_work_in_the_entry_file(answered: Answered) -> None:
    source = (
        "from __future__ import annotations\nimport pickle\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: int\n"
        "def handler(event):\n    return {'x': pickle.loads(pickle.dumps(A(1))).x}\n"
    )
    assert answered({"python": source}).json() == {"x": 1}


def test_text_with_unpaired_surrogates_is_answered(answered: Answered) -> None:
    answer = answered({"python": HANDLER + "    return {'a': '\\udc80'}\n"})
    assert (answer.type, answer.body) == (ANSWER, b'{"a":"\\udc80"}')


def test_reading_a_folder_beside_the_code_needs_no_package_marker(bench: Bench, tmp_path: Path) -> None:
    sources = {
        "handler.py": "from lib.words import word\ndef handler(event):\n    return word\n",
        "lib/words.py": "word = 'w'\n",
    }
    assert bench.loaded({"python": sources}).call().text == "w"
