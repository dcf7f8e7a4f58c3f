"""The examples of docs/runtimes/rust.md answer what the page says."""

import re
from pathlib import Path

import pytest

from libs.testing.guests import ANSWER, Bench

PAGE = Path(__file__).parents[3] / "docs" / "runtimes" / "rust.md"
EXAMPLE = re.compile(r"```rust\n(?P<source>.*?)```\n\n`GET (?P<target>\S+)` answers `(?P<answer>.*?)`\.", re.DOTALL)
EXAMPLES = list(EXAMPLE.finditer(PAGE.read_text()))

pytestmark = pytest.mark.parametrize("runtime", ["rust"], indirect=True)


def test_every_example_of_the_page_is_run(bench: Bench) -> None:
    assert len(EXAMPLES) == PAGE.read_text().count("```rust")
    assert bench


@pytest.mark.parametrize("example", EXAMPLES, ids=[each["target"].split("?")[0] for each in EXAMPLES])
def test_an_example_of_the_page_answers_what_the_page_says(bench: Bench, example: re.Match[str]) -> None:
    guest = bench.loaded({"rust": example["source"]})
    query = example["target"].partition("?")[2]
    answer = guest.call(query=dict(pair.split("=") for pair in query.split("&") if pair))
    assert answer.type == ANSWER
    assert answer.text == example["answer"]
