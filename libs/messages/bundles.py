"""Digests of code: what makes a bundle and a version the same wherever they are computed."""

import hashlib
from collections.abc import Iterable

from libs.messages import codec
from libs.messages.catalog import Bundle, Limits, Permissions

_LIMITS, _PERMISSIONS = Limits(), Permissions()


def bundle_digest(bundle: Bundle) -> str:
    """Return the sha-256 (hex) of a bundle's files, whatever their order."""
    return digest_files((file.path, file.executable, hashlib.sha256(file.data).hexdigest()) for file in bundle.files)


def digest_files(files: Iterable[tuple[str, bool, str]]) -> str:
    """Return the digest of a bundle whose files are known by path, executable bit and sha-256 (hex) of their content."""
    digest = hashlib.sha256()
    for path, executable, content in sorted(files):
        digest.update(f"{path}\0{int(executable)}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def weight(bundles: Iterable[Bundle]) -> int:
    """Return how many bytes of code bundles hold."""
    return sum(len(file.data) for bundle in bundles for file in bundle.files)


def version_digest(
    *,
    bundle: str,
    runtime: str,
    entrypoint: str,
    handler: str,
    handler_style: str,
    env_sealed: bytes,
    limits: Limits = _LIMITS,
    permissions: Permissions = _PERMISSIONS,
    layer: str = "",
) -> str:
    """Return the sha-256 (hex) of everything that a worker of a version holds."""
    digest = hashlib.sha256()
    for part in (bundle, runtime, entrypoint, handler, handler_style):
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    digest.update(env_sealed)
    # What is as usual adds nothing, so that digests outlive new fields.
    if limits != _LIMITS or permissions != _PERMISSIONS or layer:
        digest.update(b"\0" + codec.encode(limits) + codec.encode(permissions) + layer.encode())
    return digest.hexdigest()
