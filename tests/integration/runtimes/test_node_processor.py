"""Whether a handler of JavaScript only computed or waited for something: what decides how many workers it gets."""

import pytest

from libs.testing.guests import COMPUTED, Bench, Sources

pytestmark = pytest.mark.parametrize("runtime", ["node", "deno"], indirect=True)


def module(source: str) -> Sources:
    return {"node": {"handler.mjs": source}, "deno": {"handler.mjs": source}}


@pytest.mark.parametrize(
    "source",
    [
        "export const handler = () => 1;\n",
        "export const handler = async () => { await null; await Promise.resolve(); return 1; };\n",
        "export const handler = () => { let n = 0; for (let i = 0; i < 1e4; i++) n += i; return n; };\n",
    ],
)
def test_an_answer_tells_that_its_handler_only_computed(bench: Bench, source: str) -> None:
    guest = bench.loaded(module(source))
    assert any(guest.call().flags & COMPUTED for _ in range(20))


@pytest.mark.parametrize(
    "source",
    [
        "export const handler = () => new Promise((go) => setTimeout(go, 2));\n",
        "import { execFileSync } from 'node:child_process';\n"
        "export const handler = () => String(execFileSync('sleep', ['0.01']));\n",
        "const cell = new Int32Array(new SharedArrayBuffer(4));\n"
        "export const handler = () => { Atomics.wait(cell, 0, 0, 5); return 1; };\n",
    ],
)
def test_an_answer_never_tells_that_a_handler_only_computed_when_it_waited(bench: Bench, source: str) -> None:
    guest = bench.loaded(module(source))
    assert not any(guest.call().flags & COMPUTED for _ in range(20))
