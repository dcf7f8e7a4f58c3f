"""The executor's side of `egress`: starts that program when the first worker needs it, and has it open and close proxies.

Waiting for it blocks for about two milliseconds. That is on purpose: a worker whose proxy is not there yet must not get code.
"""

import contextlib
import fcntl
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from services.executor.sandbox import egress

_OWNER = 0xB701
"""NS_GET_USERNS: the user namespace that owns another namespace."""
_ANSWER_SECONDS = 10.0
_ANSWER_BYTES = 1024
_PROGRAM = Path(egress.__file__)


def environment(hosts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return what tells programs in a worker about their proxy; nothing when there is none."""
    if not hosts:
        return ()
    url = f"http://127.0.0.1:{egress.PORT}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    local = (("NO_PROXY", ""), ("no_proxy", ""))
    return (*((name, url) for name in names), *local, ("NODE_USE_ENV_PROXY", "1"))


class Gate:
    """Opens proxies in the namespaces of workers."""

    def __init__(self, *, enter_users: bool, fenced_ports: Collection[int] | None = None) -> None:
        """Start nothing yet.

        Args:
            enter_users: whether a worker's network is owned by a user namespace that has to be entered first.
            fenced_ports: ports of this machine that no list leads to; empty: it leads to none of them. None: no fence.
        """
        self._enter_users = enter_users
        self._fenced = None if fenced_ports is None else sorted(fenced_ports)
        self._numbers = itertools.count(1)
        self._orders: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def open(self, guest: int, hosts: Sequence[str], *, local: bool = False) -> int:
        """Open a proxy for a worker; return its number.

        Args:
            guest: a process of the worker.
            hosts: what it may reach.
            local: whether the fence is not for it.

        Raises:
            OSError: it cannot be had.
        """
        number = next(self._numbers)
        orders = self._started()
        fds = [os.open(f"/proc/{guest}/ns/net", os.O_RDONLY | os.O_CLOEXEC)]
        try:
            if self._enter_users:
                # Not the guest's own: bubblewrap makes a second one inside of that which owns the network.
                fds.insert(0, fcntl.ioctl(fds[0], _OWNER))
            order = {"number": number, "hosts": list(hosts), "fenced": None if local else self._fenced}
            socket.send_fds(orders, [json.dumps(order).encode()], fds)
            answer = orders.recv(_ANSWER_BYTES)
        finally:
            for fd in fds:
                os.close(fd)
        if answer != b"ok":
            if not answer:
                self.close()
            raise OSError(f"no proxy for the function's hosts: {answer.decode() or 'the program ended'}")
        return number

    def shut(self, number: int) -> None:
        """Close a proxy."""
        if self._orders is not None:
            with contextlib.suppress(OSError):
                self._orders.send(json.dumps({"number": number}).encode())

    def close(self) -> None:
        """End the program."""
        if self._orders is not None:
            self._orders.close()
            self._orders = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _started(self) -> socket.socket:
        if self._orders is not None:
            return self._orders
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_ANSWER_SECONDS)
        with theirs:
            argv = (sys.executable, "-I", "-S", str(_PROGRAM), str(theirs.fileno()))
            self._process = subprocess.Popen(
                argv, env={}, cwd="/", stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True
            )
        self._orders = ours
        return ours
