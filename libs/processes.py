"""Processes that must not outlive the one that started them: the child asks for it, or its parent does in its name."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_ORPHANED = 71


def bound_to_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """Return a `preexec_fn` that has the kernel send `number` to the child when this process dies, even by SIGKILL.

    Only for processes with one thread at the time of the fork. None where the kernel has no such thing (not Linux).
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork: nothing but the call is left for the child
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(_ORPHANED)

    return bind


def exit_with_parent() -> None:
    """Ask the kernel for SIGTERM to this process when its parent dies (Linux; elsewhere this does nothing)."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:
        raise SystemExit(0)
