"""The examples of docs/runtimes/python.md answer what the page says."""

import json
import re
from pathlib import Path

import pytest

from libs.testing.guests import ANSWER, BACKGROUND, Bench

PAGE = Path(__file__).parents[3] / "docs" / "runtimes" / "python.md"
EXAMPLE = re.compile(
    r"```python\n(?P<source>.*?)```\n\n`(?P<method>[A-Z]+) (?P<target>\S+)`(?: with `(?P<body>.*?)`)?"
    r" answers `(?P<answer>.*?)`\.",
    re.DOTALL,
)
EXAMPLES = list(EXAMPLE.finditer(PAGE.read_text()))

pytestmark = pytest.mark.parametrize("runtime", ["python"], indirect=True)


def test_every_example_of_the_page_is_run(bench: Bench) -> None:
    assert len(EXAMPLES) == PAGE.read_text().count("```python")
    assert bench


@pytest.mark.parametrize("example", EXAMPLES, ids=[each["target"].split("?")[0] for each in EXAMPLES])
def test_an_example_of_the_page_answers_what_the_page_says(bench: Bench, example: re.Match[str]) -> None:
    first = example["source"].partition("\n")[0]
    style = json.loads(first.removeprefix("# "))["invoke"]["adapter"] if first.startswith("# {") else "auto"
    path, _, query = example["target"].partition("?")
    guest = bench.loaded({"python": example["source"]}, style=style)
    answer = guest.call(
        method=example["method"],
        path=path,
        raw_path=example["target"],
        query=dict(pair.split("=") for pair in query.split("&") if pair),
        body=(example["body"] or "").encode(),
    )
    text = answer.text if answer.type == ANSWER else guest.rest_of(answer).text
    if answer.flags & BACKGROUND:
        guest.next_frame()
    assert text == example["answer"].replace("\\n", "\n")
