"""Ports for servers that are told theirs before they start."""

import socket
from pathlib import Path

import pytest

from libs.ports import named_ports, unused_port

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


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ("", set[int]()),
        ("nats://127.0.0.1:4999", {4999}),
        ("nats://a, nats://b:4998,c:4997", {4222, 4998, 4997}),
        ("mongodb://user:1234@a:1,b/name?replicaSet=x:9", {1, 4222}),
        ("tls://[::1]:5000,[::1]", {5000, 4222}),
    ],
)
def test_named_ports_are_those_of_all_servers(addresses: str, expected: set[int]) -> None:
    assert named_ports(addresses, usual=4222) == expected
