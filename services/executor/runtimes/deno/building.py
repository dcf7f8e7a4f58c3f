"""How Deno makes one file of a handler and all that it imports from elsewhere: `npm:`, `jsr:`, https and import maps.

The worker then loads that one file, without a resolver, a cache or the network. A handler that imports only its own files
runs as it lies.
"""

import re
from collections.abc import Callable
from pathlib import Path

from libs import errors
from services.executor.runtimes.base import BuildPlan

OUTPUT = ".deno-build"
"""Folder of what was built, in the build and below the code's root. The guest looks for `handler.js` in it."""

_CONFIGS = ("deno.json", "deno.jsonc", "import_map.json", "deno.lock", "package.json")
_DECLARING = re.compile(r'"(?:imports|importMap|dependencies)"\s*:')
_SOURCES = (".ts", ".mts", ".tsx", ".js", ".mjs", ".jsx")
_FOREIGN = re.compile(r"""(?:\bfrom|\bimport)\s*\(?\s*["'](?:npm:|jsr:|https?://)""")
_ENV = (
    ("DENO_DIR", "/tmp/deno"),  # noqa: S108  the build's own
    ("DENO_TLS_CA_STORE", "mozilla,system"),
    ("DENO_NO_UPDATE_CHECK", "1"),
    ("NO_COLOR", "1"),
)
_LARGEST = 4 * 1024 * 1024


def plan_of(code: Path, entrypoint: str, *, deno: Callable[[], Path], version: str) -> BuildPlan | None:
    """Return how to bundle a handler; None when nothing of it comes from elsewhere.

    Args:
        code: folder with the bundle's files.
        entrypoint: the entry file, relative to that.
        deno: gives Deno's program; asked only when there is something to build.
        version: Deno's version.

    Raises:
        errors.PermanentError: a file cannot be read.
        errors.UnavailableError: there is no Deno.
    """
    configs = [name for name in _CONFIGS if (code / name).is_file()]
    sources = sorted(path.relative_to(code) for path in code.rglob("*") if path.suffix in _SOURCES and path.is_file())
    sources = [path for path in sources if "node_modules" not in path.parts and OUTPUT not in path.parts]
    declaring = next((name for name in configs if _DECLARING.search(_text_of(code / name))), None)
    importing = next((str(path) for path in sources if _FOREIGN.search(_text_of(code / path))), None)
    manifest = declaring or importing
    if manifest is None:
        return None
    program = deno()
    others = sorted(str(path.relative_to(code)) for path in code.rglob("*.json") if path.is_file())
    inputs = dict.fromkeys((manifest, *configs, *map(str, sources), *others))
    return BuildPlan(
        tool=f"deno {version}",
        manifest=manifest,
        inputs=tuple(inputs),
        argv=(
            *(str(program), "bundle", "--quiet", "--platform", "deno", "--format", "esm"),
            *("-o", f"{OUTPUT}/handler.js", f"./{entrypoint}"),
        ),
        output=OUTPUT,
        mount=OUTPUT,
        visible=() if program.is_relative_to("/usr") else (program,),
        env=_ENV,
    )


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode(errors="replace")
    except OSError as error:
        raise errors.PermanentError(f"{path.name} cannot be read: {error.strerror}") from error
