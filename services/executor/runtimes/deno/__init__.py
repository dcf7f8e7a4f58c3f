"""The Deno runtime: TypeScript and JavaScript, with the walls of the sandbox set a second time as Deno's own permissions."""

import re
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from libs import errors
from services.executor.profile import Profile
from services.executor.runtimes.base import Availability, BuildPlan, GuestCommand
from services.executor.runtimes.deno.building import plan_of
from services.executor.runtimes.javascript import GUEST_MODULES, version_of
from services.executor.runtimes.javascript.joining import joined_file

_HERE = Path(__file__).resolve().parent
_PROGRAM = _HERE / "guest.mjs"
_OLDEST = (2, 4)
"""The first version that bundles."""
_HINT = "pip install deno, or put Deno >= 2.4 on PATH"
_VERSION = rb"deno (\d+)\.(\d+)\.(\d+)"
_FLAGS = ("--quiet", "--no-prompt", "--no-config", "--no-lock", "--no-npm", "--no-remote")
_NOWHERE = "/dev/null/deno"
"""Cache folder of guests, which cannot be made: what one function leaves in a cache must not be another's code."""
_ENV = (
    ("DENO_DIR", _NOWHERE),
    ("DENO_EMIT_CACHE_MODE", "disable"),  # else each module of TypeScript waits 150 ms for a cache that cannot be written
    ("DENO_NO_UPDATE_CHECK", "1"),
    ("NO_COLOR", "1"),
)
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9.-]+(?::\d+)?|\[[0-9A-Fa-f:]+\](?::\d+)?")


class DenoRuntime:
    """Deno, from a setting, the PyPI wheel or PATH, in this order."""

    def __init__(self, program: Path | None = None) -> None:
        """Use `program` as Deno, or find one when it is None."""
        self._chosen = program
        self._program: Path | None = None
        self._version = ""
        self._guest = _PROGRAM

    @property
    def name(self) -> str:
        """The runtime's name in catalogue, subjects and logs."""
        return "deno"

    async def probe(self) -> Availability:
        """Find a Deno that is new enough."""
        too_old = ""
        for program in _candidates(self._chosen):
            version = await version_of(program, _VERSION)
            text = ".".join(map(str, version))
            if version >= _OLDEST:
                self._program = program
                self._guest = joined_file(_PROGRAM)
                self._version = text
                return Availability(present=True, version=text)
            if version:
                too_old = f"{program} is {text}, too old; "
        return Availability(present=False, hint=too_old + _HINT)

    def command(self, profile: Profile) -> GuestCommand:
        """Return how to start a guest, with the permissions that the profile allows and no others.

        Raises:
            errors.UnavailableError: no Deno was found.
        """
        program = self._found()
        own = () if program.is_relative_to("/usr") else (program,)
        return GuestCommand(
            argv=(str(program), "run", *_FLAGS, *_permissions(profile), str(self._guest)),
            visible=(_HERE, GUEST_MODULES, *own),
            env=_ENV,
        )

    def build(self, code: Path, entrypoint: str) -> BuildPlan | None:
        """Return how Deno bundles a handler with what it imports from elsewhere; None when it imports nothing.

        Raises:
            errors.PermanentError: a file of the bundle cannot be read.
            errors.UnavailableError: no Deno was found.
        """
        return plan_of(code, entrypoint, deno=self._found, version=self._version)

    def _found(self) -> Path:
        if self._program is None:
            raise errors.UnavailableError(f"deno is not present: {_HINT}")
        return self._program


def _permissions(profile: Profile) -> tuple[str, ...]:
    """Return Deno's permissions. `.` is the folder that a guest starts in: the root of its code."""
    flags = ["--allow-env", "--allow-sys", "--allow-read=.,/tmp,/dev/null,/dev/urandom"]
    flags.append("--allow-write=/tmp,/dev/null" + (",." if profile.write else ""))
    if profile.network:
        # A list is enforced by the sandbox; Deno is told it as well when it is in words that Deno knows.
        exact = profile.hosts and all(_HOST.fullmatch(host) for host in profile.hosts)
        flags.append(f"--allow-net={','.join(profile.hosts)}" if exact else "--allow-net")
    if profile.run:
        # The guest gives `ffi` up before it loads code: it needs the C library to keep its socket from other programs.
        flags += ["--allow-run", "--allow-ffi"]
    return tuple(flags)


def _candidates(chosen: Path | None) -> list[Path]:
    if chosen is not None:
        return [chosen.resolve()]
    found: list[Path] = []
    if find_spec("deno") is not None:
        found.append(Path(sysconfig.get_path("scripts")) / "deno")
    on_path = shutil.which("deno")
    if on_path is not None:
        found.append(Path(on_path))
    return [program.resolve() for program in found if program.exists()]
