"""The way to a gateway: HTTP, with faults as one clear line."""

import ipaddress
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httpx

from cli import refusals
from cli.errors import CommandError, RefusedError
from cli.target import Address

_TOKEN_HEADER = "x-fn-admin-token"  # noqa: S105  a header's name
_MEANT = ("x-fn-request", "1")
"""Says that no other site's page has a browser send this."""
_TIMEOUT_SECONDS = 330.0
"""Longer than a function may run: the gateway has the deadline."""
_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 15.0
"""A gateway that streams says something every 5 seconds."""


class LostError(CommandError):
    """A stream of events broke off, or could not be had."""


class GatewayClient:
    """A gateway's public routes and its `/_fn/*` API."""

    def __init__(self, at: Address) -> None:
        """Talk to the gateway at this address; nothing is sent yet."""
        self._url = at.url.rstrip("/")
        if urlsplit(self._url).scheme not in ("http", "https") or not urlsplit(self._url).hostname:
            raise CommandError(f"--url {at.url}: write it as http://host:port")
        self._at = at
        self._credentials = [
            *([(_TOKEN_HEADER, at.token)] if at.token else []),
            *([("cookie", at.session)] if at.session else []),
        ]
        try:
            # A proxy of the environment cannot know what is on this machine.
            self._http = httpx.Client(
                base_url=self._url,
                timeout=httpx.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_SECONDS),
                trust_env=not _on_this_machine(self._url),
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise CommandError(f"--url {at.url}: {error}") from None

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Sequence[tuple[str, str]] = (),
        content: bytes | None = None,
    ) -> httpx.Response:
        """Send a request and return whatever came back.

        Raises:
            CommandError: the gateway cannot be reached.
        """
        try:
            return self._http.request(method, path, params=tuple(query) or None, headers=list(headers), content=content)
        except httpx.ConnectError:
            hint = (
                f"is it what the profile {self._at.profile} means?"
                if self._at.profile
                else "start one with `fnbus dev`, or name another with --url"
            )
            raise CommandError(f"no gateway at {self._url}: {hint}") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise CommandError(f"{self._url}{path}: {error}") from None
        except httpx.HTTPError as error:
            raise CommandError(f"the gateway at {self._url} did not answer: {error or type(error).__name__}") from None

    def ask(self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: object = None) -> dict[str, Any]:
        """Send a request to the `/_fn/*` API and return its JSON answer.

        Raises:
            CommandError: the gateway cannot be reached.
            RefusedError: it says no; its own words are the text, with what to do about it.
        """
        found = self._call(method, path, query=query, body=body)
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def ask_all(self, method: str, path: str, *, query: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Send a request whose answer is a list; else as `ask`."""
        found = self._call(method, path, query=query, body=None)
        return cast("list[dict[str, Any]]", found) if isinstance(found, list) else []

    def login(self, username: str, password: str) -> str:
        """Log in; return the session's cookie as `name=value`.

        Raises:
            CommandError: the gateway cannot be reached, or gave no session.
            RefusedError: it says no.
        """
        self._call("POST", "/_fn/login", query=None, body={"username": username, "password": password})
        for name, value in self._http.cookies.items():
            return f"{name}={value}"
        raise CommandError(f"the gateway at {self._url} took the password but gave no session")

    def _call(self, method: str, path: str, *, query: Mapping[str, Any] | None, body: object) -> object:
        pairs = [(name, str(value)) for name, value in (query or {}).items() if value not in (None, "")]
        content = None if body is None else json.dumps(body).encode()
        headers = [*self._credentials, _MEANT, *([] if body is None else [("content-type", "application/json")])]
        answer = self.send(method, path, query=pairs, headers=headers, content=content)
        try:
            value: object = answer.json()
        except ValueError:
            raise CommandError(f"{self._url} is no fnbus gateway: {method} {path} answered {answer.status_code}") from None
        if answer.is_error:
            found = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
            text = refusals.words(
                str(found.get("error") or f"the gateway answered {answer.status_code}"),
                status=answer.status_code,
                detail=str(found.get("detail") or ""),
                has_session=bool(self._at.session),
                retry_after=answer.headers.get("retry-after", ""),
            )
            raise RefusedError(text, status=answer.status_code, answer=found)
        return value

    def events(self, path: str, *, query: Mapping[str, str]) -> Generator[tuple[str, str]]:
        """Follow a stream of the `/_fn/*` API: yield each event's name (`message` when it has none) and data.

        A comment is an event, too, named by its text. The end comes as an error.

        Raises:
            LostError: the stream ended, or the gateway cannot be reached.
            RefusedError: it says no; its own words are the text.
        """
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        try:
            with self._http.stream("GET", path, params=dict(query), headers=self._credentials, timeout=timeout) as answer:
                if answer.is_error:
                    answer.read()
                    text = refusals.words(_words(answer), status=answer.status_code, has_session=bool(self._at.session))
                    raise RefusedError(text, status=answer.status_code, answer={})
                yield from _events(answer.iter_lines())
        except httpx.HTTPError:
            raise LostError(f"the gateway at {self._url} is away") from None
        raise LostError(f"the gateway at {self._url} has ended the stream")


def _events(lines: Iterable[str]) -> Generator[tuple[str, str]]:
    """Take server-sent events apart, as far as a gateway uses them."""
    event = "message"
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "" if value:
                yield value, ""
            case "event":
                event = value
            case "data":
                yield event, value
                event = "message"
            case _:
                pass


def _words(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered {answer.status_code}"


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
