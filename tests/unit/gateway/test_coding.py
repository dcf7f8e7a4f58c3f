"""Which answers are made smaller, and with what."""

import gzip

import brotli  # pyright: ignore[reportMissingTypeStubs]  it has none
import pytest

from services.gateway import coding


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, br", "br"),
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("br;q=0, gzip;q=0", ""),
        ("br;q=0, *", "gzip"),
        ("*", "br"),
        ("*;q=0", ""),
        ("identity", ""),
        ("identity;q=0.5, gzip;q=0.1", ""),
        ("identity;q=0, gzip", "gzip"),
        ("GZIP ; Q=0.3", "gzip"),
        ("gzip;q=many", ""),
        (",, ;q=1,gzip", "gzip"),
        ("deflate", ""),
    ],
)
def test_a_client_gets_the_coding_that_it_likes_best(accepted: str, chosen: str) -> None:
    assert coding.choose(accepted) == chosen


@pytest.mark.parametrize(
    ("kind", "is_text"),
    [
        (b"application/json", True),
        (b"text/html; charset=utf-8", True),
        (b"Application/Problem+JSON", True),
        (b"image/svg+xml", True),
        (b"text/event-stream", False),
        (b"image/png", False),
        (b"application/zip", False),
        (b"application/octet-stream", False),
    ],
)
def test_only_text_is_coded(kind: bytes, *, is_text: bool) -> None:
    assert coding.is_text([(b"content-type", kind)], 200) is is_text


@pytest.mark.parametrize(
    "header", [(b"content-encoding", b"br"), (b"cache-control", b"public, No-Transform"), (b"content-range", b"bytes 0-1/9")]
)
def test_an_answer_is_left_alone_when_its_headers_say_so(header: tuple[bytes, bytes]) -> None:
    assert not coding.is_text([(b"content-type", b"text/plain"), header], 200)


def test_an_answer_is_left_alone_when_it_has_no_type_or_is_a_part() -> None:
    assert not coding.is_text([], 200)
    assert not coding.is_text([(b"content-type", b"text/plain")], 206)


def test_a_coded_body_comes_back_as_it_was() -> None:
    body = b"x" * 5000 + bytes(range(256))
    assert gzip.decompress(coding.encode("gzip", body)) == body
    assert brotli.decompress(coding.encode("br", body)) == body  # pyright: ignore[reportUnknownMemberType]


def test_a_coded_answer_says_so_and_its_tag_becomes_weak() -> None:
    headers = [(b"etag", b'"a"'), (b"accept-ranges", b"bytes")]
    assert coding.said(headers, "br") == [
        (b"etag", b'W/"a"'),
        (b"vary", b"Accept-Encoding"),
        (b"content-encoding", b"br"),
    ]
    assert coding.said([(b"etag", b'W/"a"')], "gzip")[0] == (b"etag", b'W/"a"')
    assert coding.said([(b"etag", b'"a"')], "") == [(b"etag", b'"a"'), (b"vary", b"Accept-Encoding")]
