"""Frames: what goes in comes out, however it is cut, and garbage is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.workers import frames
from services.executor.workers.frames import Decoder, Frame, FrameError, FrameType

_U32 = st.integers(0, 2**32 - 1)
_FRAMES = st.builds(
    Frame,
    type=st.sampled_from([int(kind) for kind in FrameType]),
    call=_U32,
    status=st.integers(0, 2**16 - 1),
    head=st.binary(max_size=200),
    body=st.binary(max_size=2000),
    cpu_us=_U32,
    peak_kib=_U32,
    flags=st.integers(0, 255),
)


@given(frame=_FRAMES)
def test_frame_survives_encoding_and_decoding(frame: Frame) -> None:
    assert list(Decoder(max_frame=1 << 20).feed(frames.encode(frame))) == [frame]


@given(sent=st.lists(_FRAMES, max_size=6), cuts=st.lists(st.integers(1, 400), min_size=1))
def test_frames_survive_any_cut_of_the_stream(sent: list[Frame], cuts: list[int]) -> None:
    data = b"".join(frames.encode(frame) for frame in sent)
    decoder = Decoder(max_frame=1 << 20)
    received: list[Frame] = []
    at = turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        received.extend(decoder.feed(data[at : at + size]))
        at += size
        turn += 1
    assert received == sent


def test_a_reader_that_stops_after_one_frame_gets_the_next_one_later() -> None:
    decoder = Decoder(max_frame=1000)
    first, second = Frame(FrameType.READY), Frame(FrameType.LOADED)
    assert next(decoder.feed(frames.encode(first) + frames.encode(second))) == first
    assert list(decoder.feed(b"")) == [second]


@given(data=st.binary(max_size=300))
def test_garbage_is_refused_or_waited_for_but_never_anything_else(data: bytes) -> None:
    try:
        for frame in Decoder(max_frame=100).feed(data):
            assert len(frame.head) + len(frame.body) <= 100
    except FrameError:
        pass


@pytest.mark.parametrize(
    "header",
    [
        frames.HEADER.pack(19, 1, 0, 0, 0, 0, 0, 0),
        frames.HEADER.pack(20, 1, 0, 0, 0, 1, 0, 0),
        frames.HEADER.pack(1001, 1, 0, 0, 0, 0, 0, 0),
        frames.HEADER.pack(20, 0, 0, 0, 0, 0, 0, 0),
        frames.HEADER.pack(20, 13, 0, 0, 0, 0, 0, 0),
    ],
    ids=["too short", "head longer than frame", "too long", "type 0", "type 13"],
)
def test_an_impossible_header_is_refused_before_its_body_has_come(header: bytes) -> None:
    with pytest.raises(FrameError):
        list(Decoder(max_frame=1000).feed(header))


@given(call=_U32, head=st.binary(max_size=200), body=st.binary(max_size=2000))
def test_a_call_is_encoded_as_any_frame(call: int, head: bytes, body: bytes) -> None:
    assert frames.encode_call(call, head, body) == frames.encode(Frame(int(FrameType.CALL), call, 0, head, body))
