"""An HTTP client that connects to no address that was not looked at, whatever a name resolves to and when.

Names are resolved here, every address is judged (`addresses`), and the connection goes to one of those: there is no second
look-up that could say something else. That holds for each connection, and nothing is followed: a redirect is an answer.
Connections that were made with leave to go to private networks are kept apart from the others.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, cast

import httpcore

from libs import errors
from libs.outbound import addresses

CONNECTIONS = 256
"""Requests under way at once; more wait, within their time."""
_IDLE_CONNECTIONS = 32
_IDLE_SECONDS = 20.0
_CONNECT_SECONDS = 10.0
_PORTS = {"http": 80, "https": 443}
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

type Headers = Sequence[tuple[bytes, bytes]]
type Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host and port to addresses, as text. Raises OSError."""


class OutboundError(errors.PermanentError):
    """The request has no answer; the text says why."""


class PrivateHostError(OutboundError):
    """The host has an address that may not be connected to."""

    def __init__(self) -> None:
        super().__init__("private host not allowed")


class TooLargeError(OutboundError):
    """The answer is larger than it may be."""

    def __init__(self) -> None:
        super().__init__("response too large")


class TimeoutExceededError(OutboundError):
    """The answer was not complete in time."""

    def __init__(self) -> None:
        super().__init__("timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be asked."""

    method: str
    scheme: str
    """`http` or `https`."""
    host: str
    """A name in ASCII or an address, without brackets."""
    port: int
    target: bytes
    """Path and query, percent-encoded."""
    headers: Headers = ()
    body: bytes = b""
    seconds: float
    """Until the answer has to be complete."""
    max_response_bytes: int
    private: bool = False
    """Whether it may go to private networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came back."""

    status: int
    headers: Headers
    body: bytes


class Client:
    """Sends requests."""

    def __init__(self, *, verify_tls: bool = True, resolve: Resolver | None = None) -> None:
        """Open no connection yet.

        Args:
            verify_tls: False: take any certificate.
            resolve: finds addresses; by default the system does.
        """
        context = None if verify_tls else _unverified()
        self._pools = {
            private: httpcore.AsyncConnectionPool(
                ssl_context=context,
                max_connections=CONNECTIONS,
                max_keepalive_connections=_IDLE_CONNECTIONS,
                keepalive_expiry=_IDLE_SECONDS,
                network_backend=Guard(private=private, resolve=resolve or _resolve),
            )
            for private in (False, True)
        }

    async def send(self, request: Request) -> Response:
        """Send a request and return the whole answer.

        Raises:
            OutboundError: there is none.
        """
        url = httpcore.URL(scheme=request.scheme.encode(), host=request.host.encode(), port=request.port, target=request.target)
        seconds = request.seconds
        authority = f"[{request.host}]" if ":" in request.host else request.host
        if request.port != _PORTS.get(request.scheme):
            authority = f"{authority}:{request.port}"
        headers = [(b"host", authority.encode()), *request.headers]
        content = request.body if request.body or request.method in _WITH_BODY else None
        times = {"connect": min(seconds, _CONNECT_SECONDS), "read": seconds, "write": seconds, "pool": seconds}
        try:
            async with (
                asyncio.timeout(seconds),
                self._pools[request.private].stream(
                    request.method, url, headers=headers, content=content, extensions={"timeout": times}
                ) as response,
            ):
                body = b"" if request.method == "HEAD" else await _read(response, most=request.max_response_bytes)
                return Response(status=response.status, headers=response.headers, body=body)
        except (TimeoutError, httpcore.TimeoutException):
            raise TimeoutExceededError from None
        except httpcore.ConnectError as error:
            raise OutboundError(f"{request.host} cannot be reached") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            raise OutboundError(f"{request.host} gave no valid answer") from error

    async def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()


class Guard(httpcore.AsyncNetworkBackend):
    """Makes the connections."""

    def __init__(self, *, private: bool, resolve: Resolver) -> None:
        """Judge addresses by `private` (`addresses.is_reachable`)."""
        self._private = private
        self._resolve = resolve
        self._network = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the base class has it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that answers.

        Raises:
            PrivateHostError: one of its addresses may not be connected to; then none is.
            httpcore.ConnectError: none answers.
            httpcore.ConnectTimeout: none in time.
        """
        try:
            async with asyncio.timeout(timeout):
                found = await self._judged(host, port)
                for at, address in enumerate(found):
                    try:
                        return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
                    except httpcore.ConnectError:
                        if at == len(found) - 1:
                            raise
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        raise httpcore.ConnectError("the host has no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  the base class has it
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse.

        Raises:
            PrivateHostError: always.
        """
        raise PrivateHostError

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    async def _judged(self, host: str, port: int) -> list[str]:
        literal = addresses.parse(host)
        try:
            found = [str(literal)] if literal is not None else list(await self._resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        for text in found:
            address = addresses.parse(text)
            if address is None or not addresses.is_reachable(address, private=self._private):
                raise PrivateHostError
        return found


async def _resolve(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(ip_address(str(each[4][0]).partition("%")[0])) for each in found))


async def _read(response: httpcore.Response, *, most: int) -> bytes:
    announced = next((value for name, value in response.headers if name.lower() == b"content-length"), b"")
    if announced.isdigit() and int(announced) > most:
        raise TooLargeError
    pieces: list[bytes] = []
    size = 0
    async for piece in response.aiter_stream():
        size += len(piece)
        if size > most:
            raise TooLargeError
        pieces.append(piece)
    return b"".join(pieces)


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
