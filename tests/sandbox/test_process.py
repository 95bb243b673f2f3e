import os
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from sandbox.client import running_sandbox

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_even_while_clients_hang(
    signum: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with running_sandbox() as sandbox:
        sandbox.control("*", {"hang": True})
        address = urlsplit(sandbox.http_url)
        body = b'{"to": "+12025550123", "content": "Hello"}'
        with (
            socket.create_connection((address.hostname, address.port)) as http,
            smtplib.SMTP(sandbox.smtp_host, sandbox.smtp_port) as smtp,
        ):
            http.sendall(
                b"POST /gateway HTTP/1.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            smtp.ehlo()
            smtp.mail("shop@example.com")
            smtp.rcpt("ann@example.org")
            smtp.docmd("DATA")
            smtp.send("Subject: Hello\r\n\r\nHello\r\n.\r\n")
            while len(sandbox.received(outcome="hung")) < 2:
                pass

            sandbox.process.send_signal(signum)

            assert sandbox.process.wait(5) == 0
            smtp.close()
    assert capfd.readouterr().err == ""


def test_without_magic_recipients_all_are_alike() -> None:
    with running_sandbox() as sandbox:
        message = {"to": "+12025550503", "content": "Hello"}
        response = sandbox.session.post(sandbox.gateway_url, json=message, timeout=30)

    assert response.status_code == 202


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-ins-auth-key": "open sesame"}, 202),
        ({"api-key": "open sesame"}, 202),
        ({"api-key": "open"}, 401),
        ({"x-ins-auth-key": "schlüssel".encode()}, 401),
        ({}, 401),
    ],
)
def test_the_gateway_asks_for_its_key(
    keyed_gateway_url: str, headers: dict[str, str], status: int
) -> None:
    message = {"to": "+12025550123", "content": "Hello"}
    response = requests.post(keyed_gateway_url, json=message, headers=headers, timeout=30)

    assert response.status_code == status


@pytest.fixture(scope="module")
def keyed_gateway_url() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("POSTROOM_SANDBOX_KEY", "open sesame")
        with running_sandbox() as sandbox:
            yield sandbox.gateway_url


@pytest.mark.parametrize(
    ("arguments", "environment", "error"),
    [
        ("--http-port {taken} --smtp-port 0", {}, "{taken}): address already in use"),
        ("--http-port 0 --smtp-port {taken}", {}, "{taken}): address already in use"),
        ("", {"POSTROOM_SANDBOX_HTTP_PORT": "{taken}"}, "{taken}): address already in use"),
        ("--http-port 0", {"POSTROOM_SANDBOX_SMTP_PORT": "99999"}, "'99999'"),
        ("--http-port eighty", {}, "'eighty'"),
    ],
)
def test_a_port_that_cannot_be_had_is_said_by_name(
    arguments: str, environment: dict[str, str], error: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "sandbox", *arguments.format(taken=taken).split()],
            cwd=ROOT,
            env=os.environ | {name: text.format(taken=taken) for name, text in environment.items()},
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )

    assert ended.returncode != 0
    assert error.format(taken=taken) in ended.stderr
    assert "Traceback" not in ended.stderr
