"""Who may log in: a name, and a password or the hash of one. Comparing them is kept off the event loop, and bounded."""

from dataclasses import dataclass, field
from pathlib import Path

import anyio
from pydantic import SecretStr

from libs import errors, passwords
from services.gateway.settings import GatewaySettings

_AT_ONCE = 2
"""A comparison takes a processor for a tenth of a second, and 64 MiB."""
_WAITING = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a login has to give."""

    username: str
    password: str = field(default="", repr=False)
    hash: str = field(default="", repr=False)
    """When there is one, it counts instead of the password."""

    @property
    def complete(self) -> bool:
        """Whether anybody can log in with them."""
        return bool(self.username and (self.password or self.hash))

    def fit(self, username: str, password: str) -> bool:
        """Return whether a name and a password are right. It takes as long for a wrong name as for a wrong password."""
        named = passwords.same(username, self.username)
        fits = passwords.matches(password, self.hash) if self.hash else passwords.same(password, self.password)
        return named and fits


def credentials_of(settings: GatewaySettings) -> Credentials:
    """Return who may log in, by the settings.

    Raises:
        errors.PermanentError: a file cannot be read, or a hash is none.
    """
    kept = text_of(settings.console_login_password_hash, settings.console_login_password_hash_file, "LOGIN_PASSWORD_HASH")
    if kept:
        try:
            passwords.require_form(kept)
        except passwords.UnknownHashError as error:
            raise errors.PermanentError(f"setting FNBUS_CONSOLE_LOGIN_PASSWORD_HASH: {error}") from None
    return Credentials(
        username=settings.console_login_username,
        password=text_of(settings.console_login_password, settings.console_login_password_file, "LOGIN_PASSWORD"),
        hash=kept,
    )


def text_of(given: SecretStr, file: Path | None, name: str) -> str:
    """Return a secret that is set as such, or by the file that holds it.

    Raises:
        errors.PermanentError: the file cannot be read.
    """
    if given.get_secret_value() or file is None:
        return given.get_secret_value()
    try:
        return file.read_text().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text"
        raise errors.PermanentError(f"setting FNBUS_CONSOLE_{name}_FILE: {file}: {said}") from None


class Verifier:
    """Compares what logins give, a few at a time."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)

    @property
    def complete(self) -> bool:
        """Whether anybody can log in."""
        return self._credentials.complete

    async def fits(self, username: str, password: str) -> bool:
        """Return whether a name and a password are right.

        Raises:
            errors.UnavailableError: too many wait already.
        """
        if self._limiter.statistics().tasks_waiting >= _WAITING:
            raise errors.UnavailableError("too many log in at the same time")
        return await anyio.to_thread.run_sync(self._credentials.fit, username, password, limiter=self._limiter)
