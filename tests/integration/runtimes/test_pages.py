"""The examples of docs/runtimes/*.md answer what the pages say.

An example is a block of code and, below it, a request and its answer. Its first line may be a comment that names its file, its
configuration, or both.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from libs import runtime_names
from libs.testing.guests import ANSWER, BACKGROUND, Bench
from services.executor.runtimes.installed import runtimes

PAGES = Path(__file__).parents[3] / "docs" / "runtimes"
NAMES = [runtime.name for runtime in runtimes() if runtime.name in runtime_names.BUILT_IN]
LANGUAGES = r"^```(?:js|php|python|rust|ts)$"
EXAMPLE = re.compile(
    rf"{LANGUAGES}\n(?P<source>.*?)^```\n\n"
    r"`(?P<method>[A-Z]+) (?P<target>\S+)`(?: with `(?P<body>.*?)`)? answers `(?P<answer>.*?)`\.",
    re.DOTALL | re.MULTILINE,
)
FIRST_LINE = re.compile(r"(?://|#) (?P<file>[\w./]+\.\w+)? ?(?P<config>\{.*\})?\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A block of code on a page, with what it is asked and what it answers."""

    runtime: str
    file: str
    """Empty: the runtime's usual one."""
    style: str
    source: str
    method: str
    target: str
    body: str
    answer: str


def examples(name: str) -> list[Example]:
    """Return all examples of a language's page."""
    return [_example(name, found) for found in EXAMPLE.finditer(page(name))]


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text()


def _example(name: str, found: re.Match[str]) -> Example:
    first = FIRST_LINE.match(found["source"])
    config = first["config"] if first else None
    return Example(
        runtime=name,
        file=(first["file"] if first else None) or "",
        style=json.loads(config)["invoke"]["adapter"] if config else "auto",
        source=found["source"],
        method=found["method"],
        target=found["target"],
        body=found["body"] or "",
        answer=found["answer"].replace("\\n", "\n"),
    )


EXAMPLES = [each for name in NAMES for each in examples(name)]


@pytest.mark.parametrize("name", NAMES)
def test_every_example_of_a_page_is_run(name: str) -> None:
    assert len(examples(name)) == len(re.findall(LANGUAGES, page(name), re.MULTILINE)) > 0


@pytest.mark.parametrize(
    ("runtime", "example"),
    [(each.runtime, each) for each in EXAMPLES],
    indirect=["runtime"],
    ids=[f"{each.runtime}{each.target.partition('?')[0]}" for each in EXAMPLES],
)
def test_an_example_of_a_page_answers_what_the_page_says(bench: Bench, example: Example) -> None:
    source = {example.file: example.source} if example.file else example.source
    guest = bench.loaded({example.runtime: source}, style=example.style)
    path, _, query = example.target.partition("?")
    answer = guest.call(
        method=example.method,
        path=path,
        raw_path=example.target,
        query=dict(pair.split("=") for pair in query.split("&") if pair),
        body=example.body.encode(),
    )
    text = answer.text if answer.type == ANSWER else guest.rest_of(answer).text
    if answer.flags & BACKGROUND:
        guest.next_frame()
    assert text == example.answer
