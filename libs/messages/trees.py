"""The tree of files that functions are made from: what is asked about it, and what is changed of it as a whole."""

import re

from libs.messages.audit import Actor
from libs.messages.catalog import Problem
from libs.messages.codec import record
from libs.messages.functions import FunctionRef

MAX_FILE_BYTES = 2 * 1024 * 1024
"""Size of one file."""
MAX_TREE_BYTES = 6 * 1024 * 1024
"""Size of all files of one change."""
MAX_TREE_FILES = 500
"""How many files one change may name: each is made durable by itself where they lie in a folder."""
MAX_PAGE_BYTES = 3 * 1024 * 1024
"""Size of the files of one page, after which it takes no more."""

PACKS = ".fastfn/packs"
"""Where packs of dependencies lie that functions share: in `<runtime>/<name>` below it."""
PACK_MANIFESTS = frozenset({"requirements.txt", "package.json", "composer.json", "deno.json"})
PACK_LOCKS = frozenset({"requirements.lock.txt", "package-lock.json", "composer.lock", "deno.lock"})

_LONGEST_NAME = 200
"""Of a file or a folder; file systems take 255 bytes, drafts and stores need some."""
_PATH = re.compile(r"[A-Za-z0-9_./ \-\[\]@+=,()]{1,500}")


def is_path(path: str) -> bool:
    """Tell whether a file may be written there: it does not lead out of the functions, and discovery sees it."""
    if _PACK.fullmatch(path):
        return True
    parts = path.split("/")
    plain = _PATH.fullmatch(path) and all(parts) and not any(part != part.strip() or part.startswith(".") for part in parts)
    short = max(map(len, parts)) <= _LONGEST_NAME
    return bool(plain) and short and not path.endswith("~") and "__pycache__" not in parts and "node_modules" not in parts


_PACK = re.compile(
    rf"{re.escape(PACKS)}/[a-z]{{1,20}}/[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,99}}/"
    rf"(?:{'|'.join(map(re.escape, sorted(PACK_MANIFESTS | PACK_LOCKS)))})"
)


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
    keys: tuple[str, ...] = ()
    """Names of the environment values that it holds."""


@record()
class Tree:
    """All files, sorted by path."""

    files: tuple[TreeFile, ...]
    namespace: str = "default"


@record()
class NewFile:
    """A file with its content."""

    path: str
    data: bytes


@record()
class ReadTree:
    """`rpc.registry.read-tree`: the content of all files that may be written and hold no environment values, in pages."""

    after: str = ""
    """The last path of the page before; empty for the first page."""


@record()
class TreePage:
    """Some files, sorted by path."""

    files: tuple[NewFile, ...]
    has_more: bool = False


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
    unready: tuple[FunctionRef, ...] | None = None
    """Those of them that wait for what they need, or cannot have it; None: not known, as an older registry has it."""
    problems: tuple[Problem, ...] = ()
    """What does not work as written in the folders of these files."""
