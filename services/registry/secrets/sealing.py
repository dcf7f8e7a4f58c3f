"""What is sealed in a function's entry, brought up to date: today's secrets, and today's key. Pure but for the sealer.

It is done to an entry as a whole, right before it is compared with the stored one, so it does not matter where a version
comes from: the folder, a rollback, an alias. What is up to date already comes out as it is.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from libs import errors
from libs.messages import bundles, contexts
from libs.messages.catalog import FunctionEntry, Problem, VersionEntry

log = logging.getLogger(__name__)


class Sealer(Protocol):
    """Keeps values from everybody who has no key."""

    @property
    def active(self) -> str:
        """Id of the key that seals; empty: there is none."""
        ...

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        """Return the plaintext sealed; it opens with the same context only. Two seals of one plaintext differ."""
        ...

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Return the plaintext.

        Raises:
            errors.FnbusError: the key is not known, or the sealed bytes are not what was sealed.
        """
        ...

    def is_current(self, sealed: bytes) -> bool:
        """Return whether it was sealed with the key that seals now.

        Raises:
            errors.FnbusError: it is no sealed value.
        """
        ...


def renewed(entry: FunctionEntry, *, secrets: Mapping[str, bytes], sealer: Sealer) -> FunctionEntry:
    """Return the entry with the secrets as they are now, and all that is sealed under the key that seals now.

    Args:
        entry: a function.
        secrets: all of its namespace, sealed, by name.
        sealer: knows the keys.
    """

    def now(version: VersionEntry) -> VersionEntry:
        return _version(entry, version, secrets=secrets, sealer=sealer)

    return replace(
        entry,
        versions=tuple(map(now, entry.versions)),
        kept=tuple(map(now, entry.kept)),
        pins=tuple(replace(pin, held=now(pin.held)) for pin in entry.pins),
    )


def unmet(entries: Iterable[FunctionEntry]) -> list[Problem]:
    """Return which functions ask for a secret that there is not."""
    return [
        Problem(path=entry.name, message=f"asks for the secret {name}, which is not set")
        for entry in entries
        for name in dict.fromkeys(
            name for version in entry.versions for name in version.secret_names if name not in version.secrets
        )
    ]


def resealed(sealed: bytes, *, context: str, sealer: Sealer) -> bytes:
    """Return a sealed value under the key that seals now; as it is when it is so already, or cannot be opened."""
    try:
        if sealer.is_current(sealed):
            return sealed
        return sealer.seal(sealer.open(sealed, context=context), context=context)
    except errors.FnbusError as error:
        log.warning("what was sealed for %s stays as it is: %s", context, error, extra={"action": "reseal_failed"})
        return sealed


def _version(entry: FunctionEntry, version: VersionEntry, *, secrets: Mapping[str, bytes], sealer: Sealer) -> VersionEntry:
    wanted = {name: secrets[name] for name in sorted({*version.secret_names, *version.secret_env}) if name in secrets}
    env = version.env_sealed
    if env:
        env = resealed(env, context=contexts.of_version(entry, version), sealer=sealer)
    if not (wanted or version.secrets or version.secret_env) and env == version.env_sealed:
        return version
    now = replace(version, env_sealed=env, secrets=wanted)
    return replace(now, digest=_digest(entry.runtime, now))


def plain_digest(runtime: str, version: VersionEntry) -> str:
    """Return the digest of a version as it is without secrets."""
    return bundles.version_digest(
        bundle=version.bundle,
        runtime=runtime,
        entrypoint=version.entrypoint,
        handler=version.handler,
        handler_style=version.handler_style,
        env_sealed=version.env_sealed,
        limits=version.limits,
        permissions=version.permissions,
        layer=version.layer,
    )


def _digest(runtime: str, version: VersionEntry) -> str:
    """Return the digest of a version whose workers hold secrets, too."""
    base = plain_digest(runtime, version)
    if not version.secrets and not version.secret_env:
        return base
    digest = hashlib.sha256(base.encode())
    for name in version.secret_env:
        digest.update(f"\0{name}".encode())
    for name, sealed in version.secrets.items():
        digest.update(f"\0\0{name}\0".encode() + hashlib.sha256(sealed).digest())
    return digest.hexdigest()
