"""JSON from outside (`libs.nesting`)."""

import orjson
import pytest

from libs import errors, nesting
from services.gateway.answers import Refusal
from services.gateway.dialects.fastfn import submission
from services.registry.editing import jsons
from services.registry.source.config import parse_config


def _nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def test_nesting_is_read_up_to_its_bound() -> None:
    assert orjson.dumps(nesting.loads(_nested(nesting.MOST_LEVELS))) == _nested(nesting.MOST_LEVELS)
    objects = b'{"a":' * nesting.MOST_LEVELS + b"1" + b"}" * nesting.MOST_LEVELS
    assert orjson.dumps(nesting.loads(objects.decode())) == objects


@pytest.mark.parametrize("levels", [nesting.MOST_LEVELS + 1, 300, 1000, 100_000])
def test_nesting_is_no_json_when_it_is_deeper(levels: int) -> None:
    with pytest.raises(orjson.JSONDecodeError, match=r"deep|depth"):
        nesting.loads(_nested(levels))
    with pytest.raises(orjson.JSONDecodeError, match=r"deep|depth"):
        nesting.loads(b'{"a":' * levels + b"1" + b"}" * levels)


def test_nesting_counts_levels_and_not_brackets() -> None:
    wide = b"[" + b",".join([b"[]"] * 1000) + b"]"
    assert orjson.dumps(nesting.loads(wide)) == wide
    assert nesting.loads(b'"' + b"[" * 1000 + b'"') == "[" * 1000


def test_config_that_is_nested_too_deep_is_a_problem_and_not_the_end_of_the_registry() -> None:
    config = b'{"invoke": {"body": ' + _nested(300) + b"}}"
    assert [problem.path for problem in parse_config("python/a/fn.config.json", config).problems] == ["python/a/fn.config.json"]


def test_change_that_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(errors.PermanentError, match="deep"):
        jsons.parse(b'{"a":' + _nested(300) + b"}", what="the change")


@pytest.mark.parametrize("field", ["body", "context", "query"])
def test_submission_that_is_nested_too_deep_is_a_bad_request(field: str) -> None:
    with pytest.raises(Refusal) as refused:
        submission.parse(b'{"name": "a", "%s": {"x": ' % field.encode() + _nested(300) + b"}}")
    assert refused.value.status == 400
