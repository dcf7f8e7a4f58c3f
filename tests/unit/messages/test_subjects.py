"""Names in, subjects out."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.bus.subject_filter import matches
from libs.messages import subjects

NAMES = st.text(min_size=1)
PLAIN = re.compile(r"[A-Za-z0-9_=-]+")


def name_of(token: str) -> str:
    """Return the name that a token stands for."""
    return re.sub(rb"=(..)", lambda found: bytes.fromhex(found[1].decode()), token.encode()).decode("utf-8", "surrogateescape")


@settings(deadline=None)
@given(name=NAMES)
def test_token_is_one_plain_token_and_gives_the_name_back(name: str) -> None:
    try:
        encoded = subjects.token(name)
    except UnicodeEncodeError:
        # Lone surrogates that do not stand for bytes of a file name have no encoding at all.
        return
    assert PLAIN.fullmatch(encoded)
    assert name_of(encoded) == name


@settings(deadline=None)
@given(raw=st.binary(min_size=1))
def test_file_name_that_is_not_utf8_keeps_its_bytes(raw: bytes) -> None:
    name = raw.decode("utf-8", "surrogateescape")
    assert name_of(subjects.token(name)) == name


@settings(deadline=None)
@given(one=NAMES, other=NAMES)
def test_different_names_have_different_tokens(one: str, other: str) -> None:
    try:
        same = subjects.token(one) == subjects.token(other)
    except UnicodeEncodeError:
        return
    assert same is (one == other)


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("hello", "hello"),
        ("acme/orders", "acme=2Forders"),
        ("users/[id].js", "users=2F=5Bid=5D=2Ejs"),
        ("a b", "a=20b"),
        ("*", "=2A"),
        (">", "=3E"),
        ("=", "=3D"),
        ("ü", "=C3=BC"),
    ],
)
def test_token_is_written_as_documented(name: str, token: str) -> None:
    assert subjects.token(name) == token


def test_empty_name_has_no_token() -> None:
    with pytest.raises(ValueError, match="empty"):
        subjects.token("")


@settings(deadline=None)
@given(runtime=st.sampled_from(["python", "node"]), name=st.text("abc/.*> ü", min_size=1))
def test_invocation_and_job_are_caught_by_their_runtimes_pattern_only(runtime: str, name: str) -> None:
    invocation = subjects.invoke(runtime=runtime, namespace="default", function=name)
    job = subjects.job(runtime=runtime, namespace="default", function=name)
    assert invocation.count(".") == 3
    assert job.count(".") == 4
    for other in ("python", "node", "py"):
        assert matches(subjects.invoke_all(other), invocation) is (other == runtime)
        assert matches(subjects.job_all(runtime=other), job) is (other == runtime)


def test_consumer_name_is_legal_for_a_server() -> None:
    assert subjects.job_consumer(runtime="python") == "python-normal"
    assert PLAIN.fullmatch(subjects.job_consumer(runtime="c++/x", priority="high"))


@settings(deadline=None)
@given(namespace=NAMES, function=NAMES)
def test_catalogue_key_is_legal_for_a_bucket_and_is_not_the_meta_key(namespace: str, function: str) -> None:
    try:
        key = subjects.catalog_key(namespace=namespace, runtime="python", function=function)
    except UnicodeEncodeError:
        return
    assert re.fullmatch(r"[-/_=.a-zA-Z0-9]+", key)
    assert key.count(".") == 3
    assert key != subjects.CATALOG_META


def test_streams_take_what_is_meant_for_them() -> None:
    assert subjects.EXECUTION_FINISHED.startswith("event.")
    assert subjects.DEAD_LETTER.startswith("event.")
    assert subjects.job(runtime="a", namespace="b", function="c").startswith("job.")
    assert subjects.log(namespace="a", function="b") == "log.a.b"
    assert subjects.rpc("registry", "executions") == "rpc.registry.executions"
