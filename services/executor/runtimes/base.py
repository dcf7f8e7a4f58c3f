"""The port of a runtime: what a language must provide so that the executor can run functions in it.

A runtime is a folder with a host side (an object of this port) and a guest: a program in the language, using only its
standard library, that speaks the frames of `services.executor.workers.frames` on the descriptor whose number is its last
argument. The guest:

1. sends READY once it has booted;
2. on LOAD makes the code callable and sends LOADED, or ERROR with code `load_error` (naming file and line);
3. on CALL runs the handler and sends ANSWER, or START, CHUNKs and END, or ERROR with code `handler_error` or
   `invalid_response`;
4. never writes anything but frames to the descriptor, never lets user code see it, and leaves stdout and stderr to the
   function; it flushes both before it answers;
5. ends when the descriptor is closed.

A language is found by its name: the runtimes that come with fnbus are listed in `installed`, others are entry points of the
group `fnbus.runtimes` of whatever distribution is installed beside it (docs/adding-a-runtime.md).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.executor.profile import Profile


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """What has to be made once before code can run: its dependencies, or the program that it compiles to.

    The build runs in a sandbox of its own, with network and without secrets, in a folder `/build` that holds `inputs`. Its
    outcome is a layer: the files of `output`, which every worker of the version finds at `mount` below the code's root.
    """

    tool: str
    """Name and version of the tool: `pip 25.2`, `npm 11.4.2`, `cargo 1.95.0`."""
    manifest: str
    """Path, inside the bundle, of what is declared: `requirements.txt`."""
    inputs: tuple[str, ...]
    """Paths inside the bundle that decide the outcome; a layer is shared by all versions whose inputs are the same."""
    argv: tuple[str, ...]
    """Program and arguments, started in `/build`."""
    output: str
    """Folder below `/build` that is kept."""
    mount: str
    """Where its files lie below the code's root: `.deps`, `node_modules`, `vendor`."""
    visible: tuple[Path, ...] = ()
    """Files and folders of the host, outside the system's own, that the tool needs."""
    env: tuple[tuple[str, str], ...] = ()
    seconds: float = 0
    """How long it may take; 0: as long as any build."""
    files: tuple[tuple[str, bytes], ...] = ()
    """Further files that the build finds in `/build`, by path: what the tool needs and the bundle does not hold."""


class Runtime(Protocol):
    """A language."""

    @property
    def name(self) -> str:
        """The runtime's name in catalogue, subjects and logs."""
        ...

    async def probe(self) -> Availability:
        """Find the language's tools; called once at start, before `command`."""
        ...

    def command(self, profile: Profile) -> GuestCommand:
        """Return how to start a guest.

        Args:
            profile: walls that the sandbox puts up around it; a language with permissions of its own may set them as well.

        Raises:
            errors.UnavailableError: the runtime is not present.
        """
        ...

    def build(self, code: Path, entrypoint: str) -> BuildPlan | None:
        """Return what has to be made before this code can run; None when it runs as it lies.

        Args:
            code: folder with the bundle's files, read-only.
            entrypoint: its entry file, relative to that.

        Raises:
            errors.PermanentError: what the bundle declares cannot be read; the text says where.
            errors.UnavailableError: the tool that it needs is not here; the text says how to get it.
        """
        ...
