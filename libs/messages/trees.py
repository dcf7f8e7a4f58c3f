"""The tree of files that functions are made from: what is asked about it, and what is changed of it as a whole."""

from libs.messages.audit import Actor
from libs.messages.catalog import Problem
from libs.messages.codec import record
from libs.messages.functions import FunctionRef

MAX_FILE_BYTES = 2 * 1024 * 1024
"""Size of one file."""
MAX_TREE_BYTES = 6 * 1024 * 1024
"""Size of all files of one change."""


@record()
class ListTree:
    """`rpc.registry.tree`: all files that functions are made from."""


@record()
class TreeFile:
    """A file that is there."""

    path: str
    """Below the functions."""
    size: int
    digest: str = ""
    """SHA-256 in hex; empty for one that holds environment values, which a digest could give away."""


@record()
class Tree:
    """All files, sorted by path."""

    files: tuple[TreeFile, ...]


@record()
class NewFile:
    """A file as it is to be."""

    path: str
    data: bytes


@record()
class ChangeTree:
    """`rpc.registry.change-tree`: write and remove files, and deploy what they are then."""

    put: tuple[NewFile, ...] = ()
    remove: tuple[str, ...] = ()
    dry_run: bool = False
    """Only say what would change."""
    actor: Actor = Actor()
    """Who changes it."""


@record()
class TreeChanged:
    """What came of a change."""

    changed: tuple[str, ...] = ()
    """Files that were written, for they were not there or different."""
    removed: tuple[str, ...] = ()
    functions: tuple[FunctionRef, ...] = ()
    """Versions that these files belong to."""
    problems: tuple[Problem, ...] = ()
    """What does not work as written in the folders of these files."""
