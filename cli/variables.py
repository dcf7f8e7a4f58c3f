"""`fnbus env …` and `fnbus secret …`: values that functions get, set without showing them where they are secret."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from cli import output
from cli.client import Address, GatewayClient
from cli.errors import CommandError
from cli.functions import Named
from cli.output import Column, field, moment
from cli.progress import bar

_ENV: Sequence[Column] = (
    ("key", field("key")),
    ("value", field("value")),
    ("secret", lambda row: "secret" if row["is_secret"] else ""),
)
_SECRETS: Sequence[Column] = (
    ("key", field("key")),
    ("created", lambda row: _moment(row, "created")),
    ("updated", lambda row: _moment(row, "updated")),
)


def env_list(wanted: Named, *, at: Address, json: bool) -> int:
    """List a function's environment values; those that are secret are not shown by any gateway."""
    with GatewayClient(at) as gateway:
        told = gateway.ask("GET", "/_fn/function-env", query=wanted.query(gateway))
    found: Mapping[str, Mapping[str, Any]] = told.get("fn_env") or {}
    if json:
        output.as_json({"env": found})
    else:
        rows = [{"key": key, **entry} for key, entry in sorted(found.items())]
        output.table(_ENV, rows, empty=f"{wanted.name} has no environment values")
    return 0


def env_set(wanted: Named, given: Sequence[str], *, secret: bool, at: Address) -> int:
    """Set values of a function; one that is given as a key alone is asked for, or read from standard input."""
    update: dict[str, Any] = {}
    for text in given:
        key, separator, value = text.partition("=")
        _check_key(key)
        hidden = secret or not separator
        told = value if separator else value_of(key, option="KEY=VALUE")
        update[key] = {"value": told, "is_secret": True} if hidden else told
    return _change(wanted, update, f"set {', '.join(update)}", at=at)


def env_rm(wanted: Named, keys: Sequence[str], *, at: Address) -> int:
    """Remove values of a function."""
    for key in keys:
        _check_key(key)
    return _change(wanted, dict.fromkeys(keys), f"removed {', '.join(keys)}", at=at)


def secret_list(*, at: Address, json: bool) -> int:
    """List the secrets by their keys; nobody is ever shown a value."""
    with GatewayClient(at) as gateway:
        found = gateway.ask_all("GET", "/_fn/secrets")
    if json:
        output.as_json({"secrets": found})
    else:
        output.table(_SECRETS, found, empty="there are no secrets")
    return 0


def secret_set(key: str, *, at: Address) -> int:
    """Set a secret; its value is asked for, or read from standard input."""
    value = value_of(key, option="a pipe")
    with GatewayClient(at) as gateway:
        gateway.ask("POST", "/_fn/secrets", body={"key": key, "value": value})
    output.remark(f"set {key}", fg="green")
    return 0


def secret_rm(keys: Sequence[str], *, at: Address) -> int:
    """Remove secrets."""
    with GatewayClient(at) as gateway:
        for key in keys:
            gateway.ask("DELETE", "/_fn/secrets", query={"key": key})
    output.remark(f"removed {', '.join(keys)}", fg="green")
    return 0


def secret_rotate(*, at: Address, json: bool) -> int:
    """Have everything sealed anew with the first key of the ring; return 1 when something stays under another one."""
    after, looked, resealed = "", 0, 0
    failed: list[str] = []
    with GatewayClient(at) as gateway:
        first = done = gateway.ask("POST", "/_fn/secrets/rotate")
        with bar("sealing anew", total=int(first["total"])) as advance:
            while True:
                looked += done["looked"]
                resealed += done["resealed"]
                failed += done["failed"]
                advance(done["looked"])
                last, after = after, done.get("after") or ""
                if not after:
                    break
                if after == last:
                    raise CommandError(f"the gateway does not get past {after}")
                done = gateway.ask("POST", "/_fn/secrets/rotate", query={"after": after})
    if json:
        output.as_json({"key": done["key"], "looked": looked, "resealed": resealed, "failed": failed})
    else:
        output.line(f"{resealed} of {looked} were sealed anew with the key {done['key']}")
        for each in failed:
            output.remark(f"still under another key: {each}", fg="red")
    return 1 if failed else 0


def value_of(key: str, *, option: str) -> str:
    """Return a value that does not stand on the command line: typed without being shown, or from standard input.

    Raises:
        CommandError: there is none.
    """
    if sys.stdin.isatty():
        return str(typer.prompt(f"value of {key}", hide_input=True, err=True))
    value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        raise CommandError(f"{key}: there is no value on standard input; give it there, or as {option}")
    return value


def _change(wanted: Named, update: Mapping[str, Any], done: str, *, at: Address) -> int:
    with GatewayClient(at) as gateway:
        named = wanted.query(gateway)
        gateway.ask("PUT", "/_fn/function-env", query=named, body=update)
    output.remark(f"{named['name']}: {done}", fg="green")
    return 0


def _check_key(key: str) -> None:
    if not key or not key.replace("_", "a").isalnum() or key[0].isdigit():
        raise CommandError(f"{key!r}: a key is made of letters, digits and _, as in API_URL=https://example.com")


def _moment(row: Mapping[str, Any], name: str) -> str:
    """Return a time as local time; gateways tell it in milliseconds or seconds, or as text."""
    value = row.get(name)
    if isinstance(value, str):
        return value
    is_ms = isinstance(value, int | float) and value > 1e11
    return moment("at_ms" if is_ms else "at")({"at_ms": value, "at": value})
