"""ASGI and WSGI applications in a Python worker: recognised, started once, given whole requests, streamed."""

import json
import sysconfig

import pytest

from libs.testing.guests import ANSWER, BACKGROUND, CHUNK, END, ERROR, START, WINDOW, Answered, Bench, Guest

pytestmark = pytest.mark.parametrize("runtime", ["python"], indirect=True)

JSON = {"host": "example.org", "content-type": "application/json"}

FASTAPI = """
import asyncio
from contextlib import asynccontextmanager
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import StreamingResponse

@asynccontextmanager
async def lifespan(app):
    print('started', flush=True)
    yield {'word': 'state'}
    print('stopped', flush=True)

app = FastAPI(lifespan=lifespan)

@app.get('/')
def root(request: Request):
    return {'root': request.scope['root_path'], 'word': request.state.word}

@app.post('/items/{id}')
async def item(id: int, body: dict, request: Request):
    many = request.headers.getlist('x-many')
    return {'id': id, 'body': body, 'url': str(request.url), 'client': request.client.host, 'many': many}

@app.get('/stream')
async def stream():
    async def pieces():
        while True:
            yield b'x' * 65536
    return StreamingResponse(pieces(), media_type='text/event-stream')

@app.get('/later')
async def later(tasks: BackgroundTasks):
    async def work():
        await asyncio.sleep(0.05)
        print('worked', flush=True)
    tasks.add_task(work)
    return 'answered'

@app.get('/broken')
async def broken():
    raise RuntimeError('broken')
"""

FLASK = """
from flask import Flask, request
app = Flask(__name__)

@app.get('/')
def root():
    return {'root': request.script_root}

@app.post('/items/<int:id>')
def item(id):
    text = request.get_data(as_text=True)
    return {'id': id, 'text': text, 'url': request.url, 'type': request.content_type}, 201, {'X-A': 'b'}

@app.get('/stream')
def stream():
    def pieces():
        try:
            while True:
                yield 'x' * 65536
        finally:
            print('closed', flush=True)
    return app.response_class(pieces(), mimetype='text/event-stream')
"""


@pytest.fixture
def installed(bench: Bench) -> Bench:
    """A bench whose code finds the development environment's packages as its own dependencies."""
    root = bench.folder / "fn"
    root.mkdir()
    (root / ".deps").symlink_to(sysconfig.get_path("purelib"))
    return bench


@pytest.fixture
def fastapi(installed: Bench) -> Guest:
    return installed.loaded({"python": FASTAPI})


@pytest.fixture
def flask(installed: Bench) -> Guest:
    return installed.loaded({"python": FLASK})


def window_of(guest: Guest) -> int:
    """Take the chunks that come without credit and return how many they are."""
    count = 0
    while not guest.silent():
        assert guest.next_frame().type == CHUNK
        count += 1
    return count


def test_fastapi_starts_and_stops_once(fastapi: Guest) -> None:
    for _ in range(3):
        assert fastapi.call(path="/", raw_path="/").json() == {"root": "", "word": "state"}
    assert fastapi.close() == 0
    assert fastapi.stdout == "started\nstopped\n"


def test_fastapi_sees_the_whole_request(fastapi: Guest) -> None:
    answer = fastapi.call(
        method="POST",
        path="/items/7",
        raw_path="/items/7?a=b",
        headers={
            "host": "example.org:8443",
            "x-forwarded-proto": "https",
            "content-type": "application/json",
            "x-many": ["1", "2"],
        },
        body=b'{"a": 1}',
    )
    assert answer.json() == {
        "id": 7,
        "body": {"a": 1},
        "url": "https://example.org:8443/items/7?a=b",
        "client": "127.0.0.1",
        "many": ["1", "2"],
    }
    assert answer.header("content-type") == "application/json"


def test_fastapi_answers_for_paths_that_it_does_not_have(fastapi: Guest) -> None:
    assert fastapi.call(path="/none", raw_path="/none").status == 404


def test_fastapi_is_mounted_at_its_functions_name(fastapi: Guest) -> None:
    for path in ("/tested", "/tested/"):
        assert fastapi.call(path=path, raw_path=path).json()["root"] == "/tested"
    assert fastapi.call(path="/shop", raw_path="/shop").status == 404


def test_fastapi_is_mounted_before_the_wildcard_of_its_route(fastapi: Guest) -> None:
    path = "/shop/v1/items/7"
    answer = fastapi.call(method="POST", path=path, raw_path=path, params={"wildcard": "items/7"}, headers=JSON, body=b"{}")
    assert answer.json()["id"] == 7


