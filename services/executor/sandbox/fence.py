"""The fence: workers that may use the network do not reach the platform on this machine, or nothing of it, nor do others them.

On loopback listen the bus, the database and the control plane, and being local is a kind of credential there. An executor that
is root gives its workers host users of their own, so the kernel's packet filter can tell their packets from all others. The
fence is one nftables table with a rule for a range of users. The kernel removes it when the executor ends, however it does:
the table belongs to the socket that made it. It is spoken to directly, so that no program has to be installed.

Refused is what would leave by the loopback device (all of the machine's own addresses, whichever device has them), what goes
to link-local addresses and clouds' metadata, and the answer to whoever wants to connect. Name servers of the
machine itself stay in reach. Where ports are given only these are refused, and what else listens on the machine (a database,
most often) is reached.
"""

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator

from services.executor.sandbox.egress import CLOSED

_NETFILTER = 12
_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = (_SUBSYSTEM << 8 | number for number in (0, 3, 6))
_REQUEST, _ACKNOWLEDGE, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_ERROR = 2
_NESTED = 0x8000
_INET = 1
_OWNED = 2
"""NFT_TABLE_F_OWNER: since Linux 5.12."""
_LOCAL_OUT = 3
_PRIORITY = -150
"""Before addresses are translated: a container's name server is known by its port."""
_ACCEPT, _JUMP = 1, -3
_OUTGOING_TYPE, _USER, _PROTOCOL_FAMILY, _PROTOCOL = 9, 10, 15, 16
_LOOPBACK_TYPE = 772
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_EQUAL, _AT_MOST, _AT_LEAST = 0, 3, 5
_IPV4 = 4
_V4, _V6, _TCP, _UDP, _NAMES = 2, 10, 6, 17, 53
_SYN_ACK = 0x12
_RESET, _UNREACHABLE, _PROHIBITED = 1, 2, 3
_ANSWER_SECONDS = 5.0
_ANSWER_BYTES = 65_536

type _Expression = bytes


class Fence:
    """A fence that stands until it is closed, or the executor ends."""

    def __init__(self, descriptor: int) -> None:
        """Keep the socket to which the table belongs."""
        self._descriptor = descriptor

    def close(self) -> None:
        """Take it down."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def put_up(users: Iterable[tuple[int, int]], ports: Collection[int] = ()) -> Fence:
    """Put up the fence.

    Args:
        users: ranges of users that stay inside, first and last.
        ports: the only ports of this machine that they do not reach; empty: they reach none.

    Raises:
        OSError: the kernel refuses, or cannot do it.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as made:
        made.bind((0, 0))
        made.settimeout(_ANSWER_SECONDS)
        _send(made, list(_orders(f"fnbus-{os.getpid()}-{made.getsockname()[0]}", users, ports)))
        return Fence(made.detach())


