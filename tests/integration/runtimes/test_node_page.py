"""The examples of docs/runtimes/node.md and docs/runtimes/deno.md answer what the pages say."""

import json
import re
from pathlib import Path

import pytest

from libs.testing.guests import ANSWER, BACKGROUND, Bench

PAGES = Path(__file__).parents[3] / "docs" / "runtimes"
EXAMPLE = re.compile(
    r"```[jt]s\n// (?P<file>\S+)(?: (?P<config>\{.*?\}))?\n(?P<source>.*?)```\n\n"
    r"`(?P<method>[A-Z]+) (?P<target>\S+)`(?: with `(?P<body>.*?)`)? answers `(?P<answer>.*?)`\.",
    re.DOTALL,
)
EXAMPLES = [(name, found) for name in ("node", "deno") for found in EXAMPLE.finditer((PAGES / f"{name}.md").read_text())]


@pytest.mark.parametrize("name", ["node", "deno"])
def test_every_example_of_the_page_is_run(name: str) -> None:
    fences = len(re.findall(r"^```[jt]s$", (PAGES / f"{name}.md").read_text(), re.MULTILINE))
    assert len([each for each, _ in EXAMPLES if each == name]) == fences


@pytest.mark.parametrize(
    ("runtime", "example"),
    EXAMPLES,
    indirect=["runtime"],
    ids=[f"{name}{found['target'].split('?')[0]}" for name, found in EXAMPLES],
)
def test_an_example_of_the_page_answers_what_the_page_says(bench: Bench, example: re.Match[str]) -> None:
    style = json.loads(example["config"])["invoke"]["adapter"] if example["config"] else "auto"
    path, _, query = example["target"].partition("?")
    guest = bench.loaded({bench.runtime: {example["file"]: example["source"]}}, style=style)
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
