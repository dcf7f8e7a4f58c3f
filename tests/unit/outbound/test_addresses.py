"""Which addresses the platform connects to for a function."""

from ipaddress import ip_address

import pytest

from libs.outbound import addresses

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "198.18.0.1",
    "192.0.2.1", "fc00::1", "fd12:3456::1", "::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:c0a8:1::1", "::7f00:1",
    "2001:4860::5efe:10.0.0.1", "2001:4860::200:5efe:127.0.0.1",
]  # fmt: skip
NOBODYS = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "fe80::1",
    "fe80::1%eth0", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "::ffff:0.0.0.0", "2002:a9fe:a9fe::1",
]  # fmt: skip
ODD = ["2001::1", "2001:db8::1", "3fff::1", "64:ff9b:1::1", "fec0::1", "100::1", "192.88.99.1", "5f00::1"]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700::1111",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_is_reachable_when_it_is_public(text: str) -> None:
    address = addresses.parse(text)
    assert address is not None
    assert addresses.is_reachable(address, private=False)
    assert addresses.is_reachable(address, private=True)


@pytest.mark.parametrize("text", [*PRIVATE, *NOBODYS, *ODD])
def test_an_address_is_not_reachable_when_it_is_not_public(text: str) -> None:
    address = addresses.parse(text)
    assert address is not None
    assert not addresses.is_reachable(address, private=False)


@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_address_is_reachable_when_that_is_allowed(text: str) -> None:
    address = addresses.parse(text)
    assert address is not None
    assert addresses.is_reachable(address, private=True)


@pytest.mark.parametrize("text", NOBODYS)
def test_an_address_for_credentials_or_nobody_is_never_reachable(text: str) -> None:
    address = addresses.parse(text)
    assert address is not None
    assert not addresses.is_reachable(address, private=True)


@pytest.mark.parametrize("text", ["127.1", "0x7f.0.0.1", "0177.0.0.1", "2130706433", "017700000001", "0x7f000001", "127.0.1"])
def test_an_ipv4_address_is_understood_when_it_is_spelled_oddly(text: str) -> None:
    address = addresses.parse(text)
    assert address is not None
    assert address.is_loopback


@pytest.mark.parametrize("text", ["", "example.com", "localhost", "1.2.3.4.5", "256.1.1.1.example", "1.2.3.4 x", "dead.beef"])
def test_a_text_is_no_address_when_it_is_a_name(text: str) -> None:
    assert addresses.parse(text) is None


def test_a_scope_is_left_out_when_an_address_has_one() -> None:
    assert addresses.parse("fe80::1%eth0") == ip_address("fe80::1")
