"""What processes of fnbus are called, and ask of the kernel: to end with their parent, to be scheduled for throughput."""

import contextlib
import ctypes
import functools
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Generator

_PR_SET_PDEATHSIG = 1
_ORPHANED = 71


@functools.cache
def replica_name() -> str:
    """Return what this process is called among its like: no other one has this name, on whatever machine."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


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


def work_in_batches() -> None:
    """Have this process, and those it starts, scheduled for batches (Linux; elsewhere this does nothing).

    A call passes through five processes. By default each one that is handed a message takes the processor from the one that
    sent it, before that could send the next: two switches a hop, and every message comes alone. A process of the batch class
    waits until a processor is free or a time slice ends, so under load messages come many at a time; with a free processor it
    makes no difference. Measured on two cores: a third more calls a second.
    """
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@contextlib.contextmanager
def children_in_batches() -> Generator[None]:
    """Have children that are started inside inherit what `work_in_batches` says, and leave this process as it is."""
    if sys.platform != "linux":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    work_in_batches()
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)
