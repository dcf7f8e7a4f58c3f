"""Which addresses the platform may connect to on behalf of a function: the public ones, unless more is allowed. Pure.

What counts is the address of a connection, whatever name or spelling led to it. An IPv6 address that carries an IPv4 address
is judged by what it carries, for that is where the packet may end.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

type Address = IPv4Address | IPv6Address

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_NOT_PUBLIC_6 = (
    IPv6Network("2001::/23"),  # Teredo, ORCHID and other protocols' own
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
)
_NOT_PUBLIC_4 = (IPv4Network("192.88.99.0/24"),)  # relays to IPv6, given up
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_ISATAP = 0x5EFE
_ISATAP_MARKS = (_ISATAP, 0x0200_0000 | _ISATAP)


def parse(text: str) -> Address | None:
    """Return the address that a text spells; None when it is a name.

    Whatever the system's resolver takes for an IPv4 address is one here too: `127.1`, `0x7f.0.0.1`, `017700000001`,
    `2130706433`.
    """
    text = text.partition("%")[0]
    try:
        return ip_address(text)
    except ValueError:
        pass
    if not text or text[0] not in "0123456789" or any(letter.isspace() for letter in text):
        return None
    try:
        return IPv4Address(socket.inet_aton(text))
    except OSError:
        return None


def is_public(address: Address) -> bool:
    """Whether anybody on the internet could be meant: no private, local, reserved or multicast address."""
    if isinstance(address, IPv6Address):
        carried = carried_in(address)
        if carried is not None:
            return is_public(carried)
        return address in _GLOBAL_UNICAST and address.is_global and not any(address in each for each in _NOT_PUBLIC_6)
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in each for each in _NOT_PUBLIC_4)
    )


def is_reachable(address: Address, *, private: bool) -> bool:
    """Whether a connection may go to an address.

    Args:
        address: where to.
        private: whether private networks and this machine are allowed as well. Link-local addresses, where clouds keep their
            credentials, and those that are nobody's never are.
    """
    if is_public(address):
        return True
    if not private:
        return False
    if isinstance(address, IPv6Address):
        carried = carried_in(address)
        if carried is not None:
            return is_reachable(carried, private=True)
        if address.is_loopback:
            return True
    elif address in _THIS_NETWORK:
        return False
    return not (address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved)


def carried_in(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address inside an IPv6 address: mapped, compatible, NAT64, 6to4 and ISATAP ones have one."""
    number = int(address)
    if address in _MAPPED or address in _NAT64 or (number >> 32 == 0 and number > 1):
        return IPv4Address(number & 0xFFFF_FFFF)
    if address in _6TO4:
        return IPv4Address(number >> 80 & 0xFFFF_FFFF)
    if number >> 32 & 0xFFFF_FFFF in _ISATAP_MARKS:
        return IPv4Address(number & 0xFFFF_FFFF)
    return None
