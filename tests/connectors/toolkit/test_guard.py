"""Connections to internal addresses are forbidden, however they are spelled."""

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

# Spellings that urllib3, glibc or an incomplete check may read as 127.0.0.1.
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
    """Return the result of getaddrinfo for a name with these addresses."""
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


def test_only_addresses_on_the_internet_are_public() -> None:
    assert not [address for address in INSIDE if guard.is_public(ip_address(address))]
    assert not [address for address in OUTSIDE if not guard.is_public(ip_address(address))]


def test_mapped_address_is_judged_by_the_embedded_address(monkeypatch) -> None:
    for address in (address for address in INSIDE if ":" not in address):
        mapped = answers(f"::ffff:{address}")
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, mapped=mapped, **k: mapped)
        with pytest.raises(guard.ForbiddenAddressError):
            guard.resolve("a.example", 80, ())


def test_no_spelling_of_loopback_is_allowed(provider, closed_client) -> None:
    failures = []
    for host in LOOPBACK_SPELLED:
        with pytest.raises((Misconfigured, Unavailable)) as raised:
            closed_client.request("GET", f"http://{host}:{provider.port}/")
        if (
            raised.value.code not in {"forbidden_address", "name_not_resolved"}
            or provider.connections
        ):
            failures.append((host, raised.value))
    assert not failures


def test_user_information_cannot_hide_the_host(provider, closed_client) -> None:
    rows = [
        "http://a.example@127.0.0.1:{port}/",
        "http://a.example:80@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}#@a.example/",
        "http://127.0.0.1:{port}\\@a.example/",
        "http://127.0.0.1:{port}?@a.example/",
    ]
    failures = []
    for url in rows:
        with pytest.raises((Misconfigured, Unavailable)) as raised:
            closed_client.request("GET", url.format(port=provider.port))
        if provider.connections:
            failures.append((url, raised.value))
    assert not failures


def test_redirect_to_an_internal_address_is_not_followed(
    provider, start_provider, make_client
) -> None:
    inner = start_provider()
    provider.answer(302, Location=inner.url)

    assert make_client().request("GET", provider.url).status == 302
    assert inner.connections == 0


def test_host_is_resolved_once(monkeypatch, closed_client) -> None:
    results = iter([answers("93.184.216.34"), answers("127.0.0.1")])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: next(results))
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


def test_configured_network_is_allowed(provider, make_client) -> None:
    rows = [
        (["127.0.0.0/8"], True),
        (["loopback"], True),
        (["10.0.0.0/8", "127.0.0.1/32"], True),
        (["private"], False),
        (["127.0.0.2/32"], False),
    ]
    failures = []
    for networks, reachable in rows:
        client = make_client(allow_networks=networks)
        try:
            found = str(client.request("GET", provider.url).status)
        except Misconfigured as error:
            found = error.detail
        expected = "200" if reachable else "which is not a public address; add its network"
        if expected not in found:
            failures.append((networks, found))
    assert not failures


def test_invalid_network_is_rejected_by_the_settings() -> None:
    for networks in ("loopback", ["everything"], ["10.0.0.1/8"], [""], 7):
        with pytest.raises(ValidationError, match="allow_networks"):
            HttpSettings(allow_networks=networks)
