"""What the runtimes of JavaScript share: the guest's modules, and on the host how a program and its version are found."""

import asyncio
import re
from pathlib import Path

GUEST_MODULES = Path(__file__).resolve().parent
"""Folder of the modules that the guests of Node and Deno import."""

_PROBE_SECONDS = 20.0


async def version_of(program: Path, pattern: bytes) -> tuple[int, ...]:
    """Return what a program's `--version` says, or nothing when it says no such thing.

    Args:
        program: the program to ask.
        pattern: regular expression whose groups are the numbers of the version.
    """
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
    found = re.match(pattern, output)
    return tuple(int(part) for part in found.groups()) if found else ()
