"""Sealing of secret values with AES-256-GCM under a ring of keys.

The first key of the ring seals, every key of it opens: a key is rotated by putting a new one in front and dropping the old
one once nothing is sealed with it any more. A sealed value is

    version (1 byte, 1) | length of key id (1 byte) | key id (ASCII) | nonce (12 bytes) | ciphertext and tag

and is bound to the context it was sealed for: moved to another function it does not open. Where values are kept, and when
they are sealed anew, is for others to decide.
"""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs import errors

_VERSION = 1
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


class UnknownKeyError(errors.PermanentError, LookupError):
    """A value was sealed with a key that is not in the ring.

    Attributes:
        key_id: name of the missing key.
    """

    def __init__(self, key_id: str) -> None:
        super().__init__(f"sealed with key {key_id!r}, which is not in the key ring")
        self.key_id = key_id


class TamperedError(errors.PermanentError, ValueError):
    """A sealed value was changed, cut off, sealed for another context, or is none at all."""


class KeyRing:
    """Keys by id; the first seals, all open. Shows nothing of a key in any text.

    Attributes:
        active: id of the key that seals.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Take the keys, the sealing one first.

        Raises:
            ValueError: there is none, an id is not a plain word, or a key is not 32 bytes long.
        """
        if not keys:
            raise ValueError("a key ring needs at least one key")
        for key_id, key in keys.items():
            if not _KEY_ID.match(key_id):
                raise ValueError("a key's id is 1 to 64 letters, digits, '_', '.' or '-'")
            if len(key) != _KEY_BYTES:
                raise ValueError(f"key {key_id!r} has {len(key)} bytes instead of {_KEY_BYTES}")
        self.active = next(iter(keys))
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the ring that `id:base64,id:base64,…` stands for, the sealing key first.

        Raises:
            ValueError: the text is malformed; the message says where, and nothing of a key.
        """
        keys: dict[str, bytes] = {}
        for place, entry in enumerate((part.strip() for part in text.split(",")), start=1):
            key_id, separator, encoded = entry.partition(":")
            if not separator or not _KEY_ID.match(key_id):
                # What stands before a missing colon may be a key: it is not repeated.
                raise ValueError(f"entry {place} of the key ring is not of the form id:base64")
            if key_id in keys:
                raise ValueError(f"key {key_id!r} is in the key ring twice")
            keys[key_id] = _decode(key_id, encoded)
        return cls(keys)

    @staticmethod
    def generate(key_id: str = "k1") -> str:
        """Return a new ring of one random key in its text form."""
        return f"{key_id}:{base64.b64encode(os.urandom(_KEY_BYTES)).decode()}"

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        """Return the plaintext sealed with the active key, to be opened with the same context only."""
        nonce = os.urandom(_NONCE_BYTES)
        header = bytes((_VERSION, len(self.active))) + self.active.encode("ascii")
        return header + nonce + self._ciphers[self.active].encrypt(nonce, plaintext, _bound(header, context))

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Return the plaintext of what `seal` made for the same context.

        Raises:
            UnknownKeyError: it was sealed with a key that the ring does not have.
            TamperedError: it is not what `seal` made, or was made for another context.
        """
        header, key_id = _split(sealed)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise UnknownKeyError(key_id)
        nonce = sealed[len(header) : len(header) + _NONCE_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[len(header) + _NONCE_BYTES :], _bound(header, context))
        except InvalidTag:
            raise TamperedError("the sealed value was changed or belongs to another context") from None

    def is_current(self, sealed: bytes) -> bool:
        """Return whether the value is sealed with the active key; when not, it is time to seal it anew.

        Raises:
            TamperedError: it is not a sealed value.
        """
        return _split(sealed)[1] == self.active

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._ciphers)})"


def _split(sealed: bytes) -> tuple[bytes, str]:
    """Return the header of a sealed value and the key id in it."""
    if len(sealed) < 2 or sealed[0] != _VERSION:
        raise TamperedError("not a sealed value of a known version")
    header = sealed[: 2 + sealed[1]]
    key_id = header[2:].decode("ascii", errors="replace")
    if len(sealed) < len(header) + _NONCE_BYTES + _TAG_BYTES or not _KEY_ID.match(key_id):
        raise TamperedError("the sealed value is cut off or malformed")
    return header, key_id


def _bound(header: bytes, context: str) -> bytes:
    """Return what the tag vouches for beside the plaintext: the header, whose length it states itself, and the context."""
    return header + context.encode()


def _decode(key_id: str, encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        # The cause would carry a part of the key into logs.
        raise ValueError(f"key {key_id!r} is not valid base64") from None
