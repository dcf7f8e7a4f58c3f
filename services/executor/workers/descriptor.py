"""The descriptor number that every guest finds its socket at.

Programs that user code starts must not inherit the socket: they could forge frames, and would keep it open after the guest
has died. Python marks it close-on-exec by itself; Node cannot, it only marks what it inherited when it starts, and stops
looking at the first gap above 15. So the number has to be a low one, and it is taken before anything else can have it.
"""

import contextlib
import os
import socket
from collections.abc import Generator


class GuestDescriptor:
    """A number that is kept for guests; in this process it means nothing (`/dev/null`)."""

    def __init__(self) -> None:
        """Take the lowest number that is free: made first, it is low enough for Node."""
        self.number = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    @contextlib.contextmanager
    def of(self, guest_end: socket.socket) -> Generator[int]:
        """Have the number mean `guest_end`, for a child to inherit, for the length of the block."""
        os.dup2(guest_end.fileno(), self.number)
        try:
            yield self.number
        finally:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nothing, self.number, inheritable=False)
            os.close(nothing)

    def close(self) -> None:
        """Give the number back."""
        os.close(self.number)
