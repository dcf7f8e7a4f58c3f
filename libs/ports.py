"""TCP ports: choosing one for a server that is told its port before it starts, and those that addresses name.

A port that the kernel hands out (bind to 0) lies in the range that it also uses for outgoing connections, so a busy machine may
take it again before the server starts, or while it restarts. The ports chosen here lie outside of that range. Binding one is
left to the server.
"""

import random
import re
import socket
from pathlib import Path

_FIRST = 10_000
_USUAL_EPHEMERAL = (32_768, 60_999)
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 200


def unused_port(host: str = "127.0.0.1") -> int:
    """Return a port of this host on which nobody listens, and which the kernel gives to no outgoing connection.

    Raises:
        OSError: the host is none of this machine, or no port of it is free.
    """
    low, high = _ephemeral_range()
    quiet = [*range(_FIRST, low), *range(high + 1, 65_536)]
    family, kind, protocol, _, _ = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    # Any free port rather than none, where the kernel's range leaves nothing outside.
    for port in (*random.sample(quiet, min(_TRIES, len(quiet))), 0):
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                if port == 0:
                    raise
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("the last candidate is bound or raises")


def named_ports(addresses: str, *, usual: int) -> frozenset[int]:
    """Return the ports of servers.

    Args:
        addresses: URLs with commas between them, or one with several hosts; empty for no server.
        usual: the port of those that name none.
    """
    hosts = (re.split("[/?]", each.rpartition("://")[2].strip())[0] for each in addresses.split(",") if each.strip())
    found = (re.search(r":(\d{1,5})$", host) for host in hosts)
    return frozenset(int(each[1]) if each else usual for each in found)


def _ephemeral_range() -> tuple[int, int]:
    try:
        low, high = (int(part) for part in _RANGE_FILE.read_text().split())
    except (OSError, ValueError):
        return _USUAL_EPHEMERAL
    return low, high
