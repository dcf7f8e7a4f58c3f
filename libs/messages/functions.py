"""What gateways ask the registry about functions, and what they have it change (`rpc.registry.*`).

What a function is told to be is JSON as the API's users write it: the registry reads it with the rules by which it reads files.
"""

from datetime import datetime
from enum import StrEnum

from libs.messages.audit import Actor
from libs.messages.catalog import FunctionEntry
from libs.messages.codec import record

MAX_CODE_BYTES = 2 * 1024 * 1024
"""Size of a handler that is written by the API."""
MAX_CONTENT_BYTES = 1024 * 1024
"""Size of another file that is."""


@record()
class FunctionRef:
    """A version of a function, by its names."""

    namespace: str = "default"
    runtime: str
    name: str
    version: str = "default"
    """Label."""


@record()
class GetFunction:
    """`rpc.registry.function`: everything about a version."""

    target: FunctionRef
    code: bool = True
    """Whether the handler's text is wanted."""


@record()
class EnvEntry:
    """One environment value."""

    name: str
    value: str = ""
    """Empty for one that is secret."""
    is_secret: bool = False


@record()
class SourceFile:
    """A file of a function."""

    path: str
    """Relative to the function's folder."""
    size: int
    kind: str
    """`handler`, `config`, `env`, `deps`, `lock` or `file`."""


@record()
class FunctionDetail:
    """A version of a function, with what its files say."""

    entry: FunctionEntry
    """The function as it is stored; it has the version."""
    version: str
    function_dir: str
    """Folder of its files: a path of the registry's machine, or one below the functions that the store holds."""
    file_path: str
    """The handler's file, likewise."""
    config_path: str
    """Its own config's place, whether it has one or not."""
    config: bytes = b"{}"
    """Its own config, a JSON object."""
    env: tuple[EnvEntry, ...] = ()
    has_env: bool = False
    """Whether there is a file of environment values."""
    code: str = ""
    """Text of the handler's file; empty when it was not asked for."""
    code_truncated: bool = False
    manifest: str = ""
    """Text of what names its dependencies; empty without."""
    files: tuple[SourceFile, ...] = ()
    packs_root: str = ""
    """Where shared packs of its runtime lie."""
    missing_packs: tuple[str, ...] = ()
    """Packs that it shares and that are not there."""


class ChangeKind(StrEnum):
    """What is changed of a function."""

    CREATE = "create"
    DELETE = "delete"
    CONFIG = "config"
    ENV = "env"
    CODE = "code"
    PUT_FILE = "put-file"
    DELETE_FILE = "delete-file"


@record()
class ChangeFunction:
    """`rpc.registry.change`: change a function's files and deploy what they are then."""

    target: FunctionRef
    kind: ChangeKind
    body: bytes = b""
    """A JSON object for `create`, `config` and `env`; the file for `code` and `put-file`."""
    path: str = ""
    """The file, relative to the function's folder, for `put-file` and `delete-file`."""
    expected: int = 0
    """Revision that the function has to have; 0: any."""
    actor: Actor = Actor()
    """Who changes it."""


@record()
class Changed:
    """What came of a change."""

    revision: int
    """The function's revision now; 0: it is gone."""
    outdated: bool = False
    """Nothing was changed, since the function has this revision and not the one that was expected."""
    detail: FunctionDetail | None = None


@record()
class GetFile:
    """`rpc.registry.file`: one file of a function."""

    target: FunctionRef
    path: str
    """Relative to the function's folder."""


@record()
class FileContent:
    """A file."""

    path: str
    data: bytes
    truncated: bool = False


@record()
class Reload:
    """`rpc.registry.reload`: look at everything anew."""


@record()
class Reloaded:
    """Everything has been looked at."""

    at: datetime
    generated_at: datetime | None = None
    """When the catalogue last changed."""
    functions_root: str = ""


@record()
class ListPacks:
    """`rpc.registry.packs`: the dependency packs that functions may share."""


@record()
class Pack:
    """Dependencies under a name."""

    runtime: str
    name: str
    dir: str
    """Its folder's path, as `function_dir`."""
    manifest: str = ""
    """Path of what names its dependencies; empty without."""
    lock: str = ""
    """Path of its lock file; empty without."""


@record()
class Packs:
    """All packs."""

    packs_root: str
    packs: tuple[Pack, ...] = ()
