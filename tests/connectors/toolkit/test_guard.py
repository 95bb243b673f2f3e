"""No connection goes to an address inside, however it is written, unless its network is named."""

import socket
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from pydantic import ValidationError

from connectors.base import Misconfigured, Unavailable
from connectors.toolkit import guard
from connectors.toolkit.http import HttpClient, HttpSettings, connections

INSIDE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",  # CGNAT
    "100.100.100.200",  # metadata of Alibaba Cloud
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",  # metadata of most clouds
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",  # metadata of Oracle Cloud
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible
    "64:ff9b::7f00:1",  # NAT64
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::7f00:1",  # Teredo
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4
    "2606:4700::5efe:127.0.0.1",  # ISATAP
    "2606:4700::200:5efe:10.0.0.1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # metadata of AWS
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
OUTSIDE = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::200e"]

# What urllib3, glibc or a careless reader takes for 127.0.0.1.
LOOPBACK_SPELLED = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7F.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0x0.1",
    "127.0.0.1.",
    "0.0.0.0",
    "0",
    "localhost",
    "LOCALHOST",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
]


def answers(*addresses: str) -> list[tuple[object, ...]]:
    """What getaddrinfo says of a name with these addresses."""
    return [
        (
            socket.AF_INET6 if ":" in address else socket.AF_INET,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
            "",
            (address, 80),
        )
        for address in addresses
    ]


@pytest.fixture
def closed_client(make_client: Callable[..., HttpClient]) -> HttpClient:
    """A client that may go to public addresses only."""
    return make_client(allow_networks=())


@pytest.mark.parametrize("address", INSIDE)
def test_internal_address_is_not_public(address: str) -> None:
    assert not guard.is_public(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_public_address_is_public(address: str) -> None:
    assert guard.is_public(ip_address(address))


@pytest.mark.parametrize("address", [a for a in INSIDE if ":" not in a])
def test_mapped_address_is_judged_by_the_embedded_address(address, monkeypatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: answers(f"::ffff:{address}"))
    with pytest.raises(guard.ForbiddenAddressError):
        guard.resolve("a.example", 80, ())


@pytest.mark.parametrize("host", LOOPBACK_SPELLED)
def test_no_spelling_of_loopback_is_allowed(host, provider, closed_client) -> None:
    with pytest.raises((Misconfigured, Unavailable)) as refused:
        closed_client.request("GET", f"http://{host}:{provider.port}/")
    assert refused.value.code in {"forbidden_address", "name_not_resolved"}
    assert provider.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example@127.0.0.1:{port}/",
        "http://a.example:80@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}#@a.example/",
        "http://127.0.0.1:{port}\\@a.example/",
        "http://127.0.0.1:{port}?@a.example/",
    ],
)
def test_user_information_cannot_hide_the_host(url, provider, closed_client) -> None:
    with pytest.raises((Misconfigured, Unavailable)):
        closed_client.request("GET", url.format(port=provider.port))
    assert provider.connections == 0


def test_redirect_to_an_internal_address_is_not_followed(
    provider, start_provider, make_client
) -> None:
    inner = start_provider()
    provider.answer(302, Location=inner.url)

    assert make_client().request("GET", provider.url).status == 302
    assert inner.connections == 0


def test_host_is_resolved_once(monkeypatch, closed_client) -> None:
    told = iter([answers("93.184.216.34"), answers("127.0.0.1")])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: next(told))
    reached = []

    def connect(address: tuple[str, int], *args: object, **kwargs: object) -> None:
        reached.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(connections, "create_connection", connect)

    with pytest.raises(Unavailable, match="connection_refused"):
        closed_client.request("GET", "http://rebinding.example/")
    assert reached == [("93.184.216.34", 80)]


def test_only_permitted_addresses_of_a_host_are_tried(monkeypatch) -> None:
    everything = answers("10.0.0.1", "93.184.216.34", "::1", "1.1.1.1")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: everything)
    assert guard.resolve("a.example", 80, ()) == ["93.184.216.34", "1.1.1.1"]


def test_next_address_is_tried_if_one_does_not_respond(provider, monkeypatch, make_client) -> None:
    both = answers("::1", "127.0.0.1")  # the server listens on the second only
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: both)
    monkeypatch.setattr(guard, "resolve", lambda *a: ["::1", "127.0.0.1"])
    real = connections.create_connection

    def connect(address: tuple[str, int], *args: object, **kwargs: object) -> socket.socket:
        if address[0] == "::1":
            raise ConnectionRefusedError
        monkeypatch.undo()
        return real(address, *args, **kwargs)

    monkeypatch.setattr(connections, "create_connection", connect)

    assert make_client().request("GET", f"http://two.example:{provider.port}").status == 200


@pytest.mark.parametrize(
    ("networks", "reachable"),
    [
        (["127.0.0.0/8"], True),
        (["loopback"], True),
        (["10.0.0.0/8", "127.0.0.1/32"], True),
        (["private"], False),
        (["127.0.0.2/32"], False),
    ],
)
def test_configured_network_is_allowed(networks, reachable, provider, make_client) -> None:
    client = make_client(allow_networks=networks)
    if reachable:
        assert client.request("GET", provider.url).status == 200
    else:
        with pytest.raises(Misconfigured, match="which is not a public address; add its network"):
            client.request("GET", provider.url)
        assert provider.connections == 0


@pytest.mark.parametrize("networks", ["loopback", ["everything"], ["10.0.0.1/8"], [""], 7])
def test_invalid_network_is_rejected_by_the_settings(networks) -> None:
    with pytest.raises(ValidationError, match="allow_networks"):
        HttpSettings(allow_networks=networks)
