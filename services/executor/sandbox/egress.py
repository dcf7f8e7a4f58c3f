"""The only way out of a worker that may reach some hosts and no others: an HTTP proxy that looks at every address.

It is a program of its own, one for each executor, started as a file with no more than the standard library. A worker has a
network namespace with nothing in it but the loopback; the proxy's listening socket is put there before user code is loaded,
and what comes in is passed on from the host's side, when the function's list of hosts allows it. Names are resolved here and
the connection goes to the address that was looked at, so a name that changes its mind gains nothing. Private, loopback and
link-local addresses are refused unless they are listed themselves. What the fence keeps from workers of this machine a list
does not lead to either, whatever it says and whatever a name in it resolves to: the proxy itself is local there.

`services.executor.sandbox.gate` starts it and tells it which worker may reach what.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import socket
import sys
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

PORT = 3128
"""Where a worker finds its proxy, on 127.0.0.1."""

CLOSED = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128", "100.100.100.200/32", "168.63.129.16/32")
"""Link-local networks, and where clouds that keep to no such network have their metadata."""

_CLOSED = tuple(ipaddress.ip_network(each) for each in CLOSED)
_HEAD_BYTES = 64 * 1024
_HEAD_SECONDS = 15.0
_CONNECT_SECONDS = 15.0
_PIECE_BYTES = 64 * 1024
_CONNECTIONS = 64
_BACKLOG = 128
_HTTP = re.compile(r"http://(?P<authority>[^/?#\s]+)(?P<path>[^\s]*)", re.IGNORECASE)
_HOP_HEADERS = (b"proxy-", b"connection:", b"keep-alive:")
_MOST_PORT = 65_535
_V6 = 6


class RefusedError(Exception):
    """The proxy does not do what it was asked for; `status` is the answer's."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Host:
    """One entry of a function's list: `api.example.com`, `*.example.com`, `10.0.0.5:5432`, `[::1]:80`."""

    name: str
    port: int = 0
    """0: any."""
    below: bool = False
    """Every name below `name`, and not `name` itself."""

    def covers(self, host: str, port: int) -> bool:
        """Return whether the entry names this host and port."""
        if self.port and self.port != port:
            return False
        return host.endswith("." + self.name) if self.below else host == self.name


def parse(entry: str) -> Host:
    """Read an entry of a list.

    Raises:
        ValueError: it is none.
    """
    name, port = split(entry.strip().lower(), default=0)
    below = name.startswith("*.")
    name = name.removeprefix("*.")
    if not name or "*" in name or "/" in name:
        raise ValueError(f"{entry!r} is not a host, *.domain or host:port")
    return Host(name, port, below)


def split(authority: str, *, default: int) -> tuple[str, int]:
    """Return host and port of `host`, `host:port`, `[v6]` or `[v6]:port`.

    Raises:
        ValueError: it is none of these.
    """
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.%]+)\]|([^\[\]:@\s]+))(?::(\d{1,5}))?", authority)
    if found is None:
        raise ValueError(f"{authority!r} is not a host")
    port = int(found[3]) if found[3] else default
    if port > _MOST_PORT:
        raise ValueError(f"{port} is no port")
    return (found[1] or found[2]).lower().rstrip("."), port


def admitted(hosts: tuple[Host, ...], host: str, port: int) -> Host:
    """Return the entry that allows a host, one that names it before one that covers it.

    Raises:
        RefusedError: none does.
    """
    found = sorted((entry for entry in hosts if entry.covers(host, port)), key=lambda entry: entry.below)
    if not found:
        raise RefusedError("403 Forbidden", f"this function may not reach {host}:{port}")
    return found[0]


def usable(entry: Host, address: str) -> bool:
    """Return whether a connection may go to an address that an allowed host resolved to.

    Public addresses may. Private and loopback ones only for a name that is listed itself, link-local ones and wherever else
    clouds keep their metadata only when the address itself is listed.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    ip = mapped or ip
    if not entry.below and entry.name in (address, str(ip)):
        return True
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved or any(ip in each for each in _CLOSED):
        return False
    return ip.is_global or not entry.below


def is_here(address: str) -> bool:
    """Return whether an address is one of this machine's own: no other can be bound."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.is_loopback or ip.is_unspecified:
        return True
    with socket.socket(socket.AF_INET6 if ip.version == _V6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


class Proxy:
    """The proxy of one worker."""

    def __init__(self, hosts: tuple[Host, ...], *, fenced: Collection[int] | None = None) -> None:
        """Serve nobody yet.

        Args:
            hosts: what may be reached.
            fenced: ports of this machine that are not, whatever leads to them; empty: none of its ports is. None: no fence.
        """
        self._hosts = hosts
        self._fenced = fenced
        self._open = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, listening: socket.socket) -> None:
        """Take connections from a listening socket until `close`."""
        self._server = await asyncio.start_server(self._serve, sock=listening, limit=_HEAD_BYTES, backlog=_BACKLOG)

    def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self._open += 1
        try:
            await self._pass_on(reader, writer)
        except RefusedError as error:
            text = f"{error}\n".encode()
            head = f"HTTP/1.1 {error.status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n".encode() + text)
            with contextlib.suppress(OSError):
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            writer.transport.abort()
        finally:
            self._open -= 1
            self._writers.discard(writer)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open > _CONNECTIONS:
            raise RefusedError("503 Service Unavailable", "too many connections at once")
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise RefusedError("431 Request Header Fields Too Large", "the request's head is too large") from None
        authority, first = request(head)
        try:
            host, port = split(authority, default=80)
        except ValueError as error:
            raise RefusedError("400 Bad Request", str(error)) from None
        there, back = await self._connect(host, port)
        try:
            if first:
                back.write(first)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, back))
                both.create_task(_pump(there, writer))
        except ExceptionGroup:
            writer.transport.abort()
        finally:
            back.transport.abort()

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        entry = admitted(self._hosts, host, port)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                addresses = [str(each[4][0]) for each in found]
                good = [each for each in addresses if usable(entry, each) and not self._keeps_from(each, port)]
                if not good:
                    told = f"{host}:{port} is {', '.join(addresses)}, which this function may not reach"
                    raise RefusedError("403 Forbidden", told)
                return await _first(good, port)
        except (OSError, TimeoutError) as error:
            raise RefusedError("502 Bad Gateway", f"{host}:{port} cannot be reached: {error or 'no answer'}") from error

    def _keeps_from(self, address: str, port: int) -> bool:
        """Return whether the fence is between the worker and that port."""
        return self._fenced is not None and (not self._fenced or port in self._fenced) and is_here(address)


