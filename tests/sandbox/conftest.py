import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue

import pytest
import requests

from sandbox.client import RunningSandbox, running_sandbox


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[RunningSandbox]:
    with running_sandbox(magic_recipients=True) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: RunningSandbox) -> RunningSandbox:
    sandbox_process.clear()
    return sandbox_process


@pytest.fixture
def post(sandbox: RunningSandbox) -> Callable[..., requests.Response]:
    """Posts a message to the gateway, as a provider's client would."""

    def _post(
        to: str = "+12025550123", content: str = "Hello", *, key: str | None = None
    ) -> requests.Response:
        return sandbox.session.post(
            sandbox.gateway_url,
            json={"to": to, "content": content},
            headers={"Idempotency-Key": key} if key else {},
            timeout=30,
        )

    return _post


@pytest.fixture
def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Shop <shop@example.com>"
    message["To"] = "ann@example.org"
    message["Subject"] = "Grüße"
    message["Message-ID"] = "<1@example.com>"
    message.set_content("Guten Tag\n")
    return message


@dataclass(frozen=True, slots=True)
class Call:
    """One call that a provider made to us; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Listener:
    """The client's side of callbacks: answers with `statuses`, then always 204."""

    url: str
    statuses: list[int] = field(default_factory=list)
    calls: SimpleQueue[Call] = field(default_factory=SimpleQueue)

    def next_call(self) -> Call:
        return self.calls.get(timeout=30)


@pytest.fixture
def listener() -> Iterator[Listener]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            listener.calls.put(Call(self.command, self.path, headers, body))
            self.send_response(listener.statuses.pop(0) if listener.statuses else 204)
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        listener = Listener(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield listener
        server.shutdown()
        thread.join()
