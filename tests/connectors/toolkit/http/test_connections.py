import datetime as dt
import ipaddress
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors.base import Unavailable, Uncertain
from connectors.toolkit.http import HttpClient, connections

SECRET_PATH = "/bot-secret-token/+12015550123"


# --- connections


def test_connection_is_reused(client, provider):
    for _ in range(5):
        client.request("POST", provider.url, json={})

    assert (provider.connections, len(provider.received)) == (1, 5)


def _idle_socket(client: HttpClient) -> socket.socket:
    pools = client._adapter.poolmanager.pools
    [pool] = [pools[key] for key in pools.keys()]  # noqa: SIM118 - it cannot be iterated
    idle = pool.pool.queue[-1].sock
    idle.settimeout(10)
    return idle


def test_closed_connection_is_not_reused(client, provider):
    provider.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", then_close=True)

    for _ in range(5):
        client.request("POST", provider.url, json={})
        assert _idle_socket(client).recv(1, socket.MSG_PEEK) == b"", "the provider has closed it"

    assert (provider.connections, len(provider.received)) == (5, 5)


def test_idle_connection_is_not_reused(client, provider, monkeypatch):
    monkeypatch.setattr(connections, "MAX_IDLE_SECONDS", 0)

    for _ in range(3):
        client.request("POST", provider.url, json={})

    assert provider.connections == 3


def test_connection_with_an_unread_response_is_not_reused(make_client, provider):
    client = make_client(response_limit_bytes=10)
    provider.answer(200, b"x" * 100_000)

    for _ in range(3):
        assert client.request("GET", provider.url).body == b"x" * 10

    assert provider.connections == 3


def test_many_messages_open_no_more_connections_than_threads(make_client, provider, monkeypatch):
    monkeypatch.setattr(connections, "MAX_IDLE_SECONDS", 60)
    client = make_client(
        connect_timeout_seconds=30, read_timeout_seconds=30, total_timeout_seconds=30
    )

    with ThreadPoolExecutor(8) as threads:
        statuses = list(
            threads.map(
                lambda number: client.request("POST", provider.url, json=number).status,
                range(1000),
            )
        )

    assert statuses == [200] * 1000
    assert len(provider.received) == 1000
    assert provider.connections <= 8


def test_pool_serves_as_many_threads_as_its_size(make_client, provider):
    client = make_client(
        connect_timeout_seconds=30, read_timeout_seconds=30, total_timeout_seconds=30
    )
    all_there = threading.Barrier(64)
    answer = provider.behave

    def answer_when_all_are_there(handler: Any) -> None:
        all_there.wait(30)
        answer(handler)

    provider.behave = answer_when_all_are_there
    statuses: list[int] = []

    def send() -> None:
        statuses.append(client.request("POST", provider.url, json={}).status)

    threads = [threading.Thread(target=send) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * 64


# --- failures before anything was sent


def _refused(monkeypatch) -> str:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{nobody.getsockname()[1]}"


def _unknown_name(monkeypatch) -> str:
    def lookup(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return "http://provider.test"


@pytest.mark.parametrize(
    ("address", "code"),
    [(_refused, "connection_refused"), (_unknown_name, "name_not_resolved")],
)
def test_unreachable_provider_is_unavailable(client, monkeypatch, address, code):
    with pytest.raises(Unavailable) as raised:
        client.request("POST", address(monkeypatch) + SECRET_PATH, json={})

    assert raised.value.code == code
    assert not [word for word in ("secret", "2015550123") if word in str(raised.value)]


def test_connect_timeout_is_unavailable(client):
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),
        pytest.raises(Unavailable, match="timed_out"),
    ):
        client.request("POST", f"http://127.0.0.1:{full.getsockname()[1]}", json={})


def test_nothing_is_sent_if_name_resolution_used_up_the_time(make_client, provider, monkeypatch):
    client = make_client(
        connect_timeout_seconds=0.001, read_timeout_seconds=0.001, total_timeout_seconds=0.001
    )
    lookup = socket.getaddrinfo

    def slow_lookup(*args: Any, **kwargs: Any) -> Any:
        threading.Event().wait(0.01)
        return lookup(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow_lookup)

    with pytest.raises(Unavailable, match="timed_out"):
        client.request("POST", provider.url, json={})
    assert provider.received == []


def test_request_on_a_broken_connection_is_unavailable(client, provider, monkeypatch):
    provider.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", then_close=True)
    client.request("POST", provider.url, json={})
    idle = _idle_socket(client)
    assert idle.recv(1) == b""
    idle.shutdown(socket.SHUT_WR)
    monkeypatch.setattr(connections._BoundedHTTPConnection, "is_connected", True)

    with pytest.raises(Unavailable, match="connection_failed"):
        client.request("POST", provider.url, json={})
    assert len(provider.received) == 1


def test_provider_without_tls_is_unavailable(client, provider):
    with pytest.raises(Unavailable, match="tls_failed"):
        client.request("POST", provider.url.replace("http:", "https:") + SECRET_PATH, json={})
    assert provider.received == []


def test_hanging_tls_handshake_is_unavailable(client):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(Unavailable, match="timed_out"),
    ):
        client.request("POST", f"https://127.0.0.1:{silent.getsockname()[1]}", json={})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A key and a certificate for 127.0.0.1, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls_provider(start_provider, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return start_provider(context)


def test_unverifiable_certificate_is_unavailable(client, tls_provider):
    with pytest.raises(Unavailable, match=r"tls_failed.*certificate verify failed"):
        client.request("POST", tls_provider.url, json={"secret": 1})
    assert tls_provider.received == []


def test_certificate_for_another_host_is_unavailable(
    client, tls_provider, certificate, monkeypatch
):
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))

    with pytest.raises(Unavailable, match="tls_failed"):
        client.request("POST", tls_provider.url.replace("127.0.0.1", "localhost"), json={})
    assert tls_provider.received == []


def test_limits_and_reuse_apply_over_tls(make_client, tls_provider, certificate, monkeypatch):
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))
    client = make_client(connect_timeout_seconds=5, total_timeout_seconds=5)

    for _ in range(3):
        assert client.request("POST", tls_provider.url, json={}).status == 200
    assert tls_provider.connections == 1

    tls_provider.hang()
    with pytest.raises(Uncertain, match="timed_out"):
        client.request("POST", tls_provider.url, json={})
