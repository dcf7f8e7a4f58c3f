"""The port of a tree of files that functions are made from; `homes` has its adapters.

Paths are relative to the tree's root, `/` between the parts; whoever asks has made sure that they do not lead out of it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from libs import errors
from services.registry.source.listing import MAX_SMALL, Listing

FOLDER = "folder"
"""`FunctionEntry.source` of what comes from a functions folder."""
API = "api"
"""`FunctionEntry.source` of what the registry's store holds."""


class MovedError(errors.ConflictError):
    """Another registry has changed files since they were looked at: look again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Files to be written and removed. Each file is changed as a whole or not at all; in the store, so are all together."""

    put: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """New contents by path, written in this order; folders are made as they are needed."""
    remove: tuple[str, ...] = ()
    """Files; one that is not there is no error."""
    clear: str = ""
    """A folder that goes with all that lies in it."""
    keep: tuple[str, ...] = ()
    """Folders below the one that goes which stay."""
    takes_back: bool = False
    """Whether it undoes a change that was just made: it is made whatever others have changed since, but for what they have."""


class Home(Protocol):
    """A tree of files."""

    @property
    def origin(self) -> str:
        """`FunctionEntry.source` of what is made from it."""
        ...

    @property
    def place(self) -> str:
        """Absolute path of its root, for people; empty when it is in no folder."""
        ...

    async def refresh(self) -> None:
        """Take in what others have changed, so that `scan` and `read` show it.

        Raises:
            errors.UnavailableError: it cannot be read.
        """
        ...

    def scan(self) -> Listing:
        """List all files. Blocks: call it in a thread.

        Raises:
            errors.UnavailableError: the tree itself cannot be read.
        """
        ...

    def read(self, path: str, *, limit: int = MAX_SMALL) -> bytes:
        """Return a config file's bytes. Blocks.

        Raises:
            OSError: it cannot be read, or is larger than `limit` bytes.
        """
        ...

    async def fetch(self, path: str, *, limit: int) -> bytes:
        """Return any file's bytes.

        Raises:
            OSError: it cannot be read, is larger than `limit` bytes, or leads out of the tree.
            errors.UnavailableError: the tree cannot be reached.
        """
        ...

    def watch(self, *, is_news: Callable[[], Awaitable[bool]]) -> AsyncIterator[frozenset[str]]:
        """Yield the paths that changed, again and again; empty when it is not known which. Endless."""
        ...

    def exclusive(self, *, wait: bool = True) -> AbstractAsyncContextManager[None]:
        """Keep every other registry from writing meanwhile, or have `write` notice when one has.

        Args:
            wait: False: not for somebody who is writing now.

        Raises:
            errors.TemporaryError: somebody else keeps it, or has kept it for too long.
        """
        ...

    async def write(self, change: Change) -> None:
        """Make a change.

        Raises:
            MovedError: another registry has written since `exclusive` began; nothing was changed.
            errors.PermanentError: the tree does not take it: a symbolic link in the way, a file where a folder should be.
            errors.UnavailableError: the tree cannot be reached.
        """
        ...