def request(head: bytes) -> tuple[str, bytes]:
    """Return whom a request to the proxy is for, and its head as that one gets it; empty for a tunnel.

    Raises:
        RefusedError: it is no request to a proxy.
    """
    line, _, rest = head.partition(b"\r\n")
    words = line.decode("latin-1").split(" ")
    if len(words) != len(("method", "target", "version")) or not words[2].startswith("HTTP/1."):
        raise RefusedError("400 Bad Request", "this is an HTTP proxy")
    method, target, version = words
    if method == "CONNECT":
        return target, b""
    found = _HTTP.fullmatch(target)
    if found is None:
        raise RefusedError("400 Bad Request", "this is a proxy: the request names no host")
    path = found["path"] if found["path"].startswith("/") else "/" + found["path"]
    # One request for each connection: a second one would be passed on without being looked at.
    headers = [each for each in rest.split(b"\r\n") if each and not each.lower().startswith(_HOP_HEADERS)]
    lines = [f"{method} {path} {version}".encode("latin-1"), *headers, b"Connection: close"]
    return found["authority"], b"\r\n".join(lines) + b"\r\n\r\n"


async def _first(addresses: list[str], port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that answers."""
    *others, last = addresses
    for address in others:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(address, port)
    return await asyncio.open_connection(last, port)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(_PIECE_BYTES):
        sink.write(piece)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()


def listening_inside(namespaces: list[int]) -> socket.socket:
    """Return a socket that listens inside other namespaces: a child enters them and hands it out.

    Args:
        namespaces: descriptors, a user namespace before the network namespace that it owns.

    Raises:
        OSError: they cannot be entered.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        with warnings.catch_warnings():
            # The child makes four system calls; that threads exist which resolve names does not matter to it.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _listen(namespaces, theirs)
        theirs.close()
        try:
            answer, fds, _, _ = socket.recv_fds(ours, 256, 1)
        finally:
            os.waitpid(child, 0)
    if not fds:
        raise OSError(answer.decode() or "the child died")
    return socket.socket(fileno=fds[0])


def _listen(namespaces: list[int], answer: socket.socket) -> None:
    """Run in the child; does not return."""
    try:
        for namespace in namespaces:
            os.setns(namespace)
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", PORT))
        made.listen(_BACKLOG)
        socket.send_fds(answer, [b"ok"], [made.fileno()])
    except OSError as error:
        answer.send(str(error).encode()[:256])
    finally:
        os._exit(0)


class _Program:
    """Takes orders from the executor: a list of hosts with namespaces opens a proxy, its number closes it."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._proxies: dict[int, Proxy] = {}
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serve until the executor is gone."""
        self._orders.settimeout(0)
        waiting: asyncio.Queue[tuple[bytes, list[int]]] = asyncio.Queue()

        def read() -> None:
            data, fds, _, _ = socket.recv_fds(self._orders, _HEAD_BYTES, 4)
            waiting.put_nowait((data, fds))

        self._loop.add_reader(self._orders, read)
        while True:
            data, fds = await waiting.get()
            if not data:
                return
            await self._obey(json.loads(data), fds)

    async def _obey(self, order: dict[str, Any], fds: list[int]) -> None:
        number: int = order["number"]
        hosts: list[str] | None = order.get("hosts")
        if hosts is None:
            proxy = self._proxies.pop(number, None)
            if proxy is not None:
                proxy.close()
            return
        try:
            proxy = Proxy(tuple(parse(each) for each in hosts), fenced=order.get("fenced"))
            await proxy.serve(listening_inside(fds))
            self._proxies[number] = proxy
            answer = b"ok"
        except (OSError, ValueError) as error:
            answer = str(error).encode()
        finally:
            for fd in fds:
                os.close(fd)
        self._orders.send(answer)


async def _main(descriptor: int) -> None:
    await _Program(socket.socket(fileno=descriptor)).run()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
