"""What a person types, made into a request."""

from pathlib import Path
from typing import Any

import pytest

from cli import request
from cli.errors import CommandError


def _catalog(**routes: tuple[str, list[str]]) -> dict[str, Any]:
    return {
        "mapped_routes": {
            pattern: [{"runtime": "python", "fn_name": name, "methods": methods}] for pattern, (name, methods) in routes.items()
        }
    }


_KNOWN = _catalog(
    **{
        "/hello": ("get.hello.py", ["GET"]),
        "/orders": ("orders", ["POST"]),
        "/orders/*": ("orders", ["POST"]),
        "/users/:id": ("users/[id].js", ["GET"]),
    }
)


def test_pairs_split_at_the_first_separator() -> None:
    assert request.pairs(["a=b=c", "d="], separator="=", option="--query") == [("a", "b=c"), ("d", "")]
    assert request.pairs(["X-A: b: c"], separator=":", option="--header") == [("X-A", "b: c")]


@pytest.mark.parametrize("text", ["nothing", "=value"])
def test_pairs_say_how_to_write_them_when_one_is_wrong(text: str) -> None:
    with pytest.raises(CommandError, match=r"--query .*: write it as name=value"):
        request.pairs([text], separator="=", option="--query")


def test_body_is_text_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"\xff\x00")
    assert request.body(None) is None
    assert request.body("hé") == "hé".encode()
    assert request.body(f"@{tmp_path / 'body'}") == b"\xff\x00"
    with pytest.raises(CommandError, match="No such file"):
        request.body(f"@{tmp_path / 'missing'}")


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        (b' {"a": 1}', [], [("content-type", "application/json")]),
        (b"hello", [], [("content-type", "text/plain; charset=utf-8")]),
        (b"{}", [("Content-Type", "text/csv")], []),
        (None, [], []),
    ],
)
def test_content_type_is_guessed_when_nobody_said(
    content: bytes | None, headers: list[tuple[str, str]], expected: list[tuple[str, str]]
) -> None:
    assert request.content_type(content, headers) == expected


@pytest.mark.parametrize("name", ["hello", "get.hello.py"])
def test_route_is_found_by_file_or_by_route(name: str) -> None:
    assert request.route_of(name, _KNOWN) == ("/hello", ["GET"])


def test_route_without_parameters_is_preferred() -> None:
    assert request.route_of("orders", _KNOWN) == ("/orders", ["POST"])


def test_route_with_parameters_asks_for_a_path() -> None:
    with pytest.raises(CommandError, match="fnbus invoke /users/42"):
        request.route_of("users/[id].js", _KNOWN)


def test_route_of_a_name_with_a_slip_suggests_the_near_one() -> None:
    with pytest.raises(CommandError, match="did you mean hello"):
        request.route_of("helo", _KNOWN)
    with pytest.raises(CommandError, match="there is no function zzz: see `fnbus routes`"):
        request.route_of("zzz", _KNOWN)


@pytest.mark.parametrize(
    ("given", "methods", "has_body", "expected"),
    [
        ("put", ["GET"], False, "PUT"),
        (None, ["POST", "GET"], False, "GET"),
        (None, ["POST", "GET"], True, "POST"),
        (None, ["DELETE"], False, "DELETE"),
        (None, [], True, "POST"),
        (None, [], False, "GET"),
    ],
)
def test_method_fits_the_route_and_the_body(given: str | None, methods: list[str], has_body: bool, expected: str) -> None:
    assert request.choose_method(given, methods, has_body=has_body) == expected
