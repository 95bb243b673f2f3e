"""Rejection of messages to suppressed addresses, and suppressing by hand."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, event

from app.errors import InvalidError
from app.fields import parse
from app.submission.submission import Submission
from app.submission.suppressions import (
    SuppressionRequest,
    check_suppressions,
    find_suppressed,
    suppress,
)

PHONE = "+18045551234"


def _message(channel: str, to: str, cc: Sequence[str] = (), bcc: Sequence[str] = ()) -> Submission:
    return Submission(channel=channel, agent="any", recipient=to, cc=[*cc], bcc=[*bcc])


def _suppress(connection: Connection, channel: str, address: str, **fields: str) -> int:
    request = parse(SuppressionRequest, {"channel": channel, "address": address, **fields})
    entry, _ = suppress(connection, request, by="ann")
    return entry.id


def test_address_is_suppressed_in_the_form_it_is_compared_in(connection: Connection) -> None:
    rows = [
        ("sms", "+1 (804) 555-1234", "phone", PHONE),
        ("email", "Ann <ANN@Example.com>", "email", "ann@example.com"),
        ("push", "Token:1", "push", "Token:1"),
    ]
    for channel, address, family, stored in rows:
        request = parse(SuppressionRequest, {"channel": channel, "address": address})
        entry, is_new = suppress(connection, request, by="ann")
        assert (entry.channel_family, entry.address, is_new) == (family, stored, True)
    again = parse(SuppressionRequest, {"channel": "mms", "address": PHONE})
    entry, is_new = suppress(connection, again, by="bob")
    assert (entry.reason, entry.created_by, is_new) == ("manual", "ann", False)


def test_message_to_a_suppressed_address_is_rejected_with_reason_and_remedy(
    connection: Connection,
) -> None:
    number = _suppress(connection, "email", "ann@example.com", reason="hard_bounce", detail="5.1.1")
    _suppress(connection, "sms", PHONE)
    ann = "Ann <ann@example.com>"
    rows = [
        (_message("sms", PHONE), ["to"]),
        (_message("mms", PHONE), ["to"]),
        (_message("email", ann), ["to"]),
        (_message("email", "x@y.zz", cc=["a@b.cd", "Ann <ANN@example.com>"]), ["cc[1]"]),
        (_message("email", ann, bcc=["ann@example.com"]), ["to", "bcc[0]"]),
        (_message("http", "ann@example.com"), []),
    ]
    found = find_suppressed(connection, [message for message, _ in rows])
    assert [[error.field for error in errors] for errors in found] == [fields for _, fields in rows]
    with pytest.raises(InvalidError) as caught:
        check_suppressions(connection, rows[2][0])
    [error] = caught.value.errors
    assert "ann@example.com has been suppressed since" in error.reason
    assert error.reason.endswith(
        f": hard_bounce (5.1.1). To send to it again, remove suppression {number}."
    )


def test_recipients_of_a_list_are_looked_up_in_one_statement(connection: Connection) -> None:
    statements: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(connection, "before_cursor_execute", record)
    find_suppressed(connection, [_message("email", "a@b.cd", cc=[f"{n}@b.cd"]) for n in range(20)])
    event.remove(connection, "before_cursor_execute", record)
    assert len(statements) == 1