def test_fastapi_streams_and_waits_for_its_reader(fastapi: Guest) -> None:
    start = fastapi.call(path="/stream", raw_path="/stream")
    assert (start.type, start.header("content-type")) == (START, "text/event-stream; charset=utf-8")
    assert window_of(fastapi) == WINDOW
    fastapi.credit(3)
    assert window_of(fastapi) == 3


def test_fastapi_goes_on_in_the_background_after_its_answer(fastapi: Guest) -> None:
    answer = fastapi.call(path="/later", raw_path="/later")
    assert (answer.type, answer.json(), answer.flags & BACKGROUND) == (ANSWER, "answered", BACKGROUND)
    assert "worked" not in fastapi.stdout
    assert fastapi.next_frame().type == END
    assert "worked" in fastapi.stdout


def test_fastapi_answers_its_own_way_when_it_fails(fastapi: Guest) -> None:
    answer = fastapi.call(path="/broken", raw_path="/broken")
    assert (answer.status, answer.text) == (500, "Internal Server Error")
    if answer.flags & BACKGROUND:
        assert fastapi.next_frame().type == END
    assert "RuntimeError: broken" in fastapi.stderr
    assert fastapi.call(path="/", raw_path="/").status == 200


def test_flask_sees_the_whole_request(flask: Guest) -> None:
    answer = flask.call(
        method="POST",
        path="/tested/items/7",
        raw_path="/tested/items/7?a=b",
        params={"wildcard": "items/7"},
        headers={"host": "example.org", "x-forwarded-proto": "https", "content-type": "text/plain; charset=utf-8"},
        body="ü".encode(),
    )
    assert (answer.type, answer.status, answer.header("x-a")) == (ANSWER, 201, "b")
    assert answer.json() == {
        "id": 7,
        "text": "ü",
        "url": "https://example.org/tested/items/7?a=b",
        "type": "text/plain; charset=utf-8",
    }


def test_flask_streams_and_is_closed_when_its_reader_leaves(flask: Guest) -> None:
    start = flask.call(path="/stream", raw_path="/stream")
    assert (start.type, start.header("content-type")) == (START, "text/event-stream; charset=utf-8")
    assert window_of(flask) == WINDOW
    assert flask.close() == 0
    assert flask.stdout == "closed\n"


