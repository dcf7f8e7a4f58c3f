"""Ports for servers that are told theirs before they start."""

import socket
from pathlib import Path

import pytest

from libs.ports import unused_port

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_unused_port_can_be_bound() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", unused_port()))
        server.listen()


@pytest.mark.skipif(
    not Path("/proc/sys/net/ipv4/ip_local_port_range").exists(), reason="the kernel does not tell its range here"
)
def test_unused_port_is_none_that_the_kernel_gives_to_outgoing_connections() -> None:
    low, high = map(int, _RANGE.read_text().split())
    assert not any(low <= unused_port() <= high for _ in range(50))


def test_unused_port_refuses_a_host_that_is_none_of_this_machine() -> None:
    with pytest.raises(OSError, match=r"assign"):
        unused_port("203.0.113.1")
