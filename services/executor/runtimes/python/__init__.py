"""The Python runtime: functions run in the interpreter that the executor itself runs on, without its packages."""

import asyncio
import platform
import py_compile
import sys
import sysconfig
from pathlib import Path

from services.executor.profile import Profile
from services.executor.runtimes.base import Availability, BuildPlan, GuestCommand
from services.executor.runtimes.python import building

_HERE = Path(__file__).resolve().parent
_PROGRAM = _HERE / "guest.py"
_PACKAGE = _HERE / "fnbus_guest"


class PythonRuntime:
    """Python, by the executor's own interpreter outside of its virtual environment."""

    @property
    def name(self) -> str:
        """The runtime's name in catalogue, subjects and logs."""
        return "python"

    async def probe(self) -> Availability:
        """Make sure that guests start from bytecode; Python itself is present, since this is it."""
        await asyncio.to_thread(_compile_guest)
        return Availability(present=True, version=platform.python_version())

    def command(self, profile: Profile) -> GuestCommand:
        """Return how to start a guest: isolated from the environment, without `site`, writing no bytecode."""
        del profile  # the sandbox's walls are enough
        interpreter = _interpreter()
        return GuestCommand(
            argv=(str(interpreter), "-I", "-S", "-B", "-X", "utf8=1", str(_PROGRAM)),
            visible=(_HERE, *_installation(interpreter)),
        )

    def build(self, code: Path, entrypoint: str) -> BuildPlan | None:
        """Return how pip installs what the code declares; None when it declares nothing or ships it."""
        interpreter = _interpreter()
        return building.plan_of(code, entrypoint, interpreter=interpreter, visible=_installation(interpreter))


def _interpreter() -> Path:
    """Return the program itself: a virtual environment's is a link that would bring the environment with it."""
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    return Path(base).resolve()


def _installation(interpreter: Path) -> tuple[Path, ...]:
    """Return what the interpreter needs beside the system's folders."""
    paths = [interpreter, Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))]
    library = sysconfig.get_config_var("INSTSONAME")
    folder = sysconfig.get_config_var("LIBDIR")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and library and folder:
        paths.append(Path(folder) / library)
    return tuple(path for path in paths if path.exists() and not path.is_relative_to("/usr"))


def _compile_guest() -> None:
    """Write the guest's bytecode, which guests only read; an installation that is read-only starts from source, slower."""
    for source in sorted(_PACKAGE.glob("*.py")):
        try:
            py_compile.compile(str(source), doraise=True)
        except OSError:
            return
