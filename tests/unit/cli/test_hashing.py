"""`fnbus hash-password`: what is piped in becomes a hash, and is not shown."""

import io
import sys

import pytest

from cli import hashing
from cli.errors import CommandError
from libs import passwords


def test_first_line_of_what_is_piped_in_is_hashed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("pass word \r\nsecond"))
    assert hashing.run() == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert passwords.matches("pass word ", printed.out.strip())


def test_nothing_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with pytest.raises(CommandError, match="no password"):
        hashing.run()
