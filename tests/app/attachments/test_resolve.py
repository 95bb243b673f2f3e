"""Giving a connector the files of a message."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from app.attachments import resolve as attachments
from connectors.base import Attachment, OutboundMessage
from tests.app.attachments.files import CONTENT, URL, digest, file, rejection, resolved
from tests.doubles.file_server import Answer, FileServer, Request


def test_message_without_files_is_returned_unchanged() -> None:
    message = OutboundMessage(1, "uid-1", "sms", "+12015550123")
    assert attachments.resolve(message, frozenset()) is message


def test_files_keep_their_order_whether_fetched_or_not(server: FileServer) -> None:
    server.files = {f"/{n}": Answer(body=f"file {n}".encode()) for n in range(6)}
    server.files["/3"] = Answer()
    links = [file(f"{server.url}/{n}", name=str(n)) for n in range(6)]
    inline = file(name="x.pdf", content=b"inline")
    found = resolved(*links[:3], inline, *links[3:])
    assert [one.name for one in found] == ["0", "1", "2", "x.pdf", "3", "4", "5"]
    assert [one.content for one in found] == [
        b"file 0", b"file 1", b"file 2", b"inline", b"", b"file 4", b"file 5",
    ]  # fmt: skip
    assert found[3].content_type == "application/pdf"


def test_served_type_applies_to_a_file_without_a_type(server: FileServer) -> None:
    server.files["/"] = Answer(headers={"Content-Type": "image/png"})
    declared = file(f"{server.url}/", name="a.pdf", kind="text/x-note")
    unknown = file(f"{server.url}/", name="a.pdf")
    types = [found.content_type for found in resolved(declared, unknown)]
    assert types == ["text/x-note", "image/png"]


def test_up_to_four_files_of_a_message_are_fetched_at_once(server: FileServer) -> None:
    four_requests = threading.Barrier(4)
    lock = threading.Lock()
    in_progress = peak = 0

    def together(_request: Request) -> Answer:
        nonlocal in_progress, peak
        with lock:
            in_progress += 1
            peak = max(peak, in_progress)
        four_requests.wait(10)
        with lock:
            in_progress -= 1
        return Answer(body=b"x")

    server.files["/"] = together
    assert len(resolved(*[file(f"{server.url}/")] * 8)) == 8
    assert peak == 4


def test_server_that_hangs_is_abandoned_at_the_time_limit(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "FETCH_TIMEOUT", timedelta(milliseconds=200))
    server.files = {"/slow": server.hang, "/": Answer()}
    links = [file(f"{server.url}/slow")] * 9
    error = rejection(file(f"{server.url}/"), *links)
    assert error.code == "attachment_unavailable"
    server.stopping.set()
    for thread in threading.enumerate():
        if thread.name.startswith("attachments"):
            thread.join()
    assert len(server.requests) <= 5, "fetches that had not started are cancelled"


def test_error_names_the_file_by_its_position(server: FileServer) -> None:
    error = rejection(file(content=b"x"), file(f"{server.url}/none"))
    assert error.code == "attachment_not_found"
    assert error.detail == "attachments[1]: the file server responded with status 404"


def test_files_of_a_message_share_one_size_limit(
    server: FileServer, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("POSTROOM_ATTACHMENT_LIMIT_BYTES", "100")
    rows: list[tuple[list[int], list[int], bool]] = [
        ([], [100], True),
        ([], [101], False),
        ([], [60, 40], True),
        ([], [60, 41], False),
        ([50], [50], True),
        ([50], [51], False),
        ([60, 40], [], True),
        ([60, 41], [], False),
    ]
    failures: list[object] = []
    for inline, fetched, fits in rows:
        server.files = {f"/{size}": Answer(body=bytes(size)) for size in fetched}
        files = [file(content=bytes(size)) for size in inline]
        files += [file(f"{server.url}/{size}") for size in fetched]
        if fits:
            sizes = [len(one.content or b"") for one in resolved(*files)]
            failures += [] if sizes == inline + fetched else [(inline, fetched, sizes)]
        elif (code := rejection(*files).code) != "attachment_too_large":
            failures.append((inline, fetched, code))
    assert not failures


def test_checksum_is_checked_for_content_and_fetched_files(server: FileServer) -> None:
    server.files["/"] = Answer(body=b"bytes")
    for sha256 in (digest(b"bytes"), digest(b"bytes").upper(), None):
        link, inline = file(f"{server.url}/", sha256=sha256), file(content=b"bytes", sha256=sha256)
        assert [one.content for one in resolved(link, inline)] == [b"bytes", b"bytes"]
    other = digest(b"others")
    for wrong in (file(f"{server.url}/", sha256=other), file(content=b"bytes", sha256=other)):
        assert rejection(wrong).code == "attachment_checksum"


def test_connector_that_takes_addresses_only_gets_the_address_unchanged(
    server: FileServer,
) -> None:
    link = file(f"{server.url}/a?signature=secret#b", name="a.png")
    [found] = resolved(link, sources=URL)
    assert found == Attachment("a.png", "image/png", url=link.url)
    assert server.requests == []


def test_connector_that_takes_both_gets_content(server: FileServer) -> None:
    server.files["/"] = Answer(body=b"x")
    [found] = resolved(file(f"{server.url}/"), sources=CONTENT | URL)
    assert found.content == b"x"


def test_file_that_the_connector_cannot_send_is_rejected() -> None:
    nothing: frozenset[Any] = frozenset()
    rows = [
        (file(content=b"x"), URL),
        (file("https://files.example/a", sha256=digest(b"")), URL),
        (file(content=b"x"), nothing),
        (file("https://files.example/a"), nothing),
    ]
    codes = {rejection(attachment, sources=sources).code for attachment, sources in rows}
    assert codes == {"attachment_not_supported"}
