"""Rust's tools on this machine, and what is made with them once: the launcher, and the libraries that functions need.

Both lie in a cache folder under a hash of their sources and of the compiler, made by whoever comes first and shared by all
executors of the user. Without network the libraries cannot be made; functions are then built by cargo as a whole.
"""

import fcntl
import hashlib
import logging
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

HERE = Path(__file__).resolve().parent
LAUNCHER_SOURCE = HERE / "launcher.rs"
GUEST_SOURCE = HERE / "guest"

_OLDEST = (1, 85)
_ANSWER_SECONDS = 20.0
_LAUNCHER_SECONDS = 120.0
_LIBRARIES_SECONDS = 180.0
_TRY_AGAIN_SECONDS = 600.0
"""How long a failure to make the libraries is believed, so that not every start waits for a network that is not there."""
HINT = "install Rust >= 1.85 from rustup.rs, or apt install cargo (Debian 13, Ubuntu 25.04), and a linker: apt install gcc"


class ToolError(Exception):
    """A tool is missing, too old, or failed; the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A Rust that is complete."""

    sysroot: Path
    """Where its programs (`bin`) and its standard library (`lib`) are."""
    version: str
    """Version of the compiler."""
    host: str
    """What the compiler says of itself in full; a cache is for one such text."""

    @property
    def rustc(self) -> Path:
        """The compiler itself: what is on PATH may be rustup's stand-in for it."""
        return self.sysroot / "bin" / "rustc"

    @property
    def cargo(self) -> Path:
        """The package manager itself."""
        return self.sysroot / "bin" / "cargo"

    @property
    def visible(self) -> tuple[Path, ...]:
        """What a build needs to see of it beside the system's own folders."""
        return () if self.sysroot.is_relative_to("/usr") else (self.sysroot,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What has been made on this machine."""

    launcher: Path
    libraries: Path | None
    """Folder with the guest and `serde_json`, compiled; None when they could not be made."""


def find() -> Toolchain:
    """Return the machine's Rust.

    Raises:
        ToolError: there is none that can be used.
    """
    rustc = shutil.which("rustc") or shutil.which(Path.home() / ".cargo" / "bin" / "rustc")
    if rustc is None:
        raise ToolError(HINT)
    if shutil.which("cc") is None:
        raise ToolError(f"there is no linker (cc); {HINT}")
    host = _run((rustc, "-vV"), seconds=_ANSWER_SECONDS)
    found = re.match(r"rustc (\d+)\.(\d+)\.(\d+)", host)
    if found is None:
        raise ToolError(f"{rustc} is no Rust compiler; {HINT}")
    version = tuple(map(int, found.groups()))
    text = ".".join(found.groups())
    if version < _OLDEST:
        raise ToolError(f"{rustc} is {text}, too old; {HINT}")
    sysroot = Path(_run((rustc, "--print", "sysroot"), seconds=_ANSWER_SECONDS).strip())
    toolchain = Toolchain(sysroot=sysroot, version=text, host=host)
    for program in (toolchain.rustc, toolchain.cargo):
        if not program.exists():
            raise ToolError(f"{program} is missing; {HINT}")
    return toolchain


def prepare(toolchain: Toolchain, cache: Path) -> Prepared:
    """Return the launcher and the libraries, made now when they are not there yet: the first time that takes seconds.

    Raises:
        ToolError: the launcher could not be made.
    """
    sources = [LAUNCHER_SOURCE, *guest_files()]
    digest = hashlib.sha256(toolchain.host.encode())
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    folder = cache / digest.hexdigest()[:16]
    launcher, libraries = folder / "launcher", folder / "libraries"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not launcher.exists():
                _make_launcher(toolchain, launcher)
            if not libraries.exists():
                _make_libraries(toolchain, libraries)
    except OSError as error:
        raise ToolError(f"the launcher cannot be kept in {cache}: {error}") from error
    return Prepared(launcher=launcher, libraries=libraries if libraries.exists() else None)


def guest_files() -> tuple[Path, ...]:
    """Return the guest crate's files."""
    return (GUEST_SOURCE / "Cargo.toml", *sorted((GUEST_SOURCE / "src").glob("*.rs")))


def _make_launcher(toolchain: Toolchain, launcher: Path) -> None:
    fresh = launcher.with_suffix(".new")
    options = ("--edition", "2021", "-O", "-C", "panic=abort", "-C", "strip=symbols", "-o", str(fresh))
    told = ("env", f"FNBUS_RUST_VERSION={toolchain.version}")
    _run((*told, str(toolchain.rustc), *options, str(LAUNCHER_SOURCE)), seconds=_LAUNCHER_SECONDS)
    fresh.chmod(0o755)
    fresh.rename(launcher)


def _make_libraries(toolchain: Toolchain, libraries: Path) -> None:
    """Compile the guest crate and what it depends on; a failure is remembered for a while and not raised."""
    failed = libraries.with_name("failed")
    if failed.exists() and time.time() - failed.stat().st_mtime < _TRY_AGAIN_SECONDS:
        return
    log.info("compiling what Rust functions are linked with, once", extra={"action": "rust_preparing"})
    work = libraries.with_name("work")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(GUEST_SOURCE, work)
    cargo = (
        "env",
        f"RUSTC={toolchain.rustc}",
        str(toolchain.cargo),
        "build",
        "--release",
        "--quiet",
        "--config",
        "net.retry=0",
    )
    target = work / "target"
    try:
        _run((*cargo, "--manifest-path", str(work / "Cargo.toml"), "--target-dir", str(target)), seconds=_LIBRARIES_SECONDS)
        fresh = libraries.with_name("libraries.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        for library in (target / "release" / "deps").glob("*.r*"):
            if library.suffix in (".rlib", ".rmeta"):
                shutil.copyfile(library, fresh / library.name)
        fresh.rename(libraries)
    except ToolError as error:
        failed.write_text(str(error))
        log.warning("Rust functions will take longer to build: %s", error, extra={"action": "rust_libraries_failed"})
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(argv: Iterable[str], *, seconds: float) -> str:
    """Run a tool and return what it printed.

    Raises:
        ToolError: it failed, or took longer.
    """
    command = tuple(argv)
    try:
        done = subprocess.run(command, timeout=seconds, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise ToolError(f"{Path(command[0]).name} failed: {str(error.stderr).strip()[-1000:]}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError(f"{Path(command[0]).name} could not be run: {error}") from error
    return done.stdout
