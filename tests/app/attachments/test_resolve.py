"""The files of a message, fetched from web servers."""

import socket
import threading
from datetime import timedelta
from typing import Any

import pytest

from app.attachments import resolve as attachments
from connectors.base import Attachment, OutboundMessage, Unavailable
from tests.app.attachments.files import CONTENT, UNKNOWN, URL, digest, file, refused, resolved
from tests.doubles.file_server import Answer, Asked, FileServer


def test_a_message_without_files_is_the_same() -> None:
    message = OutboundMessage(1, "uid-1", "sms", "+12015550123")
    assert attachments.resolve(message, frozenset()) is message


def test_files_keep_their_order_whether_fetched_or_not(server: FileServer) -> None:
    server.files = {f"/{n}": Answer(body=f"file {n}".encode()) for n in range(6)}
    links = [file(f"{server.url}/{n}", name=str(n)) for n in range(6)]
    inline = file(name="x", content=b"inline")
    found = resolved(*links[:3], inline, *links[3:])
    assert [one.name for one in found] == ["0", "1", "2", "x", "3", "4", "5"]
    assert [one.content for one in found] == [
        b"file 0", b"file 1", b"file 2", b"inline", b"file 3", b"file 4", b"file 5",
    ]  # fmt: skip


def test_an_empty_file_is_a_file(server: FileServer) -> None:
    server.files["/"] = Answer()
    [found] = resolved(file(f"{server.url}/"))
    assert found.content == b""


def test_nothing_is_told_to_the_server_but_what_is_wanted(server: FileServer) -> None:
    server.files["/a"] = Answer()
    resolved(file(f"{server.url}/a?size=1#page=2"))
    [asked] = server.asked
    assert (asked.method, asked.target) == ("GET", "/a?size=1")
    assert {name.lower() for name in asked.headers} == {"host", "user-agent", "accept-encoding"}


def test_up_to_four_files_of_a_message_are_fetched_at_once(server: FileServer) -> None:
    everybody_is_here = threading.Barrier(4)
    counting = threading.Lock()
    under_way, most = 0, 0

    def together(_asked: Asked) -> Answer:
        nonlocal under_way, most
        with counting:
            under_way += 1
            most = max(most, under_way)
        everybody_is_here.wait(10)
        with counting:
            under_way -= 1
        return Answer(body=b"x")

    server.files["/"] = together
    assert len(resolved(*[file(f"{server.url}/")] * 8)) == 8
    assert most == 4


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (201, "refused"),
        (204, "refused"),
        (304, "refused"),
        (400, "refused"),
        (401, "forbidden"),
        (403, "forbidden"),
        (404, "not_found"),
        (408, "unavailable"),
        (410, "not_found"),
        (416, "refused"),
        (425, "unavailable"),
        (429, "unavailable"),
        (500, "unavailable"),
        (502, "unavailable"),
        (503, "unavailable"),
    ],
)
def test_what_the_server_answers_decides(server: FileServer, status: int, code: str) -> None:
    server.files["/b"] = Answer(status)
    error = refused(file(content=b"x"), file(f"{server.url}/b"))
    assert error.code == f"attachment_{code}"
    assert error.detail == f"attachments[1]: its server answers {status}"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("soon", None)])
def test_the_wait_that_the_server_asks_for_is_kept(
    server: FileServer, header: str, seconds: int | None
) -> None:
    server.files["/"] = Answer(503, headers={"Retry-After": header})
    error = refused(file(f"{server.url}/"))
    assert isinstance(error, Unavailable)
    assert error.retry_after == (None if seconds is None else timedelta(seconds=seconds))


def test_a_server_that_hangs_is_waited_for_until_the_limit(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "FETCH_LIMIT", timedelta(milliseconds=200))
    server.files = {"/slow": server.hang, "/": Answer()}
    links = [file(f"{server.url}/slow")] * 9
    error = refused(file(f"{server.url}/"), *links)
    assert error.code == "attachment_unavailable"
    server.stopping.set()
    for thread in threading.enumerate():
        if thread.name.startswith("attachments"):
            thread.join()
    assert len(server.asked) <= 5, "what had not begun is not begun any more"


