"""`fnbus profile …`, `login` and `logout`: which gateways are known, and what opens them."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import typer

from cli import output, profiles
from cli.client import GatewayClient
from cli.errors import CommandError
from cli.output import Column, field
from cli.profiles import Profile
from cli.target import Address

_COLUMNS: Sequence[Column] = (
    ("", lambda row: "*" if row["current"] else ""),
    ("name", field("name")),
    ("url", field("url")),
    ("opened by", field("opened_by")),
)


def add(name: str, *, url: str, token_stdin: bool, use: bool) -> int:
    """Keep a gateway by name; what opened another URL is forgotten."""
    GatewayClient(Address(url=url)).close()  # refuses what is no URL
    file = _file()
    book = profiles.load(file)
    known = book.profiles.get(name)
    profile = known if known is not None and known.url == url else Profile(name=name, url=url)
    if token_stdin:
        profile = replace(profile, token=secret_from_stdin("--token-stdin"))
    book = book.with_profile(profile)
    if use:
        book = replace(book, current=name)
    profiles.save(file, book)
    hint = "" if book.current == name else f"; use it with `fnbus profile use {name}`, or once with --profile {name}"
    output.remark(f"{name} is {url}{hint}", fg="green")
    return 0


def use(name: str) -> int:
    """Use a profile from now on; `-`: none."""
    file = _file()
    book = profiles.load(file)
    if name == "-":
        profiles.save(file, replace(book, current=""))
        output.remark("no profile is in use: commands go to what runs on this machine", fg="green")
        return 0
    profile = book.find(name)
    profiles.save(file, replace(book, current=name))
    output.remark(f"commands go to {name} ({profile.url}) from now on", fg="green")
    return 0


def show(*, json: bool) -> int:
    """List the profiles."""
    file = _file()
    book = profiles.load(file)
    rows = [
        {"name": name, "url": known.url, "current": name == book.current, "opened_by": known.opened_by()}
        for name, known in sorted(book.profiles.items())
    ]
    if json:
        output.as_json({"file": str(file), "profiles": rows})
    else:
        output.table(_COLUMNS, rows, empty="there are no profiles: make one with `fnbus profile add NAME --url URL`")
    if profiles.is_open_to_others(file):
        output.remark(f"others on this machine can read {file}: mend it with `fnbus doctor --fix`", fg="yellow")
    return 0


def remove(name: str) -> int:
    """Forget a profile."""
    file = _file()
    profiles.save(file, profiles.load(file).without(name))
    output.remark(f"{name} is gone", fg="green")
    return 0


def login(at: Address, *, username: str, password_stdin: bool) -> int:
    """Log in and keep the session."""
    if not username:
        username = _ask("user name")
    password = secret_from_stdin("--password-stdin") if password_stdin else _ask("password", hidden=True)
    with GatewayClient(at) as gateway:
        session = gateway.login(username, password)
    file = _file()
    book = profiles.load(file)
    name = at.profile or _named_by(at, book)
    known = book.profiles.get(name) or Profile(name=name, url=at.url)
    profiles.save(file, book.with_profile(replace(known, session=session)))
    output.remark(f"logged in to {name} ({at.url}) as {username}", fg="green")
    if not at.profile and book.current != name:
        output.remark(f"use it with `fnbus profile use {name}`, or once with --profile {name}")
    return 0


def logout(at: Address) -> int:
    """End the session and forget it."""
    file = _file()
    book = profiles.load(file)
    name = at.profile or _named_by(at, book)
    known = book.find(name)
    try:
        with GatewayClient(replace(at, session=known.session)) as gateway:
            gateway.ask("POST", "/_fn/logout")
    finally:
        profiles.save(file, book.with_profile(replace(known, session="")))
    output.remark(f"logged out of {name}", fg="green")
    return 0


def secret_from_stdin(option: str) -> str:
    """Return what stands on standard input, without the end of its line.

    Raises:
        CommandError: nothing does.
    """
    text = sys.stdin.read().rstrip("\r\n")
    if not text:
        raise CommandError(f"{option}: there is nothing on standard input")
    return text


def _ask(what: str, *, hidden: bool = False) -> str:
    if not sys.stdin.isatty():
        raise CommandError(f"no {what}: give it with --username and --password-stdin where there is no terminal")
    return str(typer.prompt(what, hide_input=hidden, err=True))


def _named_by(at: Address, book: profiles.Book) -> str:
    """Return the profile of a URL: one that has it, else a new one named by its host."""
    same = [name for name, known in book.profiles.items() if known.url.rstrip("/") == at.url.rstrip("/")]
    return same[0] if same else urlsplit(at.url).hostname or at.url


def _file() -> Path:
    return profiles.path(os.environ)
