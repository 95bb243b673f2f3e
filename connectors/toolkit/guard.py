"""Allow connections only to public addresses and to networks named in the settings.

The addresses of a host are resolved and checked when the connection is made, and the connection
goes to one of the checked addresses. So neither another spelling of an address nor a name whose
DNS answer changes can bypass the check. (OWASP: Server-Side Request Forgery Prevention.)
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

Network = IPv4Network | IPv6Network

NAMED_NETWORKS: dict[str, tuple[str, ...]] = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
}

# The IPv6 addresses allocated for the public internet (IANA).
_GLOBAL_UNICAST = ip_network("2000::/3")

# Networks that can embed an IPv4 address, and networks that only recent versions of Python know as
# not public (IANA special-purpose address registries).
_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",
            "192.88.99.0/24",  # 6to4 relay
            "2001::/23",  # Teredo and others
            "2002::/16",  # 6to4
            "3fff::/20",
        ),
    )
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


class ForbiddenAddressError(Exception):
    """The host has no address that may be connected to."""


def _parse(names: object) -> tuple[Network, ...]:
    if not isinstance(names, list | tuple):
        raise ValueError("must be a list")  # noqa: TRY004 - pydantic reports a ValueError
    return tuple(
        name if isinstance(name, Network) else ip_network(text)
        for name in names
        for text in NAMED_NETWORKS.get(str(name), (str(name),))
    )


def _names(networks: Iterable[Network]) -> list[str]:
    return [str(network) for network in networks]


Networks = Annotated[
    tuple[Network, ...], BeforeValidator(_parse), PlainSerializer(_names, return_type=list[str])
]
"""Networks in settings: each a network such as `10.1.0.0/16`, or `loopback` or `private`."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is on the public internet and embeds no other address."""
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, IPv6Address) and (
        address not in _GLOBAL_UNICAST or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP
    ):
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def resolve(host: str, port: int, allowed: Iterable[Network]) -> list[str]:
    """Return the addresses of a host that may be connected to, in the resolver's order.

    Args:
        host: The host name or IP address.
        port: The port to connect to.
        allowed: The networks that are allowed although they are not public.

    Raises:
        ForbiddenAddressError: The host has addresses, but none that is allowed.
        socket.gaierror: The host has no address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    permitted = [text for text in addresses if _is_permitted(text, allowed)]
    if not permitted:
        raise ForbiddenAddressError(
            f"{host} resolves to {addresses[0]}, which is not a public address"
        )
    return permitted


def _is_permitted(text: str, allowed: Iterable[Network]) -> bool:
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return is_public(address) or any(address in network for network in allowed)