def _orders(table: str, users: Iterable[tuple[int, int]], ports: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Return the messages that make the table."""
    named = _text(1, table)
    yield _NEW_TABLE, named + _number(2, _OWNED)
    for chain in ("refuse", "worker"):
        yield _NEW_CHAIN, named + _text(3, chain)
    hook = _nest(4, _number(1, _LOCAL_OUT) + _number(2, _PRIORITY))
    yield _NEW_CHAIN, named + _text(3, "output") + hook + _text(7, "filter")

    def rule(chain: str, *expressions: _Expression) -> tuple[int, bytes]:
        return _NEW_RULE, named + _text(2, chain) + _nest(4, b"".join(_nest(1, each) for each in expressions))

    for first, last in users:
        bounds = (_compare(struct.pack(">I", first), _AT_LEAST), _compare(struct.pack(">I", last), _AT_MOST))
        yield rule("output", _meta(_USER), _network_order(), *bounds, _verdict(_JUMP, "worker"))
    # Whoever sends is told at once: a packet that vanishes would keep it waiting.
    yield rule("refuse", _meta(_PROTOCOL), _compare(bytes([_TCP])), _expression("reject", _number(1, _RESET)))
    yield rule("refuse", _expression("reject", _number(1, _UNREACHABLE) + _attribute(2, bytes([_PROHIBITED]))))
    refuse = _verdict(_JUMP, "refuse")
    at_home = (_meta(_OUTGOING_TYPE), _compare(struct.pack("=H", _LOOPBACK_TYPE)))
    for protocol in (_UDP, _TCP):
        asks = (_payload(_TRANSPORT_HEADER, 2, 2), _compare(struct.pack(">H", _NAMES)))
        yield rule("worker", _meta(_PROTOCOL), _compare(bytes([protocol])), *asks, _verdict(_ACCEPT))
    to_port = (_payload(_TRANSPORT_HEADER, 2, 2),)
    for which in [(*to_port, _compare(struct.pack(">H", port))) for port in ports] or [()]:
        yield rule("worker", *at_home, *which, refuse)
    for network in map(ipaddress.ip_network, CLOSED):
        family, at = (_V4, 16) if network.version == _IPV4 else (_V6, 24)
        address = network.network_address.packed
        lies = (_payload(_NETWORK_HEADER, at, len(address)), _mask(network.netmask.packed), _compare(address))
        yield rule("worker", _meta(_PROTOCOL_FAMILY), _compare(bytes([family])), *lies, refuse)
    flags = (_payload(_TRANSPORT_HEADER, 13, 1), _mask(bytes([_SYN_ACK])), _compare(bytes([_SYN_ACK])))
    yield rule("worker", _meta(_PROTOCOL), _compare(bytes([_TCP])), *flags, refuse)


def _send(made: socket.socket, orders: list[tuple[int, bytes]]) -> None:
    """Send everything as one transaction, and wait until each part is acknowledged."""
    text = _message(_BATCH_BEGIN, _REQUEST, 0, b"", subsystem=_SUBSYSTEM)
    for number, (kind, body) in enumerate(orders, 1):
        text += _message(kind, _REQUEST | _ACKNOWLEDGE | _CREATE | _APPEND, number, body)
    made.send(text + _message(_BATCH_END, _REQUEST, 0, b"", subsystem=_SUBSYSTEM))
    waiting = set(range(1, len(orders) + 1))
    while waiting:
        for number, code in _answers(made.recv(_ANSWER_BYTES)):
            if code:
                raise OSError(code, os.strerror(code))
            waiting.discard(number)


def _answers(data: bytes) -> Iterator[tuple[int, int]]:
    """Return the number of each order that is answered, and the error's code."""
    while data:
        length, kind, _, number, _ = struct.unpack_from("=IHHII", data)
        if kind != _ERROR:
            raise OSError(errno.EPROTO, "not an answer of the packet filter")
        yield number, -struct.unpack_from("=i", data, 16)[0]
        data = data[-(-length // 4) * 4 :]


def _message(kind: int, flags: int, number: int, body: bytes, *, subsystem: int = 0) -> bytes:
    body = struct.pack(">BBH", 0 if subsystem else _INET, 0, subsystem) + body
    return struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _nest(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NESTED, value)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value & 0xFFFF_FFFF))


def _expression(name: str, data: bytes) -> _Expression:
    return _text(1, name) + _nest(2, data)


# All expressions work on the first register.


def _meta(key: int) -> _Expression:
    return _expression("meta", _number(1, 1) + _number(2, key))


def _network_order() -> _Expression:
    """Turn a number of the machine's byte order into one that is compared as it is read."""
    return _expression("byteorder", _number(1, 1) + _number(2, 1) + _number(3, 1) + _number(4, 4) + _number(5, 4))


def _payload(header: int, at: int, length: int) -> _Expression:
    return _expression("payload", _number(1, 1) + _number(2, header) + _number(3, at) + _number(4, length))


def _mask(bits: bytes) -> _Expression:
    data = _number(1, 1) + _number(2, 1) + _number(3, len(bits))
    return _expression("bitwise", data + _nest(4, _attribute(1, bits)) + _nest(5, _attribute(1, bytes(len(bits)))))


def _compare(value: bytes, operator: int = _EQUAL) -> _Expression:
    return _expression("cmp", _number(1, 1) + _number(2, operator) + _nest(3, _attribute(1, value)))


def _verdict(code: int, chain: str = "") -> _Expression:
    told = _number(1, code) + (_text(2, chain) if chain else b"")
    return _expression("immediate", _number(1, 0) + _nest(2, _nest(2, told)))
