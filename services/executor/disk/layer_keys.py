"""Which layer a version needs: a key made from all that decides what a build leaves behind.

Runtime, platform, tool, command and the inputs' bytes: two versions with the same requirements share a layer.
"""

import hashlib
import platform as machine
import sys
from pathlib import Path

from libs import errors
from services.executor.disk.bundles import is_safe
from services.executor.runtimes.base import BuildPlan


def this_platform() -> str:
    """Return what builds made here run on: `linux-x86_64-glibc`."""
    libc = machine.libc_ver()[0] or "musl"
    return f"{sys.platform}-{machine.machine()}-{libc}"


def layer_key(plan: BuildPlan, code: Path, *, runtime: str, platform: str) -> str:
    """Return the key of what a plan makes of this code: the same for all code whose inputs are the same.

    Raises:
        errors.PermanentError: an input lies outside of the code, or is not there.
    """
    digest = hashlib.sha256()

    def add(*words: str | bytes) -> None:
        for word in words:
            data = word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word
            digest.update(len(data).to_bytes(8, "big") + data)

    add("layer 1", runtime, platform, plan.tool, plan.output, plan.mount, str(len(plan.argv)), *plan.argv)
    for name, value in plan.env:
        add("env", name, value)
    for path, data in sorted(plan.files):
        add("file", path, data)
    for path in sorted(plan.inputs):
        if not is_safe(path):
            raise errors.PermanentError(f"{path} leads out of the function's code")
        try:
            with (code / path).open("rb") as content:
                add("input", path, hashlib.file_digest(content, "sha256").digest())
        except OSError as error:
            raise errors.PermanentError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
