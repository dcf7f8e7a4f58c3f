"""What a person types about a request, made into one: `k=v`, `Name: value`, `@file`, and a function's name into its route."""

import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cli.errors import CommandError


def pairs(given: Sequence[str], *, separator: str, option: str) -> list[tuple[str, str]]:
    """Split each of `given` at its first separator.

    Raises:
        CommandError: there is none in one of them.
    """
    found: list[tuple[str, str]] = []
    for text in given:
        name, found_separator, value = text.partition(separator)
        if not found_separator or not name.strip():
            raise CommandError(f"{option} {text!r}: write it as name{separator}value")
        found.append((name.strip(), value.strip() if separator == ":" else value))
    return found


def body(given: str | None) -> bytes | None:
    """Return the bytes that `--data` means: the text itself, a file's for `@file`, standard input's for `-`.

    Raises:
        CommandError: the file cannot be read.
    """
    if given is None:
        return None
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise CommandError(f"--data {given}: {error.strerror}") from None


def content_type(content: bytes | None, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the header that tells what a body is, when nobody said: JSON when it looks like it."""
    if content is None or any(name.lower() == "content-type" for name, _ in headers):
        return []
    looks = content.lstrip()[:1] in (b"{", b"[")
    return [("content-type", "application/json" if looks else "text/plain; charset=utf-8")]


def route_of(name: str, catalog: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    """Return the route of the function `name` and its methods.

    A name is what `fnbus routes` shows (`hello`, `acme/orders`, `users/[id].js`), or a route without its slash.

    Raises:
        CommandError: there is none, or it has parameters, so that a name does not say where to call it.
    """
    found = [(pattern, list(target.get("methods") or ["GET"])) for pattern, target in _targets(name, catalog)]
    if not found:
        raise unknown(name, catalog)
    plain = [each for each in found if ":" not in each[0] and "*" not in each[0]]
    if not plain:
        raise CommandError(
            f"the route of {name} is {found[0][0]}: call it by a path, as in `fnbus invoke {_example(found[0][0])}`"
        )
    return min(plain, key=lambda each: len(each[0]))


def name_of(name: str, catalog: Mapping[str, Any]) -> str:
    """Return the function's own name for a name that may be its route; a name that nothing has now is left as it is."""
    names = {str(target.get("fn_name")) for _, target in _targets(name.strip("/"), catalog)}
    return name if name in names or not names else min(names)


def is_known(name: str, catalog: Mapping[str, Any]) -> bool:
    """Return whether there is a function of that name now."""
    return bool(_targets(name, catalog))


def unknown(name: str, catalog: Mapping[str, Any]) -> CommandError:
    """Return the error that says that there is no such function, and which one may have been meant."""
    mapped = _mapped(catalog)
    known = {str(target.get("fn_name")) for targets in mapped.values() for target in targets}
    near = get_close_matches(name, sorted(known | {pattern.lstrip("/") for pattern in mapped}), n=1)
    return CommandError(f"there is no function {name}" + (f": did you mean {near[0]}?" if near else ": see `fnbus routes`"))


def choose_method(given: str | None, methods: Sequence[str], *, has_body: bool) -> str:
    """Return the method to use: the one asked for, else one that the route takes, POST first when there is a body."""
    if given:
        return given.upper()
    wanted = ("POST", "PUT", "PATCH", "GET", "DELETE") if has_body else ("GET", "POST", "PUT", "PATCH", "DELETE")
    return next((method for method in wanted if method in methods), "POST" if has_body else "GET")


type _Target = Mapping[str, Any]


def _mapped(catalog: Mapping[str, Any]) -> Mapping[str, Sequence[_Target]]:
    return catalog.get("mapped_routes") or {}


def _targets(name: str, catalog: Mapping[str, Any]) -> list[tuple[str, _Target]]:
    """Return the routes of what has this name, or this route without its slash."""
    return [
        (pattern, target)
        for pattern, targets in _mapped(catalog).items()
        for target in targets
        if name in (target.get("fn_name"), pattern.lstrip("/"))
    ]


def _example(pattern: str) -> str:
    return "/".join("42" if segment.startswith(":") or segment == "*" else segment for segment in pattern.split("/"))
