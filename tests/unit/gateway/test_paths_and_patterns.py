"""Paths in canonical form, and patterns as texts."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.gateway.routing import paths, patterns
from services.gateway.routing.paths import BadPathError

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"/", "/"),
        (b"/a/b", "/a/b"),
        (b"/a/b/", "/a/b"),
        (b"//a///b//", "/a/b"),
        (b"/caf%C3%A9", "/café"),
        (b"/a%20b", "/a b"),
        (b"/A/b", "/A/b"),
        (b"/.well-known/x", "/.well-known/x"),
        (b"/...", "/..."),
    ],
)
def test_canonical_tolerates_what_means_the_same(raw: bytes, canonical: str) -> None:
    assert paths.canonical(raw) == canonical


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"/%FF", 400),
        (b"/\xff", 400),
        (b"/../etc", 400),
        (b"/a/%2e%2e/b", 400),
        (b"/a/..", 400),
        (b"/a%00", 400),
        (b"/users/a%2Fb", 404),
        (b"/a" * 300, 404),
    ],
)
def test_canonical_refuses_what_no_route_could_have(raw: bytes, status: int) -> None:
    with pytest.raises(BadPathError) as caught:
        paths.canonical(raw)
    assert caught.value.status == status


@PATIENT
@given(st.binary(max_size=40))
def test_canonical_never_fails_otherwise(raw: bytes) -> None:
    try:
        path = paths.canonical(b"/" + raw)
    except BadPathError:
        return
    assert path == "/" or not path.endswith("/")
    assert ".." not in path.split("/")


def test_pattern_knows_its_parameters_and_fills_them() -> None:
    pattern = patterns.parse("/a/:id/{name}/*")
    assert pattern.names == ("id", "name", "wildcard")
    assert pattern.fill({"id": "1", "name": "x", "wildcard": "b/c"}) == "/a/1/x/b/c"
    assert pattern.match("/a/1/x/b/c") == {"id": "1", "name": "x", "wildcard": "b/c"}
    assert pattern.match("/a/1/x") is None


def test_pattern_names_the_parameters_that_are_missing() -> None:
    with pytest.raises(patterns.MissingParamsError, match="missing required path params: a, b"):
        patterns.parse("/:a/:b").fill({})
