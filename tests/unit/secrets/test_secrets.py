"""Sealing and opening: what opens, what does not, and what is never shown."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.secrets import KeyRing, TamperedError, UnknownKeyError

# Fixed, not generated: keys are part of test names, which must be the same in every test process.
OLD = "old:" + base64.b64encode(bytes(range(32))).decode()
NEW = "new:" + base64.b64encode(bytes(range(32, 64))).decode()
CONTEXT = "env:default/python/hello@default"


@given(plaintext=st.binary(max_size=200), context=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_sealed_value_opens_with_its_context(plaintext: bytes, context: str) -> None:
    ring = KeyRing.parse(OLD)
    assert ring.open(ring.seal(plaintext, context=context), context=context) == plaintext


def test_sealed_value_holds_neither_plaintext_nor_key_and_differs_each_time() -> None:
    ring = KeyRing.parse(OLD)
    sealed = ring.seal(b"a secret value", context=CONTEXT)
    assert b"secret" not in sealed
    assert sealed[0] == 1
    assert b"old" in sealed
    assert ring.seal(b"a secret value", context=CONTEXT) != sealed


def test_rotated_ring_opens_what_the_old_key_sealed_and_seals_with_the_new_one() -> None:
    before = KeyRing.parse(OLD)
    rotated = KeyRing.parse(f"{NEW}, {OLD}")
    sealed = before.seal(b"x", context=CONTEXT)
    assert rotated.open(sealed, context=CONTEXT) == b"x"
    assert not rotated.is_current(sealed)
    anew = rotated.seal(b"x", context=CONTEXT)
    assert rotated.is_current(anew)
    with pytest.raises(UnknownKeyError, match="'new'") as caught:
        before.open(anew, context=CONTEXT)
    assert caught.value.key_id == "new"


def test_ring_refuses_another_context() -> None:
    ring = KeyRing.parse(OLD)
    sealed = ring.seal(b"x", context=CONTEXT)
    with pytest.raises(TamperedError):
        ring.open(sealed, context="env:default/python/other@default")


def test_ring_refuses_another_key_of_the_same_id() -> None:
    sealed = KeyRing.parse(OLD).seal(b"x", context=CONTEXT)
    with pytest.raises(TamperedError):
        KeyRing.parse(KeyRing.generate("old")).open(sealed, context=CONTEXT)


def test_ring_refuses_every_single_changed_byte_and_every_cut() -> None:
    ring = KeyRing.parse(OLD)
    sealed = ring.seal(b"value", context=CONTEXT)
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises((TamperedError, UnknownKeyError)):
            ring.open(bytes(changed), context=CONTEXT)
        with pytest.raises(TamperedError):
            ring.open(sealed[:at], context=CONTEXT)
    with pytest.raises(TamperedError):
        ring.open(sealed + b"\x00", context=CONTEXT)


@given(st.binary(max_size=80))
def test_ring_answers_any_bytes_with_a_typed_error(noise: bytes) -> None:
    with pytest.raises((TamperedError, UnknownKeyError)):
        KeyRing.parse(OLD).open(noise, context=CONTEXT)


SHORT = base64.b64encode(b"sixteen byte key").decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "entry 1 .* not of the form id:base64"),
        ("QUJDREVGR0hJSktMTU5PUFFSU1RVVldY", "entry 1 .* not of the form"),
        (f"{OLD},", "entry 2 .* not of the form"),
        ("a b:QUJD", "entry 1 .* not of the form"),
        ("k1:not*base64", "key 'k1' is not valid base64"),
        (f"k1:{SHORT}", "key 'k1' has 16 bytes instead of 32"),
        (f"{OLD},{OLD}", "key 'old' is in the key ring twice"),
    ],
)
def test_parse_says_what_is_wrong_without_showing_the_key(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        KeyRing.parse(text)
    assert caught.value.__cause__ is None
    for encoded in ("QUJD", "not*base64", SHORT, OLD.partition(":")[2]):
        assert encoded not in str(caught.value)


def test_ring_shows_ids_only() -> None:
    assert repr(KeyRing.parse(f"{NEW},{OLD}")) == "KeyRing(new, old)"
