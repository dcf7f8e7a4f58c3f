"""How pip installs what a function declares: `requirements.txt`, and `#@requirements` lines of its entry file.

A bundle that ships its packages, below `.deps` or beside its code, is left alone. Whether packages may be built from source is
for whoever runs the build (`PIP_ONLY_BINARY`), as are indexes and proxies.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from libs import errors
from services.executor.runtimes.base import BuildPlan

MOUNT = ".deps"
_MANIFEST = "requirements.txt"
_INSTALL = ".fnbus-install.py"
_INLINE = ".fnbus-requirements.txt"
_HINT_LINES = 30
_HINT = re.compile(r"^\s*#\s*@requirements[\s:]+(?P<packages>.+)$")
_SEPARATOR = re.compile(r"[,\s]+(?=[A-Za-z])")
"""Between two requirements on a line; the comma of `a>=1,<2` is followed by no letter."""
_INCLUDE = re.compile(r"^(?:-r|-c|--requirement|--constraint)[\s=]*(?P<path>[^\s#]+)")
_LOCAL = re.compile(r"^(?P<path>\.{0,2}/?[^\s;#@:]+\.(?:whl|zip|tar\.gz))(?:\s|;|$)")
_NO_PIP = "pip is not here: run `python -m ensurepip` for fnbus's own Python, or install the package python3-pip"


def plan_of(code: Path, entrypoint: str, *, interpreter: Path, visible: tuple[Path, ...]) -> BuildPlan | None:
    """Return how to install a bundle's packages; None when it declares none or ships them.

    Args:
        code: folder with the bundle's files.
        entrypoint: its entry file, relative to that.
        interpreter: the Python that will run the code.
        visible: what that needs beside the system's folders.

    Raises:
        errors.PermanentError: what it declares cannot be read; the text says where.
        errors.UnavailableError: there is no pip.
    """
    folder = PurePosixPath(entrypoint).parent
    if any(_ships_packages(code / each) for each in (folder, PurePosixPath())):
        return None
    inputs: dict[str, None] = {}
    manifest = next((str(path) for path in (folder / _MANIFEST, PurePosixPath(_MANIFEST)) if (code / path).is_file()), "")
    declares = bool(manifest) and _collect(code, manifest, inputs)
    inline = tuple(_hints(code, entrypoint))
    if not declares and not inline:
        return None
    pip = _pip()
    files = [(_INSTALL, Path(__file__).with_name("install.py").read_bytes())]
    arguments: list[str] = []
    if declares:
        arguments += ("--requirement", manifest)
    if inline:
        files.append((_INLINE, "".join(f"{each}\n" for each in inline).encode()))
        arguments += ("--requirement", _INLINE)
    return BuildPlan(
        tool=f"pip {importlib.metadata.version('pip')}",
        manifest=manifest if declares else entrypoint,
        inputs=tuple(inputs),
        argv=(str(interpreter), "-I", _INSTALL, str(pip), MOUNT, *arguments),
        output=MOUNT,
        mount=MOUNT,
        visible=(*visible, *(() if pip.is_relative_to("/usr") else (pip,))),
        files=tuple(files),
    )


def _ships_packages(folder: Path) -> bool:
    return (folder / MOUNT).is_dir() or next(folder.glob("*.dist-info"), None) is not None


def _collect(code: Path, manifest: str, inputs: dict[str, None]) -> bool:
    """Add a requirements file, and the files of the bundle that it names, to `inputs`; whether it asks for anything."""
    if manifest in inputs:
        return False
    inputs[manifest] = None
    asks = False
    for number, line in enumerate(_lines(code, manifest), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        included, local = _INCLUDE.match(text), _LOCAL.match(text)
        if included and "://" not in included["path"]:
            path = _inside(str(PurePosixPath(manifest).parent / included["path"]), place=f"{manifest}:{number}")
            asks |= _collect(code, path, inputs)
        elif local:
            inputs[_existing(code, _inside(local["path"], place=f"{manifest}:{number}"), f"{manifest}:{number}")] = None
            asks = True
        else:
            asks |= not text.startswith("-")
    return asks


def _lines(code: Path, path: str) -> list[str]:
    try:
        return (code / path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.PermanentError(f"{path} cannot be read: {error}") from error


def _inside(path: str, *, place: str) -> str:
    """Return a path without `.` and `..`; one that leads out of the bundle is refused."""
    parts: list[str] = []
    for part in PurePosixPath(path).parts:
        if part == "/" or (part == ".." and not parts):
            raise errors.PermanentError(f"{place}: {path} leads out of the function's code")
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _existing(code: Path, path: str, place: str) -> str:
    if not (code / path).is_file():
        raise errors.PermanentError(f"{place}: there is no file {path}")
    return path


def _hints(code: Path, entrypoint: str) -> Iterator[str]:
    """Yield the requirements that the entry file names in its first lines."""
    try:
        with (code / entrypoint).open(encoding="utf-8", errors="replace") as source:
            for _, line in zip(range(_HINT_LINES), source, strict=False):
                found = _HINT.match(line)
                if found:
                    yield from (each.strip() for each in _SEPARATOR.split(found["packages"]) if each.strip())
    except OSError as error:
        raise errors.PermanentError(f"{entrypoint} cannot be read: {error}") from error


def _pip() -> Path:
    """Return the folder of pip, which runs as a program; it is fnbus's own environment's."""
    found = importlib.util.find_spec("pip")
    if found is None or found.origin is None:
        raise errors.UnavailableError(_NO_PIP)
    return Path(found.origin).parent
