"""The port of a runtime: what a language must provide so that the executor can run functions in it.

A runtime is a folder with a host side (an object of this port) and a guest: a program in the language, using only its
standard library, that speaks the frames of `services.executor.frames` on the descriptor whose number is its last argument.
The guest:

1. sends READY once it has booted;
2. on LOAD makes the code callable and sends LOADED, or ERROR with code `load_error` (naming file and line);
3. on CALL runs the handler and sends ANSWER, or ERROR with code `handler_error` or `invalid_response`;
4. never writes anything but frames to the descriptor, never lets user code see it, and leaves stdout and stderr to the
   function; it flushes both before it answers;
5. ends when the descriptor is closed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether a runtime can run on this machine."""

    present: bool
    version: str = ""
    """Version of the language, when it is present."""
    hint: str = ""
    """How to get it, when it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestCommand:
    """How to start a guest. Paths are the host's; the sandbox shows `visible` read-only at the same paths."""

    argv: tuple[str, ...]
    """Program and arguments; the number of the frame descriptor is appended as the last one."""
    visible: tuple[Path, ...] = ()
    """Files and folders outside the system's own (`/usr`, `/lib*`, `/bin`, `/etc/ssl` …) that the guest needs."""
    env: tuple[tuple[str, str], ...] = ()
    """Environment of the guest besides PATH, HOME, LANG and TMPDIR."""


class Runtime(Protocol):
    """A language."""

    @property
    def name(self) -> str:
        """The runtime's name in catalogue, subjects and logs."""
        ...

    async def probe(self) -> Availability:
        """Find the language's tools; called once at start, before `command`."""
        ...

    def command(self) -> GuestCommand:
        """Return how to start a guest.

        Raises:
            errors.UnavailableError: the runtime is not present.
        """
        ...
