"""When a functions folder changes: notices by inotify, polls where that fails, and waits until files have come to rest.

A change is told once what was written has stopped growing, so that half a file is not taken for the whole. As a net under
lost notices, and for a root that was replaced, the folder is looked over every few seconds in any case.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final

from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType]  trio, which it also knows, is not here

_log = logging.getLogger(__name__)

GATHER_MS: Final = 300
"""How long changes that never stop are gathered at most before they are told."""
RESCAN_MS: Final = 10_000
SETTLE: Final = 0.03
"""Seconds between two looks at a file that may still be written."""
PATIENCE: Final = 10
"""Looks at such a file, after which it is taken as it is."""
GONE_SECONDS: Final = 0.5

type Stamp = tuple[int, int, int] | None
"""Size, time of change and inode of a file; None when it is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a folder is watched."""

    poll: bool = False
    """Whether to compare folders instead of asking the system for notices."""
    poll_ms: int = 2000
    """How often folders are compared then, and where the system gives no notices."""
    quiet_ms: int = 30
    """How long nothing may have happened before a change is looked at."""


async def watch(
    root: Path, *, is_news: Callable[[], Awaitable[bool]], rescan_ms: int = RESCAN_MS, pace: Pace | None = None
) -> AsyncIterator[frozenset[str]]:
    """Yield relative paths of what has changed below `root`, again and again; an empty set when a rescan found news.

    Args:
        root: the folder; it may be missing, and is then waited for.
        is_news: whether a look at the whole folder shows a difference from what is known.
        rescan_ms: milliseconds without notices after which that is asked.
        pace: how it is watched.
    """
    pace = pace or Pace()
    while True:
        if _identity(root) is None:
            await asyncio.sleep(GONE_SECONDS)
            continue
        if await is_news():
            yield frozenset()
        try:
            async with aclosing(_notices(root, rescan_ms=rescan_ms, pace=pace)) as notices:
                async for paths in notices:
                    if paths:
                        await settle(paths)
                        yield frozenset(_relative(root, path) for path in paths)
                    elif await is_news():
                        yield frozenset()
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError) as error:
            if pace.poll:
                await asyncio.sleep(GONE_SECONDS)
            pace = replace(pace, poll=True)
            _log.warning(
                "The system gives no notice of changed files (%s); looking every %s ms instead.",
                error,
                pace.poll_ms,
                extra={"action": "source.polling", "root": str(root)},
            )


async def _notices(root: Path, *, rescan_ms: int, pace: Pace) -> AsyncGenerator[frozenset[str]]:
    """Yield absolute paths of what has changed, nothing after a time without changes; ends when the root is another one."""
    identity = _identity(root)
    changes = awatch(
        root,
        watch_filter=_concerns_us,
        debounce=max(GATHER_MS, 2 * pace.quiet_ms),
        step=pace.quiet_ms,
        rust_timeout=rescan_ms,
        yield_on_timeout=True,
        force_polling=pace.poll,
        poll_delay_ms=pace.poll_ms,
        ignore_permission_denied=True,
    )
    async with aclosing(changes):
        async for change in changes:
            yield frozenset(path for _, path in change)
            if _identity(root) != identity:
                return


async def settle(paths: frozenset[str], *, look: Callable[[str], Stamp] | None = None, pause: float = SETTLE) -> None:
    """Return when none of these files is being written: two looks agree, and none has just been emptied.

    Args:
        paths: absolute paths.
        look: says what a file looks like; the file system by default.
        pause: seconds between two looks.
    """
    look = look or _stamp
    before = {path: look(path) for path in paths}
    for _ in range(PATIENCE):
        await asyncio.sleep(pause)
        now = {path: look(path) for path in paths}
        if now == before and not any(stamp is not None and stamp[0] == 0 for stamp in now.values()):
            return
        before = now


def _concerns_us(_change: Change, path: str) -> bool:
    """Whether a path can be part of a function: no editor's backup, no cache."""
    name = PurePath(path).name
    return not name.endswith("~") and not name.startswith(".") and "__pycache__" not in path and "/.git/" not in path


def _stamp(path: str) -> Stamp:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        status = root.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _relative(root: Path, path: str) -> str:
    for base in (root, root.resolve()):
        if Path(path).is_relative_to(base):
            return Path(path).relative_to(base).as_posix()
    return path
