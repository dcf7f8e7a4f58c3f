"""The PHP runtime: php-cli workers that stay, with output buffering and headers as on a web server."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from libs import errors
from services.executor.profile import Profile
from services.executor.runtimes.base import Availability, BuildPlan, GuestCommand

_HERE = Path(__file__).resolve().parent
_PROGRAM = _HERE / "guest.php"
_OLDEST = 80100
"""The first version that has read-only properties and first-class callables."""
_HINT = "apt install php-cli (Debian, Ubuntu), or put PHP >= 8.1 on PATH"
_COMPOSER_HINT = "apt install composer (Debian, Ubuntu), or see getcomposer.org"
_PROBE_SECONDS = 20.0

_ASKED = (
    "echo json_encode(['id' => PHP_VERSION_ID, 'version' => PHP_VERSION, 'sapi' => PHP_SAPI,"
    " 'modules' => array_map('strtolower', get_loaded_extensions()), 'folder' => ini_get('extension_dir')]);"
)

_DECLARED_BY_THE_GUEST = (
    "header",
    "header_remove",
    "headers_list",
    "headers_sent",
    "http_response_code",
    "setcookie",
    "setrawcookie",
    "flush",
    "ob_get_level",
    "ob_end_flush",
    "ob_end_clean",
)
"""Functions that mean nothing in php-cli; a function that PHP is told to forget can be declared anew."""

_SETTINGS = (
    ("disable_functions", ",".join(_DECLARED_BY_THE_GUEST)),
    ("display_errors", "stderr"),
    ("log_errors", "0"),
    ("error_reporting", "32767"),
    ("html_errors", "0"),
    ("zend.exception_ignore_args", "1"),
    ("date.timezone", "UTC"),
)


class PhpRuntime:
    """PHP by php-cli, with the extensions that the machine's own configuration loads and nothing else of it."""

    def __init__(self, program: Path | None = None, *, composer: Path | None = None) -> None:
        """Use `program` as PHP and `composer` to install packages, or those on PATH when they are None."""
        self._chosen = program
        self._composer = composer
        self._program: Path | None = None
        self._extensions: tuple[str, ...] = ()
        self._folder: Path | None = None

    @property
    def name(self) -> str:
        """The runtime's name in catalogue, subjects and logs."""
        return "php"

    async def probe(self) -> Availability:
        """Find php-cli, and see which extensions its configuration loads."""
        program = _found(self._chosen)
        if program is None:
            return Availability(present=False, hint=_HINT)
        configured = await _asked(program)
        bare = await _asked(program, "-n")
        if configured is None or bare is None or configured["sapi"] != "cli":
            return Availability(present=False, hint=f"{program} is no php-cli; {_HINT}")
        version = str(configured["version"])
        if configured["id"] < _OLDEST:
            return Availability(present=False, hint=f"{program} is {version}, too old; {_HINT}")
        self._program = program
        self._folder = Path(configured["folder"])
        shared = [name for name in configured["modules"] if name not in bare["modules"]]
        # What is no file of that name (Zend's own, such as the opcode cache) brings nothing to a worker that loads once.
        self._extensions = tuple(name for name in shared if (self._folder / f"{name}.so").exists())
        return Availability(present=True, version=version)

    def command(self, profile: Profile) -> GuestCommand:
        """Return how to start a guest: without configuration files, which a sandbox does not show anyway.

        Raises:
            errors.UnavailableError: no PHP was found.
        """
        del profile  # the sandbox's walls are enough
        if self._program is None or self._folder is None:
            raise errors.UnavailableError(f"php is not present: {_HINT}")
        settings = (*_SETTINGS, *(("extension", name) for name in self._extensions))
        options = [part for name, value in settings for part in ("-d", f"{name}={value}")]
        outside = tuple(path for path in (self._program, self._folder) if not path.is_relative_to("/usr") and path.exists())
        return GuestCommand(argv=(str(self._program), "-n", *options, str(_PROGRAM)), visible=(_HERE, *outside))

    def build(self, code: Path, entrypoint: str) -> BuildPlan | None:
        """Return how composer installs what a `composer.json` beside the entry file, or at the top, declares.

        Raises:
            errors.PermanentError: the file is not JSON.
            errors.UnavailableError: composer is not on PATH.
        """
        folder = _declaring(code, entrypoint)
        if folder is None:
            return None
        manifest = folder / "composer.json"
        relative = manifest.relative_to(code)
        if not _requires(manifest, str(relative)):
            return None
        composer = shutil.which(self._composer or "composer")
        if composer is None:
            raise errors.UnavailableError(f"{relative} needs composer, which is not on PATH: {_COMPOSER_HINT}")
        base = folder.relative_to(code)
        lock = folder / "composer.lock"
        inputs = (str(relative), *((str(base / lock.name),) if lock.exists() else ()))
        program = Path(composer).resolve()
        options = ("--no-dev", "--no-scripts", "--no-plugins", "--no-interaction", "--no-progress", "--prefer-dist")
        return BuildPlan(
            tool="composer",
            manifest=str(relative),
            inputs=inputs,
            argv=(str(program), "install", *options, "--optimize-autoloader", f"--working-dir=./{base}"),
            output=str(base / "vendor"),
            mount=str(base / "vendor"),
            visible=() if program.is_relative_to("/usr") else (program,),
            env=(("COMPOSER_HOME", "/build/.composer"), ("COMPOSER_ALLOW_SUPERUSER", "1"), ("COMPOSER_NO_AUDIT", "1")),
        )


def _declaring(code: Path, entrypoint: str) -> Path | None:
    """Return the folder whose `composer.json` is for this entry file, unless `vendor` lies there already."""
    for folder in dict.fromkeys((code / Path(entrypoint).parent, code)):
        if (folder / "composer.json").is_file():
            return None if (folder / "vendor" / "autoload.php").exists() else folder
    return None


def _requires(manifest: Path, shown: str) -> bool:
    """Return whether composer has something to do for it: packages, or an autoloader to write.

    Raises:
        errors.PermanentError: it is not a JSON object.
    """
    try:
        declared: Any = json.loads(manifest.read_bytes())
    except ValueError as error:
        raise errors.PermanentError(f"{shown} is not JSON: {error}") from error
    if not isinstance(declared, dict):
        raise errors.PermanentError(f"{shown} is not a JSON object")
    return not {"require", "autoload"}.isdisjoint(declared)  # pyright: ignore[reportUnknownArgumentType]  keys of JSON


def _found(chosen: Path | None) -> Path | None:
    program = chosen or shutil.which("php")
    return Path(program).resolve() if program else None


async def _asked(program: Path, *options: str) -> dict[str, Any] | None:
    """Return what a PHP says of itself; None when it is none."""
    try:
        process = await asyncio.create_subprocess_exec(
            str(program),
            *options,
            "-d",
            "display_errors=stderr",
            "-r",
            _ASKED,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            output, _ = await process.communicate()
        told = json.loads(output)
    except (TimeoutError, ValueError):
        return None
    finally:
        if process.returncode is None:
            process.kill()
    return told if isinstance(told, dict) and {"id", "version", "sapi", "modules", "folder"} <= set(told) else None  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
