"""Builds: what the registry asks executors to make for a version, and what was made as it lies in the layer store.

A build takes minutes, and the executor that runs it may die meanwhile. So an ask is answered within seconds, at worst with
`state="pending"` and the executor's id; whoever asked goes on asking that executor alone, and anybody once it has gone.
"""

from libs.messages import subjects
from libs.messages.catalog import Resolution
from libs.messages.codec import record

BUILD_OPERATION = "build"


@record()
class BuildRequest:
    """`rpc.executor.build`: make what a version needs before it can run."""

    namespace: str
    runtime: str
    function: str
    version: str
    """Label; like namespace and function for people and logs only."""
    bundle: str
    """Digest of the code, which is in the bundle store already."""
    entrypoint: str


@record()
class BuildReply:
    """How a build stands."""

    executor: str
    """Who runs it, or has run it."""
    resolution: Resolution
    """`none`, `pending`, `ok` or `error`."""
    layer: str = ""
    """For `ok`: its key in the layer store."""
    layer_mount: str = ""
    """Where its files lie below the code's root."""


@record()
class LayerPart:
    """A piece of a layer's archive: an object of its own, so that nobody has to hold a large layer in memory."""

    digest: str
    """sha-256 (hex) of the piece."""
    size: int


@record()
class LayerManifest:
    """A layer as it lies in the object store under its key. It is written after its parts: where it is, they are."""

    key: str
    platform: str
    """What it runs on: `linux-x86_64-glibc`."""
    mount: str
    resolution: Resolution
    parts: tuple[LayerPart, ...]
    """Together they are a gzipped tar archive."""
    files: int
    size: int
    """Bytes of its files."""


def part_key(key: str, digest: str) -> str:
    """Return the key of a part of a layer: it has its content's digest, so that two who build at once do not mix."""
    return f"{key}/{digest}"


def layer_of(key: str) -> str:
    """Return the layer whose manifest or part has that key."""
    return key.partition("/")[0]


def build_subject(executor: str = "") -> str:
    """Return the subject of asks for builds: to any executor, or to the one that runs a build already."""
    operation = f"{BUILD_OPERATION}-{subjects.token(executor)}" if executor else BUILD_OPERATION
    return subjects.rpc("executor", operation)
