"""Passwords: made into hashes, and compared with them.

New hashes are Argon2id in the usual text form (`$argon2id$…`). FastFN's own forms are understood, so that what is configured
goes on working: `pbkdf2-sha256:<iterations>:<salt>:<digest>` (digest in hex; salt as text, or in hex) and, without salt,
`sha256:<digest>`. Comparing costs memory and time on purpose: not for an event loop.
"""

import binascii
import hashlib
import hmac
import os
import re

from libs import errors

_SALT_BYTES = 16
_DIGEST_BYTES = 32
_ITERATIONS = 3
_LANES = 4
_MEMORY_KIB = 64 * 1024
_MOST_ITERATIONS = 10_000_000
_ARGON2 = "$argon2id$"
_PBKDF2 = re.compile(r"pbkdf2-sha256:([0-9]{1,8}):([^:]+):([0-9a-fA-F]{64})")
_SHA256 = re.compile(r"sha256:([0-9a-fA-F]{64})")


class UnknownHashError(errors.PermanentError, ValueError):
    """A text is no hash of a password in a form that is known."""

    def __init__(self) -> None:
        super().__init__("not a password's hash: $argon2id$…, pbkdf2-sha256:<iterations>:<salt>:<digest> or sha256:<digest>")


def hashed(password: str) -> str:
    """Return the hash of a password, with a salt of its own."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # most processes that import this never hash anything

    kdf = Argon2id(
        salt=os.urandom(_SALT_BYTES), length=_DIGEST_BYTES, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY_KIB
    )
    return kdf.derive_phc_encoded(password.encode())


def matches(password: str, kept: str) -> bool:
    """Return whether a hash is of that password.

    Raises:
        UnknownHashError: it is no hash.
    """
    if kept.startswith(_ARGON2):
        return _matches_argon2(password.encode(), kept)
    if found := _PBKDF2.fullmatch(kept):
        iterations, salt, digest = int(found[1]), found[2], bytes.fromhex(found[3])
        if 0 < iterations <= _MOST_ITERATIONS:
            return any(
                hmac.compare_digest(hashlib.pbkdf2_hmac("sha256", password.encode(), each, iterations), digest)
                for each in _salts(salt)
            )
    if found := _SHA256.fullmatch(kept):
        return hmac.compare_digest(hashlib.sha256(password.encode()).digest(), bytes.fromhex(found[1]))
    raise UnknownHashError


def same(one: str, other: str) -> bool:
    """Return whether two texts are the same, in a time that tells nothing about where they differ."""
    return hmac.compare_digest(hashlib.sha256(one.encode()).digest(), hashlib.sha256(other.encode()).digest())


def require_form(kept: str) -> None:
    """Check that a text looks like a hash.

    Raises:
        UnknownHashError: it does not.
    """
    if not (kept.startswith(_ARGON2) or _PBKDF2.fullmatch(kept) or _SHA256.fullmatch(kept)):
        raise UnknownHashError


def _matches_argon2(password: bytes, kept: str) -> bool:
    from cryptography.exceptions import InvalidKey
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        Argon2id.verify_phc_encoded(password, kept)
    except InvalidKey:
        return False
    return True


def _salts(text: str) -> list[bytes]:
    """Return what a salt may stand for."""
    try:
        return [text.encode(), bytes.fromhex(text)]
    except (ValueError, binascii.Error):
        return [text.encode()]
