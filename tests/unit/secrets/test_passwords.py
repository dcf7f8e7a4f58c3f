"""Passwords and their hashes, in our form and in FastFN's."""

import hashlib

import pytest

from libs import passwords

SALT = "00ff10"


def test_hash_fits_its_password_and_no_other() -> None:
    kept = passwords.hashed("pässword")
    assert kept.startswith("$argon2id$")
    assert "pässword" not in kept
    assert passwords.matches("pässword", kept)
    assert not passwords.matches("password", kept)


def test_two_hashes_of_one_password_differ() -> None:
    assert passwords.hashed("x") != passwords.hashed("x")


@pytest.mark.parametrize(
    "kept",
    [
        f"pbkdf2-sha256:1000:{SALT}:{hashlib.pbkdf2_hmac('sha256', b'secret', SALT.encode(), 1000).hex()}",
        f"pbkdf2-sha256:1000:{SALT}:{hashlib.pbkdf2_hmac('sha256', b'secret', bytes.fromhex(SALT), 1000).hex()}",
        f"pbkdf2-sha256:1000:pepper:{hashlib.pbkdf2_hmac('sha256', b'secret', b'pepper', 1000).hex().upper()}",
        f"sha256:{hashlib.sha256(b'secret').hexdigest()}",
    ],
    ids=["salt as text", "salt in hex", "upper case", "legacy"],
)
def test_fastfns_hashes_are_understood(kept: str) -> None:
    passwords.require_form(kept)
    assert passwords.matches("secret", kept)
    assert not passwords.matches("Secret", kept)


@pytest.mark.parametrize(
    "kept", ["", "secret", "sha256:00", "pbkdf2-sha256:0:salt:" + "0" * 64, "pbkdf2-sha256:99999999:s:" + "0" * 64, "$2b$12$x"]
)
def test_what_is_no_hash_is_refused_without_being_repeated(kept: str) -> None:
    with pytest.raises(passwords.UnknownHashError) as caught:
        passwords.matches("secret", kept)
    assert not kept or kept not in str(caught.value)


def test_hash_that_was_cut_off_fits_nothing() -> None:
    assert not passwords.matches("secret", passwords.hashed("secret")[:-8])


def test_same_compares_texts_of_any_length() -> None:
    assert passwords.same("ä", "ä")
    assert not passwords.same("", "ä")