def test_a_file_that_breaks_off_is_none(server: FileServer) -> None:
    server.files["/"] = Answer(body=b"half", length_bytes=8)
    assert refused(file(f"{server.url}/")).code == "attachment_unavailable"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = refused(file(f"http://127.0.0.1:{port}/"))
    assert (error.code, "connection_refused" in error.detail) == ("attachment_unavailable", True)


def test_a_name_that_has_no_address_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = refused(file("https://files.example/a"))
    assert (error.code, "name_not_resolved" in error.detail) == ("attachment_unavailable", True)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://files.example/a",
        "file:///etc/passwd",
        "http://",
        "http://user:secret@files.example/",
        "http://.example/",
        "http://a b/",
        "http://[::z]/",
        "http://files.example:0/",
        "/a",
        "s3://x",
        "s3://Bucket/key",
        "s3://bucket",
        "s3://a_b/key",
        "s3://bucket/",
    ],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    assert refused(file(address)).code == "attachment_address"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.2", "127.2", "2130706434", "0x7f000002", "0177.0.0.2", "0.0.0.0", "[::1]",
        "[::ffff:127.0.0.2]", "169.254.169.254", "10.0.0.1", "100.64.0.1", "[fd00:ec2::254]",
    ],
)  # fmt: skip
def test_no_other_host_than_public_and_allowed_ones_is_asked(host: str) -> None:
    error = refused(file(f"http://{host}:1/"))
    assert error.code == "attachment_network"
    assert host not in error.detail


def test_without_the_setting_loopback_is_not_asked(
    server: FileServer, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("POSTROOM_ATTACHMENT_NETWORKS")
    assert refused(file(f"{server.url}/")).code == "attachment_network"
    assert server.asked == []


def test_redirects_are_followed_three_times(server: FileServer) -> None:
    for number, status in enumerate([301, 302, 307]):
        server.files[f"/{number}"] = Answer(status, headers={"Location": f"/{number + 1}"})
    server.files["/3"] = Answer(body=b"there")
    [found] = resolved(file(f"{server.url}/0"))
    assert found.content == b"there"
    server.files["/first"] = Answer(308, headers={"Location": f"{server.url}/0"})
    assert refused(file(f"{server.url}/first")).code == "attachment_refused"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "refused"),
        ({"Location": "http://[::z]/"}, "refused"),
        ({"Location": "http://127.0.0.2:1/"}, "network"),
        ({"Location": "//169.254.169.254/latest/meta-data"}, "network"),
        ({"Location": "file:///etc/passwd"}, "address"),
        ({"Location": "s3://bucket/key"}, "address"),
        ({"Location": "http://user:secret@127.0.0.1/"}, "address"),
        ({"Location": "/"}, "refused"),
    ],
)
def test_a_redirect_is_followed_only_to_where_the_first_address_might_lead(
    server: FileServer, headers: dict[str, str], code: str
) -> None:
    server.files["/"] = Answer(303, headers=headers)
    assert refused(file(f"{server.url}/")).code == f"attachment_{code}"


def test_a_redirect_does_not_leave_https(monkeypatch: pytest.MonkeyPatch) -> None:
    from connectors.toolkit.http.replies import Response

    moved = Response(302, {"Location": "http://files.example/b"})
    monkeypatch.setattr(attachments, "_request", lambda url: moved)
    error = refused(file("https://files.example/a"))
    assert error.code == "attachment_refused"
    assert "from https" in error.detail


@pytest.mark.parametrize(
    ("inline", "fetched", "fits"),
    [
        ([], [100], True),
        ([], [101], False),
        ([], [60, 40], True),
        ([], [60, 41], False),
        ([50], [50], True),
        ([50], [51], False),
        ([60, 40], [], True),
        ([60, 41], [], False),
    ],
)
def test_the_files_of_a_message_have_a_limit_together(
    server: FileServer,
    environment: pytest.MonkeyPatch,
    inline: list[int],
    fetched: list[int],
    fits: bool,
) -> None:
    environment.setenv("POSTROOM_ATTACHMENT_LIMIT_BYTES", "100")
    server.files = {f"/{size}": Answer(body=bytes(size)) for size in fetched}
    files = [file(content=bytes(size)) for size in inline]
    files += [file(f"{server.url}/{size}") for size in fetched]
    if fits:
        assert [len(one.content or b"") for one in resolved(*files)] == inline + fetched
    else:
        assert refused(*files).code == "attachment_too_large"


