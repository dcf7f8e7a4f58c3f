"""What a caller and an owner are told when user code fails."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_GUEST = __file__.rpartition("/")[0]


def stack_of(error: BaseException, root: str) -> str:
    """Return the error's traceback without the guest's own frames, with paths relative to `root`; "" when it cannot be told."""
    skipped = error.__traceback__
    while skipped is not None and _is_guest(skipped):
        skipped = skipped.tb_next
    try:
        import traceback

        lines = traceback.TracebackException(type(error), error, skipped, limit=-50)
        return "".join(lines.format()).replace(root + "/", "")
    except Exception:  # noqa: BLE001  user code may have broken anything that this needs: the error itself is still told
        return ""


def report(error: BaseException, root: str) -> None:
    """Print an error that no answer can tell any more."""
    print(stack_of(error, root), end="", file=sys.stderr)  # noqa: T201  the function's own output is the place for it


def place_of(error: BaseException, root: str) -> str:
    """Return `file:line: ` of the innermost line of user code that an error came from, or "" when none is known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_relative(error.filename, root)}:{error.lineno or 1}: "
    place = ""
    frame = error.__traceback__
    while frame is not None:
        name = frame.tb_frame.f_code.co_filename
        if name.startswith(root + "/"):
            place = f"{_relative(name, root)}:{frame.tb_lineno}: "
        frame = frame.tb_next
    return place


def message_of(error: BaseException) -> str:
    """Return the error's text, or something in its place when it has none."""
    if isinstance(error, SyntaxError):
        return error.msg or "invalid syntax"
    if isinstance(error, SystemExit):
        return f"the handler asked to exit with code {0 if error.code is None else error.code}"
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001  an error of the user whose own text fails
        return type(error).__name__


def status_of(error: BaseException) -> int:
    """Return the HTTP status of an error that a handler raised."""
    if isinstance(error, ValueError):
        return 400
    if isinstance(error, FileNotFoundError):
        return 404
    return 500


def flush() -> None:
    """Push out what the function has printed; a stream that it has closed or replaced is its own affair."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105  `contextlib` costs an import
            stream.flush()
        except Exception:  # noqa: BLE001, S110  the answer goes out anyway
            pass


def _is_guest(frame: TracebackType) -> bool:
    name = frame.tb_frame.f_code.co_filename
    return name.startswith((_GUEST, "<frozen importlib"))


def _relative(name: str, root: str) -> str:
    return name.removeprefix(root + "/")