def test_an_asgi_application_that_cannot_start_is_refused(bench: Bench) -> None:
    source = (
        "async def app(scope, receive, send):\n    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    assert "no database" in bench.refused({"python": source}).failure["message"]


def test_an_asgi_application_needs_no_lifespan(answered: Answered) -> None:
    source = (
        "async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'x'})\n"
    )
    assert answered({"python": source}).body == b"x"


@pytest.mark.parametrize("end", ["return", "raise RuntimeError('gone')"])
def test_an_asgi_application_that_ends_before_its_answer_does_is_an_error(bench: Bench, end: str) -> None:
    source = (
        "async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n    if scope['path'] == '/at-once':\n"
        f"        {end}\n    await send({{'type': 'http.response.start', 'status': 200, 'headers': []}})\n"
        f"    await send({{'type': 'http.response.body', 'body': b'x', 'more_body': True}})\n    {end}\n"
    )
    guest = bench.loaded({"python": source})
    assert guest.call(path="/at-once").type == ERROR
    streamed = guest.stream(path="/half")
    assert (streamed.body, streamed.end.type) == (b"x", ERROR)
    assert guest.call(path="/at-once").type == ERROR


def test_an_asgi_application_that_ends_while_nobody_reads_is_an_error(bench: Bench) -> None:
    source = (
        "async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    for n in range(10):\n"
        "        await send({'type': 'http.response.body', 'body': b'x', 'more_body': True})\n"
        "    raise RuntimeError('gone')\n"
    )
    guest = bench.loaded({"python": source})
    start = guest.call()
    assert window_of(guest) == WINDOW
    guest.credit(8)
    assert guest.next_frame().type == CHUNK
    assert guest.next_frame().failure["message"] == "gone"
    assert start.type == START


@pytest.mark.parametrize("status", [204, 304])
def test_an_asgi_application_may_send_a_body_where_there_is_none(bench: Bench, status: int) -> None:
    source = (
        "async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n"
        f"    await send({{'type': 'http.response.start', 'status': {status}, 'headers': []}})\n    for n in range(20):\n"
        "        await send({'type': 'http.response.body', 'body': b'x', 'more_body': n < 19})\n"
    )
    guest = bench.loaded({"python": source})
    for _ in range(2):
        answer = guest.call()
        assert (answer.type, answer.status, answer.body) == (ANSWER, status, b"")
        assert not answer.flags & BACKGROUND or guest.next_frame().type == END


def test_an_asgi_application_whose_headers_are_none_is_told_so_and_stopped(bench: Bench) -> None:
    source = (
        "import asyncio\nasync def app(scope, receive, send):\n    assert scope['type'] == 'http'\n    try:\n"
        "        await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'x y', b'')]})\n"
        "        while True:\n            await send({'type': 'http.response.body', 'body': b'x', 'more_body': True})\n"
        "    except asyncio.CancelledError:\n        print('stopped', flush=True)\n        raise\n"
    )
    guest = bench.loaded({"python": source})
    assert guest.call().failure["code"] == "invalid_response"
    assert guest.call().failure["code"] == "invalid_response"
    assert "stopped" in guest.stdout


WSGI_FORMS = {
    "write": "    start('200 OK', [('Content-Type', 'text/x')])(b'one ')\n    return [b'two']\n",
    "list": "    start('200 OK', [('Content-Type', 'text/x')])\n    return [b'one ', b'two']\n",
    "length": "    start('200 OK', [('Content-Type', 'text/x'), ('Content-Length', '7')])\n    return iter([b'one two'])\n",
    "iterable": "    start('200 OK', [('Content-Type', 'text/x')])\n    return (piece for piece in (b'one ', b'', b'two'))\n",
    "late": "    yield from (start('200 OK', [('Content-Type', 'text/x')]) and ()) or (b'one ', b'two')\n",
    "again": (
        "    import sys\n    start('200 OK', [])\n    try:\n        1 / 0\n    except ZeroDivisionError:\n"
        "        start('200 OK', [('Content-Type', 'text/x')], sys.exc_info())\n    return [b'one two']\n"
    ),
    "file": (
        "    import io\n    start('200 OK', [('Content-Type', 'text/x')])\n"
        "    return environ['wsgi.file_wrapper'](io.BytesIO(b'one two'), 3)\n"
    ),
}


@pytest.mark.parametrize("form", WSGI_FORMS)
def test_a_wsgi_application_may_answer_in_any_form(bench: Bench, form: str) -> None:
    guest = bench.loaded({"python": "def application(environ, start):\n" + WSGI_FORMS[form]})
    answer = guest.call()
    body = guest.rest_of(answer).body if answer.type == START else answer.body
    assert (answer.status, body, answer.header("content-type")) == (200, b"one two", "text/x")
    assert form not in ("list", "length", "write") or answer.type == ANSWER


@pytest.mark.parametrize("status", ["OK", "", "-1 x", "+200 OK", "99 Low", "600 High"])
def test_a_wsgi_status_that_is_none_is_an_invalid_answer(answered: Answered, status: str) -> None:
    source = f"def application(environ, start):\n    start({status!r}, [])\n    return [b'x']\n"
    assert answered({"python": source}).failure["code"] == "invalid_response"


def test_a_wsgi_environment_is_complete(answered: Answered) -> None:
    source = (
        "import json\nfrom wsgiref.validate import validator\ndef inner(environ, start):\n"
        "    body = environ['wsgi.input'].read(5)\n    start('200 OK', [('Content-Type', 'text/plain')])\n"
        "    seen = {k: v for k, v in environ.items() if isinstance(v, str)}\n"
        "    return [json.dumps([seen, body.decode()]).encode()]\napp = validator(inner)\n"
    )
    answer = answered(
        {"python": source},
        style="wsgi",
        method="POST",
        path="/tested/ü",
        raw_path="/tested/%C3%BC?a=b",
        headers={"host": "example.org:81", "x-a": ["1", "2"], "content-type": "text/x"},
        body=b"body!",
    )
    environ, body = json.loads(answer.body)
    assert body == "body!"
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"].encode("latin-1").decode()) == ("/tested", "/ü")
    assert (environ["QUERY_STRING"], environ["CONTENT_LENGTH"], environ["CONTENT_TYPE"]) == ("a=b", "5", "text/x")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"], environ["HTTP_X_A"]) == ("example.org", "81", "1, 2")


def test_a_named_handler_goes_before_an_application(answered: Answered) -> None:
    source = "def app(environ, start):\n    return 1\ndef handler(event):\n    return 'native'\n"
    assert answered({"python": source}).text == "native"


def test_an_explicit_style_goes_before_a_handler(answered: Answered) -> None:
    source = (
        "def app(environ, start):\n    start('200 OK', [])\n    return [b'wsgi']\ndef handler(event):\n    return 'native'\n"
    )
    assert answered({"python": source}, style="wsgi").text == "wsgi"


def test_an_object_that_is_no_application_is_not_taken_for_one(bench: Bench) -> None:
    assert "handler" in bench.refused({"python": "app = {'name': 'x'}\n"}).failure["message"]
