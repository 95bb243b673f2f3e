"""Hostile e-mail is read in linear time, or not parsed if it exceeds a limit."""

import time
from collections.abc import Callable

from connectors.toolkit.mail.incoming import read_mail

SIZES = (30_000, 300_000)
MAX_GROWTH = 20
"""For ten times the size. Linear time grows by 10, quadratic time by 100."""
MIN_SECONDS = 0.3
"""What takes less is not compared, since the small sizes are too short to be measured."""


def repeat(head: str, pump: str, tail: str = "") -> Callable[[int], bytes]:
    """Return an e-mail of any size."""
    return lambda size: f"{head}{pump * (size // len(pump))}{tail}".encode("utf-8", "replace")


def header(name: str, pump: str) -> Callable[[int], bytes]:
    return repeat(f"{name}: ", pump, "\n\nHi\n")


def headers(name: str, pump: str) -> Callable[[int], bytes]:
    """Return an e-mail with as many headers as fit, each of at most 28,000 characters."""

    def bomb(size: int) -> bytes:
        line = f"{name}: {pump * (min(size, 28_000) // len(pump))}\n"
        return (line * (size // len(line)) + "\nHi\n").encode()

    return bomb


def nested(size: int) -> bytes:
    levels = range(size // 60)
    return "".join(
        f"Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n" for level in levels
    ).encode()


MULTIPART = "Content-Type: multipart/mixed; boundary=b\n\n"
REPORT = (
    "Content-Type: multipart/report; boundary=b\n\n--b\n"
    "Content-Type: message/{}\n\nReporting-MTA: dns; x\n\n"
)
BLOCK = "Final-Recipient: rfc822; a@example.com\nAction: failed\nStatus: 5.1.1\n\n"
EXIM = "X-Failed-Recipients: "

BOMBS = {
    "quotes in a parameter": header("Content-Type", 'text/plain; a=";;;;'),
    "semicolons in a parameter": repeat('Content-Type: text/plain; a="', ";", "\n\nHi\n"),
    "parameters": header("Content-Type", "a=b; "),
    "continued parameters": repeat("Content-Disposition: x", "; filename*0*=a", "\n\nHi\n"),
    "charset of a parameter": repeat(
        "Content-Disposition: x; filename*=punycode''a-", "0", "\n\nHi\n"
    ),
    "empty parts": repeat(MULTIPART, "--b\n\n"),
    "attachments": repeat(MULTIPART, "--b\nContent-Disposition: attachment\n\n\n"),
    "nested parts": nested,
    "nested messages": repeat("", "Content-Type: message/rfc822\n\n"),
    "lines in nested parts": lambda size: nested(min(size, 60_000) // 10) + b"\n" * size,
    "headers": repeat("", "A: b\n", "\nHi\n"),
    "recipients": headers("To", "a@example.com, "),
    "comments": headers("To", "(a) "),
    "open comments": headers("To", "("),
    "quotes": headers("To", '"a" '),
    "open brackets": headers("From", "<"),
    "commas": headers("To", ","),
    "groups": headers("To", "a:b@c;"),
    "backslashes": headers("To", '"\\'),
    "encoded words": headers("Subject", "=?utf-8?q?a?= "),
    "open encoded words": headers("Subject", "=?a?q?x"),
    "empty encoded words": headers("Subject", "=?"),
    "base64 words": headers("Subject", "=?utf-8?b?YQ?="),
    "folded lines": repeat("Subject: a", "\n b", "\n\nHi\n"),
    "blank headers": repeat("Subject: a", "\r \r", "\n\nHi\n"),
    "dates": header("Date", "1 "),
    "message ids": header("References", "<a@b> "),
    "open message ids": header("References", "<a"),
    "punycode": repeat("Content-Type: text/plain; charset=punycode\n\na-", "0"),
    "utf-7": repeat("Content-Type: text/plain; charset=utf-7\n\n", "+AGE-+"),
    "iso-2022-jp": repeat("Content-Type: text/plain; charset=iso-2022-jp\n\n", "\x1b$B"),
    "uuencoded": repeat("Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n", "#0V%T\n"),
    "quoted-printable": repeat("Content-Transfer-Encoding: quoted-printable\n\n", "=\n"),
    "base64": repeat("Content-Transfer-Encoding: base64\n\n", "A=\n"),
    "delivery status": repeat(REPORT.format("delivery-status"), BLOCK, "--b--\n"),
    "global delivery status": repeat(REPORT.format("global-delivery-status"), BLOCK, "--b--\n"),
    "empty blocks": repeat(REPORT.format("delivery-status"), "a: b\n\n", "--b--\n"),
    "fields": repeat(REPORT.format("delivery-status") + BLOCK.strip() + "\n", "a: b\n", "--b--\n"),
    "diagnostics": repeat(
        REPORT.format("delivery-status"), BLOCK[:-1] + "Diagnostic-Code: 5.1.1 a@example.com\n\n"
    ),
    "returned headers": repeat(
        f"{MULTIPART}--b\nContent-Type: text/rfc822-headers\n\n", "A: b\n", "--b--\n"
    ),
    "complaints": repeat(REPORT.format("feedback-report"), "Original-Rcpt-To: a@b.example\n"),
    "failed recipients": lambda size: (
        EXIM
        + ", ".join(f"a{number}@b.example" for number in range(size // 40))
        + "\n\n"
        + "".join(f"  a{number}@b.example\n    no\n" for number in range(size // 40))
    ).encode(),
    "failures in words": repeat("\n\nHi. This is the x\n\n", "<a@b.example>:\nno\n\n"),
    "dashes": repeat("\n\nHi. This is the x\n\n", "--- \n"),
}


def seconds(mail: bytes) -> float:
    """Return the CPU time of reading an e-mail."""
    started = time.thread_time()
    assert read_mail(mail)
    return time.thread_time() - started


def grows_too_fast(bomb: Callable[[int], bytes]) -> bool:
    small, large = (seconds(bomb(size)) for size in SIZES)
    return large > max(MAX_GROWTH * small, MIN_SECONDS)


def test_hostile_mail_is_read_in_linear_time() -> None:
    slow = [
        name
        for name, bomb in BOMBS.items()
        if all(grows_too_fast(bomb) for _ in range(3))  # a measurement may be disturbed
    ]
    assert not slow
