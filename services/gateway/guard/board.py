"""What all gateways know of the control plane's users: who is logged in, and which switches are overridden.

It is two keys of a bucket that every gateway follows, so a login is good at each of them, a logout ends it at each, and neither
asks a database. A session's token is random and is kept only as a hash: who reads the bucket cannot log in with it.
"""

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from libs import errors
from libs.bus import port
from libs.clock import Clock
from libs.messages import codec, subjects
from libs.messages.console import Overrides, Session, Sessions
from services.gateway.guard.flags import Flags

log = logging.getLogger(__name__)

_SESSIONS = "sessions"
_OVERRIDES = "ui-state"
_MOST = 256
"""Logins at the same time; the oldest are ended first."""
_TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_RETRY_SECONDS = 0.5
_LOOK_SECONDS = 0.1
"""Who shows a session that is not known here has it looked up, but not more often than this."""
_TRIES = 8


class Board:
    """Sessions and overrides, as this gateway knows them."""

    def __init__(self, bus: port.Bus, *, clock: Clock, flags: Flags, secret: str = "") -> None:
        """Make it; `follow` keeps it up to date.

        Args:
            bus: where the bucket is.
            clock: tells when sessions end.
            flags: the switches as they are set.
            secret: mixed into the hashes of tokens.
        """
        self._bus = bus
        self._clock = clock
        self._set = flags
        self._secret = secret.encode()
        self._sessions: dict[str, Session] = {}
        self._looking = asyncio.Lock()
        self._looked = -_LOOK_SECONDS
        self.flags = flags
        """The switches as they are now."""

    async def follow(self) -> None:
        """Take over every change for ever."""
        told = False
        while True:
            try:
                bucket = await self._bus.bucket(subjects.CONSOLE_BUCKET)
                told = False
                async for entry in bucket.watch():
                    if entry is not None:
                        self._take(entry.key, entry.value)
            except errors.FnbusError as error:
                # A bus that does not let us have the bucket leaves a gateway without logins, and with everything else.
                if not told:
                    log.warning("sessions cannot be followed: %s", error, extra={"action": "sessions_lost"})
                told = True
            await asyncio.sleep(_RETRY_SECONDS)

    async def user(self, token: str) -> str:
        """Return whose session a token is; empty: nobody's, or one that has ended."""
        if not _TOKEN.fullmatch(token):
            return ""
        digest = self._digest(token)
        session = self._sessions.get(digest) or await self._look(digest)
        return session.user if session is not None and session.expires_at > self._clock.now() else ""

    async def begin(self, user: str, *, seconds: int) -> str:
        """Return the token of a new session of a user.

        Raises:
            errors.TemporaryError: it cannot be kept.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        now = self._clock.now()
        session = Session(digest=self._digest(token), user=user, created_at=now, expires_at=now + timedelta(seconds=seconds))
        await self._change_sessions(lambda known: (*known, session)[-_MOST:])
        return token

    async def end(self, token: str) -> None:
        """End a session; one that there is not is no error.

        Raises:
            errors.TemporaryError: the others cannot be told.
        """
        digest = self._digest(token)
        if await self.user(token):
            await self._change_sessions(lambda known: tuple(each for each in known if each.digest != digest))

    async def override(self, flags: dict[str, bool]) -> None:
        """Override some of the switches, at all gateways.

        Raises:
            errors.TemporaryError: the others cannot be told.
        """
        await self._change(_OVERRIDES, Overrides, lambda known: Overrides(flags=known.flags | flags))

    async def reset(self) -> None:
        """Have all switches as they are set.

        Raises:
            errors.TemporaryError: the others cannot be told.
        """
        await self._change(_OVERRIDES, Overrides, lambda _: Overrides())

    async def _change_sessions(self, change: Callable[[tuple[Session, ...]], tuple[Session, ...]]) -> None:
        """Change the sessions; those that have ended go."""

        def changed(known: Sessions) -> Sessions:
            now = self._clock.now()
            return Sessions(sessions=change(tuple(each for each in known.sessions if each.expires_at > now)))

        await self._change(_SESSIONS, Sessions, changed)

    async def _change[T: (Sessions, Overrides)](self, key: str, kind: type[T], change: Callable[[T], T]) -> None:
        """Replace a key's record, whoever else does so at the same time."""
        bucket = await self._bus.bucket(subjects.CONSOLE_BUCKET)
        for _ in range(_TRIES):
            entry = await bucket.get(key)
            known = _read(kind, entry.value if entry else None)
            value = codec.encode(change(known))
            try:
                await bucket.update(key, value, revision=entry.revision if entry else 0)
            except port.KeyConflictError:
                continue
            self._take(key, value)
            return
        raise errors.UnavailableError("too many change sessions or switches at the same time")

    async def _look(self, digest: str) -> Session | None:
        """Look a session up that another gateway may have begun a moment ago."""
        async with self._looking:
            if digest not in self._sessions and self._clock.monotonic() >= self._looked + _LOOK_SECONDS:
                self._looked = self._clock.monotonic()
                try:
                    entry = await (await self._bus.bucket(subjects.CONSOLE_BUCKET)).get(_SESSIONS)
                except errors.FnbusError:
                    return None
                self._take(_SESSIONS, entry.value if entry else None)
            return self._sessions.get(digest)

    def _take(self, key: str, value: bytes | None) -> None:
        if key == _SESSIONS:
            self._sessions = {each.digest: each for each in _read(Sessions, value).sessions}
        elif key == _OVERRIDES:
            self.flags = self._set.overridden(_read(Overrides, value).flags)

    def _digest(self, token: str) -> str:
        if self._secret:
            return hmac.digest(self._secret, token.encode(), "sha256").hex()
        return hashlib.sha256(token.encode()).hexdigest()


def _read[T: (Sessions, Overrides)](kind: type[T], value: bytes | None) -> T:
    """Return the record of a key; an empty one when there is none, or none that can be read."""
    empty: Any = kind()
    if value is None:
        return empty
    try:
        return codec.decode(kind, value)
    except codec.MalformedMessageError as error:
        log.warning("a record of the console cannot be read: %s", error, extra={"action": "console_malformed"})
        return empty
