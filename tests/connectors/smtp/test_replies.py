"""How replies of an SMTP server are classified."""

from datetime import timedelta
from typing import Any

from connectors.base import (
    Misconfigured,
    Rejected,
    Unavailable,
    Uncertain,
)
from tests.connectors.smtp.mail import ANN, failure, mail

REPLIES = [
    ("550 5.1.1 x", Rejected, "5.1.1", True, None),
    ("550 5.1.2 x", Rejected, "5.1.2", True, None),
    ("553 5.1.3 x", Rejected, "5.1.3", True, None),
    ("551 5.1.6 x", Rejected, "5.1.6", True, None),
    ("556 5.1.10 x", Rejected, "5.1.10", True, None),
    ("550 5.2.1 x", Rejected, "5.2.1", True, None),
    ("552 5.2.2 x", Unavailable, "5.2.2", False, None),
    ("554 5.3.1 x", Unavailable, "5.3.1", False, None),
    ("554 5.4.5 x", Unavailable, "5.4.5", False, None),
    ("450 4.7.1 x", Unavailable, "4.7.1", False, timedelta(minutes=5)),
    ("451 4.7.1 x", Unavailable, "4.7.1", False, timedelta(minutes=5)),
    ("450 4.2.0 Greylisted, see", Unavailable, "4.2.0", False, timedelta(minutes=5)),
    ("451 Graylisting", Unavailable, "451", False, timedelta(minutes=5)),
    ("450 4.2.1 Busy", Unavailable, "4.2.1", False, None),
    ("452 4.5.3 x", Unavailable, "4.5.3", False, timedelta(seconds=1)),
    ("550 5.5.3 x", Unavailable, "5.5.3", False, timedelta(seconds=1)),
    ("452 x", Unavailable, "452", False, None),
    ("455 x", Unavailable, "455", False, None),
    ("421 4.3.2 x", Unavailable, "4.3.2", False, None),
    ("530 5.7.0 x", Misconfigured, "5.7.0", False, None),
    ("534 x", Misconfigured, "534", False, None),
    ("535 5.7.8 x", Misconfigured, "5.7.8", False, None),
    ("538 x", Misconfigured, "538", False, None),
    ("550 x", Rejected, "550", "soft_bounce", None),
    ("550 No such user", Rejected, "550", True, None),
    ("550 5.1.1 Sender IP address is blacklisted", Rejected, "5.1.1", False, None),
    ("550 5.2.1 Receiving mail at a rate that", Rejected, "5.2.1", False, None),
    ("550 5.4.1 Recipient address rejected: Access denied", Rejected, "5.4.1", True, None),
    ("550 5.1.351 x", Rejected, "5.1.351", True, None),
    ("550 5.7.1 x", Rejected, "5.7.1", False, None),
    ("554 5.7.26 x", Rejected, "5.7.26", False, None),
    ("552 5.3.4 x", Rejected, "5.3.4", False, None),
    ("500 x", Rejected, "500", False, None),
    ("555 5.5.4 x", Rejected, "5.5.4", False, None),
    ("550 4.7.1 class and digit disagree", Rejected, "550", False, None),
    ("450 5.1.1 class and digit disagree", Unavailable, "450", False, None),
    ("550 5.1.1x not a code", Rejected, "550", "soft_bounce", None),
    ("550-5.1.1 x\r\n550 5.1.1 y", Rejected, "5.1.1", True, None),
]


def test_each_reply_of_a_server_is_classified_by_code_and_stage(scripted: Any) -> None:
    failures = []
    for stage in ("MAIL", "RCPT", "DATA", "."):
        for reply, error, code, suppress, wait in REPLIES:
            _, connector = scripted({stage: reply})
            raised = failure(connector, mail())
            found: tuple[Any, ...] = (type(raised), raised.code)
            expected: tuple[Any, ...] = (error, code)
            if isinstance(raised, Rejected):
                # Only a reply to RCPT is certain to be about the recipient.
                found += (raised.suppress,)
                expected += (suppress if stage == "RCPT" else False,)
            if isinstance(raised, Unavailable):
                found += (raised.retry_after,)
                expected += (wait,)
            if found != expected:
                failures.append((stage, reply, found))
    assert not failures


def test_replies_at_unusual_stages_and_nonsense_are_classified(scripted: Any) -> None:
    table = [
        ("banner", "554 5.3.2 No service here", Unavailable, "5.3.2"),
        ("banner", "421 4.3.2 Shutting down", Unavailable, "4.3.2"),
        ("banner", "HTTP/1.1 400 Bad Request", Unavailable, "protocol_error"),
        ("banner", "250 Odd", Unavailable, "250"),
        ("EHLO", "550 5.7.1 No such client", Misconfigured, "5.7.1"),
        ("EHLO", "450 4.7.1 Greylisted", Unavailable, "4.7.1"),
        ("MAIL", "nonsense", Unavailable, "protocol_error"),
        ("RCPT", "999 nonsense", Unavailable, "protocol_error"),
        ("DATA", "250 Odd", Unavailable, "250"),
        (".", "nonsense", Uncertain, "protocol_error"),
        (".", "354 Odd", Uncertain, "354"),
    ]
    failures = []
    for stage, reply, error, code in table:
        _, connector = scripted({stage: reply})
        raised = failure(connector, mail())
        if (type(raised), raised.code) != (error, code):
            failures.append((stage, reply, raised))
    assert not failures


def test_the_detail_of_a_reply_is_short_and_without_addresses(scripted: Any) -> None:
    _, connector = scripted({"RCPT": f"550 5.1.1 <{ANN}>: \x1b[31munknown " + "x" * 400})
    error = failure(connector, mail())
    assert error.detail.startswith("550 5.1.1 <***>: [31munknown xxx")
    assert len(error.detail) == 200