def test_a_file_without_end_is_read_no_further_than_the_limit(
    server: FileServer, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("POSTROOM_ATTACHMENT_LIMIT_BYTES", "1000")
    server.files["/"] = Answer(body=bytes(1001), length_bytes=10**12)
    assert refused(file(f"{server.url}/")).code == "attachment_too_large"


@pytest.mark.parametrize("sha256", [digest(b"bytes"), digest(b"bytes").upper(), None])
def test_a_file_has_its_checksum(server: FileServer, sha256: str | None) -> None:
    server.files["/"] = Answer(body=b"bytes")
    found = resolved(file(f"{server.url}/", sha256=sha256), file(content=b"bytes", sha256=sha256))
    assert [one.content for one in found] == [b"bytes", b"bytes"]


@pytest.mark.parametrize("inline", [True, False])
def test_a_file_with_another_checksum_is_refused(server: FileServer, inline: bool) -> None:
    server.files["/"] = Answer(body=b"bytes")
    link = file(f"{server.url}/", sha256=digest(b"others"))
    given = file(content=b"bytes", sha256=digest(b"others")) if inline else link
    assert refused(given).code == "attachment_checksum"


@pytest.mark.parametrize(
    ("name", "kept", "said", "found"),
    [
        ("a.pdf", "text/x-note", "image/png", "text/x-note"),
        ("a.pdf", UNKNOWN, "image/png", "image/png"),
        ("a.csv", UNKNOWN, "text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ("a.pdf", UNKNOWN, None, "application/pdf"),
        ("a.pdf", UNKNOWN, UNKNOWN, "application/pdf"),
        ("a.pdf", UNKNOWN, "Binary/Octet-Stream", "application/pdf"),
        ("a.pdf", UNKNOWN, "nonsense", "application/pdf"),
        ("a.pdf", UNKNOWN, "application/octet-stream; a=b", "application/pdf"),
        ("a", UNKNOWN, None, UNKNOWN),
        ("a", UNKNOWN, "", UNKNOWN),
    ],
)
def test_a_type_is_as_given_else_as_served_else_by_the_name(
    server: FileServer, name: str, kept: str, said: str | None, found: str
) -> None:
    server.files["/"] = Answer(headers={} if said is None else {"Content-Type": said})
    [fetched] = resolved(file(f"{server.url}/", name=name, kind=kept))
    assert fetched.content_type == found


def test_content_without_a_type_has_that_of_its_name() -> None:
    [found] = resolved(file(name="a.pdf", content=b"x"))
    assert found.content_type == "application/pdf"


def test_who_takes_addresses_alone_is_given_the_address_untouched(server: FileServer) -> None:
    link = file(f"{server.url}/a?signature=secret#b", name="a.png")
    [found] = resolved(link, sources=URL)
    assert found == Attachment("a.png", "image/png", url=link.url)
    assert server.asked == []


def test_who_takes_both_is_given_content(server: FileServer) -> None:
    server.files["/"] = Answer(body=b"x")
    [found] = resolved(file(f"{server.url}/"), sources=CONTENT | URL)
    assert found.content == b"x"


@pytest.mark.parametrize(
    ("attachment", "sources"),
    [
        (file(content=b"x"), URL),
        (file("https://files.example/a", sha256=digest(b"")), URL),
        (file(content=b"x"), frozenset()),
        (file("https://files.example/a"), frozenset()),
    ],
)
def test_a_file_that_cannot_be_passed_on_is_not_left_out(
    attachment: Attachment, sources: Any
) -> None:
    assert refused(attachment, sources=sources).code == "attachment_not_taken"


def test_no_part_of_an_address_is_told(
    server: FileServer, quiet_log: pytest.LogCaptureFixture
) -> None:
    for status in (302, 403, 500):
        server.files["/private"] = Answer(status, headers={"Location": "/private?token=moved"})
        error = refused(file(f"{server.url}/private?token=secret", name="salary.pdf"))
        told = f"{error} {quiet_log.text}"
        assert not [word for word in ("private", "secret", "moved", "salary") if word in told]
