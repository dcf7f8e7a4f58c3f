"""What a login gives is compared a few at a time, off the event loop."""

import asyncio
import threading

import pytest

from libs import errors, passwords
from services.gateway.guard.credentials import Credentials, Verifier


def test_name_and_password_have_to_be_right_both() -> None:
    plain = Credentials(username="ada", password="right")
    assert plain.complete
    assert plain.fit("ada", "right")
    assert not plain.fit("ada", "wrong")
    assert not plain.fit("eve", "right")
    assert not Credentials(username="ada").complete
    assert not Credentials(username="", password="right").complete


def test_hash_counts_instead_of_the_password() -> None:
    both = Credentials(username="ada", password="plain", hash=passwords.hashed("hashed"))
    assert both.fit("ada", "hashed")
    assert not both.fit("ada", "plain")


def test_credentials_show_no_secret_in_their_text() -> None:
    assert "s3cret" not in repr(Credentials(username="ada", password="s3cret", hash="s3cret"))


async def test_logins_beyond_those_that_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(_one: str, _other: str) -> bool:
        return go_on.wait(120)

    monkeypatch.setattr(passwords, "same", slow)
    verifier = Verifier(Credentials(username="ada", password="right"))
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(verifier.fits("ada", "right")) for _ in range(2 + 16)]
        for _ in range(20):  # each of them gets as far as it can
            await asyncio.sleep(0)
        try:
            with pytest.raises(errors.UnavailableError, match="too many log in"):
                await verifier.fits("ada", "right")
        finally:
            go_on.set()
    assert [task.result() for task in waiting] == [True] * 18
