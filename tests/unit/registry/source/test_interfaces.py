"""What documents a version: fields of `invoke`, hints in the code, and which of them counts."""

import json
from pathlib import Path

import pytest

from libs.messages.catalog import Interface
from services.registry.homes.folder import FolderHome
from services.registry.source import interfaces
from services.registry.source.config import Config, parse_config
from services.registry.source.files import FileSource


def parsed(invoke: object) -> Config:
    return parse_config("f/fn.config.json", json.dumps({"invoke": invoke}).encode())


def test_config_documents_a_version() -> None:
    config = parsed(
        {
            "summary": " Greets ",
            "query": {"name": "Ada", "times": 2},
            "body": {"a": [1]},
            "content_type": "application/json; charset=utf-8",
            "default_method": "post",
        }
    )
    assert config.problems == ()
    assert config.interface == Interface(
        summary="Greets",
        default_method="POST",
        query='{"name":"Ada","times":2}',
        body='{"a":[1]}',
        content_type="application/json; charset=utf-8",
    )


@pytest.mark.parametrize(
    ("invoke", "expected"),
    [
        ({"summary": 5}, "invoke.summary must be a non-empty string"),
        ({"query": []}, "invoke.query must be an object"),
        ({"query": {"a": "x" * 70_000}}, "invoke.query must be at most 65536 bytes"),
        ({"body": "x" * 70_000}, "invoke.body must be at most 65536 bytes"),
        ({"content_type": "json"}, "invoke.content_type must be a media type such as application/json"),
        ({"default_method": "TRACE"}, "invoke.default_method must be one of GET, POST, PUT, PATCH, DELETE"),
    ],
)
def test_config_names_what_is_wrong(invoke: object, expected: str) -> None:
    config = parsed(invoke)
    assert [problem.message for problem in config.problems] == [expected]
    assert config.interface == Interface()


def test_config_declares_schemas() -> None:
    config = parsed({"schema": {"query": {"required": ["a"]}, "body": {"type": "object"}}})
    assert config.problems == ()
    assert config.interface == Interface(query_schema='{"required":["a"]}', body_schema='{"type":"object"}')


def test_config_names_a_schema_that_cannot_be_used_and_does_without() -> None:
    config = parsed({"schema": {"query": {"type": "objct"}, "body": {"type": "object"}, "path": {}}})
    told = sorted(problem.message for problem in config.problems)
    assert told[0] == "invoke.schema.path is not a known field; it is ignored"
    assert told[1].startswith("invoke.schema.query is no schema that requests can be held to: type: ")
    assert config.interface == Interface(body_schema='{"type":"object"}')


def test_config_says_nothing_with_empty_examples() -> None:
    assert parsed({"query": {}, "body": ""}).interface == Interface()


def test_config_of_a_folder_goes_before_that_of_the_folders_above() -> None:
    below = parsed({"summary": "own"}).below(parsed({"summary": "above", "query": {"a": 1}}))
    assert below.interface == Interface(summary="own", query='{"a":1}')


@pytest.mark.parametrize("mark", ["#", "//", " *", "/*", "/**", "\t##"])
def test_hints_are_read_from_comments(mark: str) -> None:
    hints = interfaces.parse_hints(
        f'{mark} @summary  Says hello \n{mark} @methods get, POST\n{mark} @query {{"name":"Ada"}}\n'
        f'{mark} @body {{"n": 1}}\n{mark} @content_type application/json\n'.encode()
    )
    assert hints == Interface(
        summary="Says hello",
        default_method="GET",
        query='{"name":"Ada"}',
        body='{"n":1}',
        content_type="application/json",
    )


@pytest.mark.parametrize(
    "source",
    [
        b"@summary not a comment\n",
        b"x = 1  # @summary at the end of a line of code\n",
        b"# @summaries\n",
        b"# @query not JSON\n# @methods TRACE\n# @content_type json\n",
        b"# @query [1]\n",
        b"#\n" * 80 + b"# @summary too far down\n",
        b"\xff\xfe\x00@",
    ],
)
def test_hints_are_none_where_none_can_be_read(source: bytes) -> None:
    assert interfaces.parse_hints(source) == Interface()


def test_hints_keep_a_body_that_is_no_json_as_text() -> None:
    assert interfaces.parse_hints(b"// @body name=Ada").body == '"name=Ada"'


def test_hints_count_once_each() -> None:
    assert interfaces.parse_hints(b"# @summary one\n# @summary two\n").summary == "one"


async def test_load_brings_the_hints_of_the_entry_file_and_of_no_other(tmp_path: Path) -> None:
    (tmp_path / "python" / "f").mkdir(parents=True)
    (tmp_path / "python" / "f" / "handler.py").write_text("# @summary mine\n")
    (tmp_path / "python" / "f" / "lib.py").write_text("# @summary another's\n# @body 1\n")
    (function,) = (await FileSource(FolderHome(tmp_path)).load()).functions
    assert function.versions[0].hints == Interface(summary="mine")


def test_what_the_config_says_goes_before_the_hints() -> None:
    assert interfaces.over(Interface(summary="config"), Interface(summary="hint", body="1")) == Interface(
        summary="config", body="1"
    )
