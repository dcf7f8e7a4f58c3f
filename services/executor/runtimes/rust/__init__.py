"""The Rust runtime: a function is compiled to a program once, when it is deployed; the program is the guest.

A spare cannot hold it, so what boots ahead of time is a launcher that becomes the program when LOAD comes.
"""

import asyncio
import shlex
from pathlib import Path

from libs import errors
from services.executor.profile import Profile
from services.executor.runtimes.base import Availability, BuildPlan, GuestCommand
from services.executor.runtimes.rust import toolchain
from services.executor.runtimes.rust.manifest import CRATE, LOCK, MAIN, Declared, declared
from services.executor.runtimes.rust.toolchain import Prepared, Toolchain, ToolError

MOUNT = ".rust-build"
"""Folder below the code's root in which the program lies; the launcher knows it too."""

_PROGRAM = f"{MOUNT}/handler"
_INCLUDES = ("include_str!", "include_bytes!", "include!")
"""What makes files that are not Rust part of a program."""


class RustRuntime:
    """Rust, by the compiler on PATH."""

    def __init__(self, cache: Path | None = None, *, optimised: bool = True) -> None:
        """Keep what is made once per machine in `cache`, by default the user's own.

        Args:
            cache: folder that this user can write.
            optimised: False compiles faster, to programs that are slower.
        """
        self._cache = cache
        self._level = 2 if optimised else 0
        self._tools: Toolchain | None = None
        self._prepared: Prepared | None = None

    @property
    def name(self) -> str:
        """The runtime's name in catalogue, subjects and logs."""
        return "rust"

    async def probe(self) -> Availability:
        """Find the compiler and make the launcher; the first time on a machine this takes some seconds."""
        try:
            tools = await asyncio.to_thread(toolchain.find)
            cache = self._cache or Path.home() / ".cache" / "fnbus" / "rust"
            self._prepared = await asyncio.to_thread(toolchain.prepare, tools, cache)
        except ToolError as error:
            return Availability(present=False, hint=str(error))
        self._tools = tools
        return Availability(present=True, version=tools.version)

    def command(self, profile: Profile) -> GuestCommand:
        """Return how to start the launcher.

        Raises:
            errors.UnavailableError: no compiler was found.
        """
        del profile  # the sandbox's walls are enough
        _, prepared = self._present()
        return GuestCommand(argv=(str(prepared.launcher),), visible=(prepared.launcher,))

    def build(self, code: Path, entrypoint: str) -> BuildPlan | None:
        """Return how the function becomes a program: by the compiler alone, or by cargo when it declares crates.

        Raises:
            errors.PermanentError: `Cargo.toml` cannot be read.
            errors.UnavailableError: no compiler was found.
        """
        tools, prepared = self._present()
        crate = declared(code, entrypoint)
        if prepared.libraries is None or crate.needs_cargo:
            return self._by_cargo(tools, code, entrypoint, crate)
        return self._by_compiler(tools, prepared.libraries, code, entrypoint, crate)

    def _present(self) -> tuple[Toolchain, Prepared]:
        if self._tools is None or self._prepared is None:
            raise errors.UnavailableError(f"rust is not present: {toolchain.HINT}")
        return self._tools, self._prepared

    def _by_compiler(self, tools: Toolchain, libraries: Path, code: Path, entrypoint: str, crate: Declared) -> BuildPlan:
        linked = f"-L dependency={shlex.quote(str(libraries))}"
        rustc = f"{shlex.quote(str(tools.rustc))} -C opt-level={self._level} -C debuginfo=0 {linked}"
        function = f"{rustc} --crate-type rlib --crate-name function --edition {shlex.quote(crate.edition)} --cap-lints warn"
        program = f"{rustc} --crate-name handler --edition 2021 -C strip=debuginfo {_extern('fnbus_guest', libraries)}"
        script = (
            "set -e",
            f"mkdir -p {MOUNT}",
            f"{function} {_extern('serde_json', libraries)} --out-dir {CRATE} -- {shlex.quote(entrypoint)}",
            f"{program} --extern function={CRATE}/libfunction.rlib -o {_PROGRAM} {CRATE}/main.rs",
        )
        return BuildPlan(
            tool=f"rustc {tools.version}",
            manifest=crate.path or entrypoint,
            inputs=_inputs(code),
            argv=("sh", "-c", "\n".join(script)),
            output=MOUNT,
            mount=MOUNT,
            visible=(*tools.visible, libraries),
            files=((f"{CRATE}/main.rs", MAIN.encode()),),
        )

    def _by_cargo(self, tools: Toolchain, code: Path, entrypoint: str, crate: Declared) -> BuildPlan:
        lock = str(crate.folder / LOCK) if crate.path else ""
        locked = bool(lock) and (code / lock).is_file()
        script = (
            "set -e",
            f"mkdir -p {MOUNT}",
            # cargo would take it for the workspace of the crates that lie below it
            *((f"rm -f {shlex.quote(crate.path)}",) if crate.path else ()),
            f"{shlex.quote(str(tools.cargo))} build --release --manifest-path {CRATE}/Cargo.toml --target-dir {CRATE}/target",
            f"cp {CRATE}/target/release/handler {_PROGRAM}",
        )
        guest = tuple(
            (f"{CRATE}/guest/{path.relative_to(toolchain.GUEST_SOURCE)}", path.read_bytes()) for path in toolchain.guest_files()
        )
        return BuildPlan(
            tool=f"cargo {tools.version}",
            manifest=crate.path or entrypoint,
            inputs=(*_inputs(code), *((lock,) if locked else ())),
            argv=("sh", "-c", "\n".join(script)),
            output=MOUNT,
            mount=MOUNT,
            visible=tools.visible,
            env=(
                ("PATH", f"{tools.sysroot}/bin:/usr/local/bin:/usr/bin:/bin"),
                ("CARGO_HOME", f"{CRATE}/cargo"),
                ("CARGO_TERM_COLOR", "never"),
                ("RUSTFLAGS", "--remap-path-prefix=/build/="),
            ),
            files=(
                (f"{CRATE}/Cargo.toml", crate.crate(entrypoint).encode()),
                (f"{CRATE}/main.rs", MAIN.encode()),
                *guest,
                *(((f"{CRATE}/{LOCK}", (code / lock).read_bytes()),) if locked else ()),
            ),
        )


def _inputs(code: Path) -> tuple[str, ...]:
    """Return the paths that decide what the program is: Rust files and manifests, or all when a source includes others."""
    files = [path for path in sorted(code.rglob("*")) if path.is_file() and "target" not in path.relative_to(code).parts[:-1]]
    sources = [path for path in files if path.suffix == ".rs"]
    if not any(word in path.read_text(errors="replace") for path in sources for word in _INCLUDES):
        files = [path for path in files if path.suffix == ".rs" or path.name == "Cargo.toml"]
    return tuple(str(path.relative_to(code)) for path in files if path.name != LOCK)


def _extern(name: str, libraries: Path) -> str:
    """Return the option by which a prepared library is linked."""
    return f"--extern {name}={shlex.quote(str(next(libraries.glob(f'lib{name}-*.rlib'))))}"
