import os
import signal
import smtplib
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sandbox.behaviour import MAGIC_MAILBOXES, MAGIC_NUMBERS
from sandbox.client import running_sandbox

ROOT = Path(__file__).parents[2]


def run_sandbox(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_sigterm_stops_the_sandbox_while_requests_hang(capfd: pytest.CaptureFixture[str]):
    with running_sandbox() as sandbox:
        sandbox.control("*", {"hang": True})
        address = urlsplit(sandbox.http_url)
        with (
            socket.create_connection((address.hostname, address.port)) as http,
            smtplib.SMTP(sandbox.smtp_host, sandbox.smtp_port) as smtp,
        ):
            http.sendall(b"GET /api/orders HTTP/1.1\r\n\r\n")
            smtp.ehlo()
            smtp.mail("shop@example.com")
            smtp.rcpt("ann@example.org")
            smtp.docmd("DATA")
            smtp.send("Subject: Hello\r\n\r\nHello\r\n.\r\n")
            while len(sandbox.received(outcome="hung")) < 2:
                pass

            sandbox.process.send_signal(signal.SIGTERM)

            assert sandbox.process.wait(5) == 0
            smtp.close()
    assert capfd.readouterr().err == ""


def test_sigint_stops_the_sandbox_and_magic_recipients_can_be_off():
    with running_sandbox() as sandbox:
        message = {"to": "+12025550503", "content": "Hello"}
        response = sandbox.session.post(sandbox.gateway_url, json=message, timeout=30)
        sandbox.process.send_signal(signal.SIGINT)

        assert sandbox.process.wait(5) == 0
    assert response.status_code == 202


def test_unusable_ports_are_reported():
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        failures = []
        for arguments, environment, error in [
            (["--http-port", taken, "--smtp-port", "0"], {}, f"{taken}): address already in use"),
            (["--http-port", "0", "--smtp-port", taken], {}, f"{taken}): address already in use"),
            ([], {"POSTROOM_SANDBOX_HTTP_PORT": taken}, f"{taken}): address already in use"),
            (
                ["--http-port", "0"],
                {"POSTROOM_SANDBOX_SMTP_PORT": "99999"},
                "'99999' is not a port",
            ),
            (["--http-port", "eighty"], {}, "'eighty' is not a port"),
        ]:
            ended = run_sandbox(*arguments, **environment)
            if ended.returncode == 0 or error not in ended.stderr or "Traceback" in ended.stderr:
                failures.append((arguments, environment, ended.stderr))

    assert not failures


def test_help_lists_every_magic_recipient():
    text = run_sandbox("--help").stdout

    names = [*MAGIC_NUMBERS, *(f"{mailbox}@" for mailbox in MAGIC_MAILBOXES)]
    assert [name for name in names if name not in text] == []
