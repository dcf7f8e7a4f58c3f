"""The guest's loop: load once, then answer one call after the other until the executor closes the descriptor."""

from __future__ import annotations

import gc
import os
import sys
from fcntl import F_DUPFD_CLOEXEC, fcntl, ioctl
from resource import RUSAGE_SELF, getrusage

from . import channel as frames  # noqa: TID252  see the package's docstring
from . import failures, styles, warming  # noqa: TID252
from .answers import Answer, Flow, Unfinished, answer_of  # noqa: TID252
from .eventloop import EventLoop  # noqa: TID252
from .headers import InvalidResponseError  # noqa: TID252
from .jsontext import dumps, loads  # noqa: TID252
from .loading import load  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Future
    from typing import Any

    from .intake import Intake  # noqa: TID252

_UNREAD = 0x541B
"""FIONREAD; the module that names it is an import more."""
_NONE_UNREAD = bytes(4)
_OWN_DESCRIPTORS = 200
"""Copies of the output's descriptors get numbers from here on."""
_INVALID = b'{"error":"invalid runtime response"}'


class Guest:
    """One worker: at most one version, one call at a time."""

    def __init__(self, channel: frames.Channel) -> None:
        self._channel = channel
        self._root = ""
        self._handler: styles.Handler | None = None
        self._loop = EventLoop()
        self._unread = 0
        """The last call, when what it printed lay unread at its end."""
        self._outputs: tuple[int, ...] | None = None
        try:  # noqa: SIM105  `contextlib` costs an import
            self._outputs = tuple(fcntl(fd, F_DUPFD_CLOEXEC, _OWN_DESCRIPTORS) for fd in (1, 2))
        except OSError:
            pass

    def serve(self) -> None:
        """Answer frames until there are no more.

        Raises:
            OSError: the executor went away in the middle.
        """
        channel = self._channel
        self._settle()
        while (frame := channel.receive()) is not None:
            kind, call, _, head, body, flags = frame
            if kind == frames.CALL:
                if self._unread and flags & frames.AHEAD:
                    channel.wait_read(self._unread)
                self._unread = 0
                if flags & frames.PIECEWISE:
                    self._call(call, head, self._intake(call))
                else:
                    self._call(call, head, body)
            elif kind == frames.LOAD:
                self._load(loads(head))
            elif kind == frames.WARM:
                warming.warm(loads(head), self._loop)
        self._loop.close()

    def _intake(self, call: int) -> Intake:
        """Return the body of a call, to be read by and by."""
        from .intake import Intake  # noqa: TID252

        return Intake(self._channel, call)

    def _settle(self) -> None:
        """Do once, while the worker has no code yet, what its first load would have to wait for."""
        compile("def handler(event): return None", "", "exec")  # the compiler's own tables take it a millisecond
        gc.collect()
        gc.freeze()

    def _load(self, head: dict[str, Any]) -> None:
        self._root = head["root"].rstrip("/")
        env: dict[str, str] = head.get("env") or {}
        entrypoint = head["entrypoint"]
        style = head.get("handler_style") or "auto"
        try:
            os.environ.update(env)
            styles.prepare(style)
            warming.make_way(self._root, entrypoint)
            module = load(self._root, entrypoint)
            around = styles.Surroundings(head, env, self._loop)
            self._handler = styles.choose(
                module, entrypoint=entrypoint, name=head.get("handler") or "handler", style=style, around=around
            )
        except BaseException as error:  # noqa: BLE001  whatever user code raises is the answer
            kind = type(error).__name__
            place = failures.place_of(error, self._root)
            message = failures.message_of(error)
            self._fail(0, "load_error", 500, error, f"{place}{kind}: {message}" if place else message)
            return
        failures.flush()
        gc.collect()
        gc.freeze()  # what was loaded lives as long as the worker: later collections need not walk it
        words = warming.words_of(module)
        flags = frames.PIECEWISE if around.reads else 0
        self._channel.send(frames.LOADED, 0, 0, dumps(words) if words else b"", flags=flags)

    def _call(self, call: int, request: bytes, content: bytes | Intake) -> None:
        waited = getrusage(RUSAGE_SELF).ru_nvcsw
        handler = self._handler
        try:
            if handler is None:
                raise RuntimeError("no code is loaded")  # noqa: TRY301  an error like any other
            value = handler(request, content)
            if type(value) is not dict and hasattr(value, "__await__"):
                value = self._loop.run(value)
        except BaseException as error:  # noqa: BLE001  whatever user code raises is the answer
            self._fail(call, "handler_error", failures.status_of(error), error, failures.message_of(error), waited)
            return
        after = None
        if isinstance(value, Unfinished):
            value, after = value.value, value.after
        answer = self._answer(call, value, waited)
        flags = frames.BACKGROUND if after is not None else 0
        if answer is None or (isinstance(answer, Flow) and not self._stream(call, answer, waited)):
            if after is not None:
                after.cancel()
            return
        if isinstance(answer, Flow):
            self._send(frames.END, call, 0, b"", b"", waited, flags)
        else:
            self._send(frames.ANSWER, call, *answer, waited, flags)
        if after is not None:
            self._go_on(call, after, waited)

    def _answer(self, call: int, value: Any, waited: int) -> Answer | Flow | None:
        """Return what goes out for a returned value; None when that is an error, which has been sent then."""
        try:
            return answer_of(value)
        except InvalidResponseError as error:
            self._fail(call, "invalid_response", 502, error, str(error), waited)
        except Exception as error:  # noqa: BLE001  values of user code may raise anything while they are written
            message = f"the handler's answer cannot be written: {failures.message_of(error)}"
            self._fail(call, "handler_error", 500, error, message, waited)
        return None

    def _stream(self, call: int, flow: Flow, waited: int) -> bool:
        """Send a streamed answer up to its end; False when it failed, and its error has been sent."""
        from .streaming import Stream  # noqa: TID252

        stream = Stream(self._channel, call, flow)
        try:
            stream.pump(self._loop)
        except frames.Gone:
            raise
        except InvalidResponseError as error:
            self._fail(call, "invalid_response", 502, error, str(error), waited)
            return False
        except BaseException as error:  # noqa: BLE001  whatever user code raises is the answer
            self._fail(call, "handler_error", failures.status_of(error), error, failures.message_of(error), waited)
            return False
        return True

    def _go_on(self, call: int, after: Future[Any], waited: int) -> None:
        """Run what the handler left for after its answer; its failure is for the function's log."""
        try:
            self._loop.run(after)
        except BaseException as error:  # noqa: BLE001  whatever user code raises has to be told somewhere
            failures.report(error, self._root)
        self._send(frames.END, call, 0, b"", b"", waited)

    def _fail(self, call: int, code: str, status: int, error: BaseException, message: str, waited: int | None = None) -> None:
        head = {
            "code": code,
            "type": type(error).__name__,
            "message": message,
            "stack": failures.stack_of(error, self._root),
        }
        body = _INVALID if code == "invalid_response" else dumps({"error": message})
        self._send(frames.ERROR, call, status, dumps(head), body, waited)

    def _send(self, kind: int, call: int, status: int, head: bytes, body: bytes, waited: int | None, flags: int = 0) -> None:
        """Answer, and say what was used since `before`."""
        channel = self._channel
        if channel.intake is not None:
            channel.intake.close()
            channel.intake = None
        failures.flush()
        if getrusage(RUSAGE_SELF).ru_nvcsw == waited:
            flags |= frames.COMPUTED
        if self._has_printed():
            flags |= frames.PRINTED
            self._unread = call
        else:
            self._unread = 0
        channel.send(kind, call, status, head, body, flags)

    def _has_printed(self) -> bool:
        """Whether something lies in the output's pipes; also when that cannot be told."""
        if self._outputs is None:
            return True
        out, err = self._outputs
        try:
            return ioctl(out, _UNREAD, _NONE_UNREAD) != _NONE_UNREAD or ioctl(err, _UNREAD, _NONE_UNREAD) != _NONE_UNREAD
        except OSError:
            return True


def main(channel: frames.Channel) -> None:
    """Serve on `channel` and end the process with it, whatever threads user code has left running."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # pyright: ignore[reportUnnecessaryComparison]  it is, when the descriptor was closed
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    try:  # noqa: SIM105  `contextlib` costs an import
        Guest(channel).serve()
    except (OSError, KeyboardInterrupt):
        pass  # the executor went away; there is nobody to tell
    failures.flush()
    os._exit(0)
