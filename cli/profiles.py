"""The profiles file: gateways by name, each with its URL and what opens it. Nobody but its owner may read it."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from cli.errors import CommandError

_OTHERS = 0o077


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A gateway that is known by a name."""

    name: str
    url: str
    token: str = field(default="", repr=False)
    """Its admin token."""
    session: str = field(default="", repr=False)
    """Cookie of a login, as `name=value`."""

    def opened_by(self) -> str:
        """Return what opens it, in a word."""
        return "token" if self.token else "login" if self.session else "-"


@dataclass(frozen=True, kw_only=True)
class Book:
    """All profiles."""

    current: str = ""
    """The one in use; empty: none."""
    profiles: Mapping[str, Profile] = field(default_factory=dict[str, Profile])

    def find(self, name: str) -> Profile:
        """Return a profile.

        Raises:
            CommandError: there is none of that name.
        """
        known = self.profiles.get(name)
        if known is None:
            near = get_close_matches(name, self.profiles, n=1)
            hint = f"did you mean {near[0]}?" if near else f"make it with `fnbus profile add {name} --url …`"
            raise CommandError(f"there is no profile {name}: {hint}")
        return known

    def with_profile(self, profile: Profile) -> "Book":
        """Return a book with this profile in place of the one of its name."""
        return replace(self, profiles={**self.profiles, profile.name: profile})

    def without(self, name: str) -> "Book":
        """Return a book without a profile; when it was in use, none is."""
        self.find(name)
        rest = {each: profile for each, profile in self.profiles.items() if each != name}
        return Book(current="" if self.current == name else self.current, profiles=rest)


def path(environment: Mapping[str, str]) -> Path:
    """Return where the file is: `FNBUS_CONFIG`, else in the folder for configuration of the desktop's standard (XDG)."""
    if environment.get("FNBUS_CONFIG"):
        return Path(environment["FNBUS_CONFIG"])
    # A relative folder has no meaning there, says the standard.
    told = Path(environment.get("XDG_CONFIG_HOME", ""))
    home = Path(environment.get("HOME") or Path.home())
    return (told if told.is_absolute() else home / ".config") / "fnbus" / "config.toml"


def load(file: Path) -> Book:
    """Read the file; one that is not there is empty.

    Raises:
        CommandError: it cannot be read or understood.
    """
    try:
        found = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return Book()
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} is not TOML: {error}") from None
    entries: object = found.get("profiles", {})
    profiles = cast("dict[str, Any]", entries) if isinstance(entries, dict) else {}
    return Book(
        current=str(found.get("current", "")), profiles={name: _profile(file, name, entry) for name, entry in profiles.items()}
    )


def save(file: Path, book: Book) -> None:
    """Write the file, whole or not at all.

    Raises:
        CommandError: it cannot be written.
    """
    lines = [f"current = {_text(book.current)}"] if book.current else []
    for name, profile in sorted(book.profiles.items()):
        lines += ["", f"[profiles.{_text(name)}]", f"url = {_text(profile.url)}"]
        lines += [f"{key} = {_text(value)}" for key in ("token", "session") if (value := getattr(profile, key))]
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write("\n".join(lines).strip() + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}") from None


def is_open_to_others(file: Path) -> bool:
    """Return whether other users of this machine may read the file."""
    try:
        return bool(file.stat().st_mode & _OTHERS)
    except OSError:
        return False


def _profile(file: Path, name: str, entry: object) -> Profile:
    told = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
    if not isinstance(told.get("url"), str):
        raise CommandError(f"{file}: the profile {name} has no url")
    return Profile(name=name, url=told["url"], token=str(told.get("token", "")), session=str(told.get("session", "")))


def _text(value: str) -> str:
    """Return a string as TOML, which takes all that JSON's strings may hold, but for one character."""
    return json.dumps(value).replace("\x7f", "\\u007f")
