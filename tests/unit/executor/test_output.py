"""What a worker prints belongs to its call, as texts and as lines, however it is torn on the way."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from libs.messages.logs import STDERR, STDOUT
from libs.testing.wait import eventually
from services.executor.workers.output import KEPT_BYTES, KEPT_LINES, NO_OUTPUT, Capture


class Printer:
    """A capture and the guest's ends of its pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.capture = Capture(loop)
        self.out, self.err = (os.dup(fd) for fd in self.capture.child_fds)
        self.capture.watch()

    def close(self) -> None:
        self.capture.close()
        os.close(self.out)
        os.close(self.err)


class Listener:
    """A tap that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.settled = 0

    def take(self, stream: str, piece: bytes, ms: int) -> None:
        assert ms > 0
        self.heard.append((stream, piece))

    def settle(self) -> None:
        self.settled += 1


@pytest.fixture
async def printer() -> AsyncIterator[Printer]:
    made = Printer(asyncio.get_running_loop())
    yield made
    made.close()


def texts(capture: Capture) -> list[tuple[str, str]]:
    return [(line.stream, line.text) for line in capture.take().lines]


async def test_capture_says_nothing_when_nothing_was_printed(printer: Printer) -> None:
    assert printer.capture.take() is NO_OUTPUT


async def test_capture_has_what_was_printed_right_before_it_is_asked(printer: Printer) -> None:
    os.write(printer.out, b"one\ntwo\n")
    os.write(printer.err, b"bad\n")
    found = printer.capture.take()
    assert (found.stdout, found.stderr, found.truncated) == ("one\ntwo\n", "bad\n", False)
    assert [(line.stream, line.text) for line in found.lines] == [(STDOUT, "one"), (STDOUT, "two"), (STDERR, "bad")]
    assert printer.capture.take() is NO_OUTPUT


async def test_capture_joins_a_line_that_came_in_pieces_and_keeps_one_without_an_end(printer: Printer) -> None:
    listener = Listener()
    printer.capture.tap = listener
    os.write(printer.out, "sch\u00f6".encode()[:-1])
    await eventually(lambda: listener.heard)
    os.write(printer.out, "\u00f6".encode()[-1:] + b"n\r\nno end")
    assert texts(printer.capture) == [(STDOUT, "schön"), (STDOUT, "no end")]


async def test_capture_sorts_lines_of_both_streams_by_time(printer: Printer) -> None:
    listener = Listener()
    printer.capture.tap = listener
    for number, fd in enumerate((printer.err, printer.out, printer.err)):
        os.write(fd, b"%d\n" % number)
        await eventually(lambda wanted=number + 1: len(listener.heard) == wanted)
        await asyncio.sleep(0.002)  # the clock of lines has milliseconds
    assert texts(printer.capture) == [(STDERR, "0"), (STDOUT, "1"), (STDERR, "2")]


async def test_capture_replaces_what_is_no_text(printer: Printer) -> None:
    os.write(printer.out, b"\xff\xfe\x00ok\n\n")
    found = printer.capture.take()
    assert found.stdout == "\ufffd\ufffd\x00ok\n\n"
    assert [line.text for line in found.lines] == ["\ufffd\ufffd\x00ok", ""]


async def test_capture_bounds_bytes_and_marks_the_cut(printer: Printer) -> None:
    printer.capture.tap = listener = Listener()
    written = 0
    while written <= KEPT_BYTES:
        written += os.write(printer.out, b"y" * 4095 + b"\n")
        await eventually(lambda wanted=written: sum(len(piece) for _, piece in listener.heard) == wanted)
    found = printer.capture.take()
    assert (len(found.stdout), found.truncated) == (KEPT_BYTES, True)
    assert len(found.lines) == KEPT_BYTES // 4096
    os.write(printer.out, b"next call\n")
    assert texts(printer.capture) == [(STDOUT, "next call")]


async def test_capture_bounds_the_number_of_lines_and_marks_the_cut(printer: Printer) -> None:
    os.write(printer.out, b"\n" * (KEPT_LINES + 1))
    found = printer.capture.take()
    assert (len(found.stdout), len(found.lines), found.truncated) == (KEPT_LINES + 1, KEPT_LINES, True)


async def test_capture_keeps_as_many_lines_as_are_allowed_without_a_mark(printer: Printer) -> None:
    os.write(printer.out, b"\n" * KEPT_LINES)
    found = printer.capture.take()
    assert (len(found.lines), found.truncated) == (KEPT_LINES, False)


async def test_capture_tells_its_tap_what_comes_and_when_the_call_has_ended(printer: Printer) -> None:
    printer.capture.tap = listener = Listener()
    os.write(printer.out, b"at once")
    await eventually(lambda: listener.heard == [(STDOUT, b"at once")])
    assert listener.settled == 0
    printer.capture.take()
    assert listener.settled == 1


async def test_capture_has_the_last_words_of_a_worker_that_is_gone(printer: Printer) -> None:
    os.write(printer.err, b"last")
    printer.capture.close()
    assert printer.capture.take().stderr == "last"
    printer.capture.close()
