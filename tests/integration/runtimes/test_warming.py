"""What guests tell of the needs of code, and make ready in advance: it changes when work is done, and nothing else."""

import json

import pytest

from libs.testing.guests import LOADED, Bench, Sources
from services.executor.workers.frames import FrameType

WARM = int(FrameType.WARM)
NEEDY: Sources = {
    "python": "import asyncio\nasync def handler(event):\n    await asyncio.sleep(0)\n    return 'ok'\n",
    "node": {"handler.ts": "export default (request: Request): Response => new Response('ok');\n"},
    "deno": "export default (request: Request): Response => new Response('ok');\n",
}
PLAIN: Sources = {
    "python": "def handler(event):\n    return 'ok'\n",
    "node": "exports.handler = () => 'ok';\n",
    "deno": "export const handler = () => 'ok';\n",
}
WORDS = {"python": ["asyncio"], "node": ["typescript", "fetch"], "deno": ["fetch"]}


@pytest.mark.parametrize("runtime", ["python", "node", "deno"], indirect=True)
def test_guest_tells_what_its_code_needs_and_nothing_when_that_is_nothing(bench: Bench) -> None:
    root, entrypoint = bench.write(NEEDY)
    loaded = bench.start().load(root, entrypoint)
    assert (loaded.type, json.loads(loaded.head)) == (LOADED, WORDS[bench.runtime])
    root, entrypoint = bench.write(PLAIN)
    assert bench.start().load(root, entrypoint).head == b""


@pytest.mark.parametrize("runtime", ["python", "node", "deno"], indirect=True)
@pytest.mark.parametrize("sources", [NEEDY, PLAIN], ids=["needy", "plain"])
def test_warmed_guest_is_silent_and_runs_any_code(bench: Bench, sources: Sources) -> None:
    guest = bench.start()
    guest.send(WARM, head=json.dumps([*WORDS[bench.runtime], "toString", "unheard_of"]).encode())
    assert guest.silent()
    root, entrypoint = bench.write(sources)
    loaded = guest.load(root, entrypoint)
    assert (loaded.type, json.loads(loaded.head or b"[]")) == (LOADED, WORDS[bench.runtime] if sources is NEEDY else [])
    first = guest.call()
    assert (first.text or guest.rest_of(first).text) == "ok"
    assert guest.stdout == guest.stderr == ""


@pytest.mark.parametrize("runtime", ["python"], indirect=True)
def test_objects_of_the_code_are_not_asked_what_they_need(bench: Bench) -> None:
    proxy = "class Proxy:\n    def __getattr__(self, name):\n        raise RuntimeError(name)\nproxy = Proxy()\n"
    root, entrypoint = bench.write({"python": f"{proxy}def handler(event):\n    return 'ok'\n"})
    assert bench.start().load(root, entrypoint).type == LOADED


@pytest.mark.parametrize("runtime", ["php"], indirect=True)
def test_guest_that_has_nothing_to_warm_takes_no_notice(bench: Bench) -> None:
    guest = bench.start()
    guest.send(WARM, head=b'["fetch"]')
    root, entrypoint = bench.write({"php": "<?php function handler() { return 'ok'; }"})
    assert guest.load(root, entrypoint).head == b""
    assert guest.call().text == "ok"


@pytest.mark.parametrize("runtime", ["python"], indirect=True)
def test_functions_own_module_comes_before_one_of_the_library_that_was_warmed(bench: Bench) -> None:
    root, entrypoint = bench.write(
        {
            "python": {
                "handler.py": "import base64, selectors\ndef handler(event):\n    return selectors.MINE + base64.MINE\n",
                "selectors.py": "MINE = 'my '\n",
                "base64/__init__.py": "MINE = 'own'\n",
            }
        }
    )
    guest = bench.start()
    guest.send(WARM, head=b'["asyncio"]')
    assert guest.load(root, entrypoint).type == LOADED
    assert guest.call().text == "my own"
