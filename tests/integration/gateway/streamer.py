"""An executor that streams: it sends pieces as far as it was granted, as the real one does, or as a test tells it to."""

from collections.abc import Iterable, Iterator

from libs.bus import port
from libs.messages import calls, codec, subjects
from libs.messages.calls import FailureCode, ReplyKind
from libs.testing.fakes import FakeExecutor

WINDOW = 8
NAME = "streamer"


class Streamer:
    """Answers every call of a fake executor by a stream."""

    def __init__(self, bus: port.Bus, executor: FakeExecutor) -> None:
        self.pieces: Iterator[bytes] | None = None
        """What to send by itself; None: only what `send` is called with."""
        self.status = 200
        self.head = b'[["content-type","text/event-stream"],["content-length","3"]]'
        self.first = b""
        self.sent = 0
        self.granted = 0
        self._bus = bus
        self._executor = executor
        self._room = WINDOW
        executor.behaviour = self._begin

    async def start(self) -> None:
        """Listen for credit."""
        await self._bus.subscribe(subjects.stream_credit(NAME), self._on_credit)

    def stream(self, pieces: Iterable[bytes]) -> None:
        """Send these to the next call, and end."""
        self.pieces = iter(pieces)

    def send(
        self, data: bytes = b"", *, number: int = 0, end: bool = False, code: FailureCode = FailureCode.NONE, message: str = ""
    ) -> None:
        """Send a piece to the last call, whatever was granted."""
        self.sent += 1
        piece = calls.StreamPiece(number=number or self.sent, data=data, end=end, code=code, message=message)
        self._bus.post(self._executor.reply_to[-1], codec.encode(piece))

    def _begin(self, _: calls.Invocation) -> None:
        self.sent, self.granted, self._room = 0, 0, WINDOW
        reply = calls.Reply(
            kind=ReplyKind.STREAM, executor=NAME, status=self.status, head=self.head, body=self.first, run_us=1500
        )
        self._bus.post(self._executor.reply_to[-1], codec.encode(reply))
        self._pump()

    def _on_credit(self, message: port.Message) -> None:
        credit = codec.decode(calls.StreamCredit, message.data)
        if credit.reply == self._executor.reply_to[-1]:
            self.granted += credit.pieces
            self._room += credit.pieces
            self._pump()

    def _pump(self) -> None:
        while self.pieces is not None and self._room:
            piece = next(self.pieces, None)
            if piece is None:
                self.pieces = None
                self.send(end=True)
                return
            self._room -= 1
            self.send(piece)
