"""Conversations over HTTP: what was written, by both sides, and answering it."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection

from app import suppression
from app.auth import tokens as auth
from app.inbound import messages as inbox
from connectors.base import Attachment, Inbound
from tests.app.outbox.driver import Outbox

ANN, BOB, US = "+4915112345678", "+4915187654321", "+15005550006"
ANNS_MAIL, OUR_MAIL = "Ann <Ann@example.com>", "hello@example.org"

Hear = Callable[..., int]


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def say(outbox: Outbox) -> Callable[..., int]:
    """Send a message to Ann; answers its id."""

    def say(body: str = "Hello Ann", **values: Any) -> int:
        return outbox.one(**{"sender": US, "recipient": ANN, "body": body, **values})

    return say


@pytest.fixture
def hear(connection: Connection) -> Hear:
    """Get a message from Ann; answers its id."""

    def hear(body: str = "Hello", *, agent: str | None = "gateway", **fields: Any) -> int:
        usual = {"channel": "sms", "sender": ANN, "recipient": US, "body": body}
        usual |= {"key": str(uuid.uuid4())}
        return inbox.store(connection, agent, Inbound(**{**usual, **fields})).id

    return hear


@pytest.fixture
def letter(hear: Hear) -> Callable[..., int]:
    """Get an e-mail from Ann; answers its id."""

    def letter(body: str = "Hello", **fields: Any) -> int:
        usual = {"channel": "email", "sender": ANNS_MAIL, "recipient": OUR_MAIL, "agent": "smtp"}
        return hear(body, **{**usual, **fields})

    return letter


def _get(client: FlaskClient, path: str, **query: Any) -> dict[str, Any]:
    response = client.get(path, query_string=query)
    assert response.status_code == 200, response.text
    return dict(response.get_json())


def _ids(client: FlaskClient, **query: Any) -> list[int]:
    found = _get(client, "/api/conversations", **query)["conversations"]
    return [conversation["id"] for conversation in found]


def _bodies(client: FlaskClient, number: int = 1, **query: Any) -> list[str]:
    found = _get(client, f"/api/conversations/{number}/messages", **query)["messages"]
    return [message["body"] for message in found]


def _reply(client: FlaskClient, body: dict[str, Any], **headers: str) -> Any:
    return client.post("/api/conversations/1/messages", json=body, headers=headers)


def _replied(client: FlaskClient, **body: Any) -> dict[str, Any]:
    """The message that came of a reply in conversation 1."""
    accepted = _reply(client, {"body": "Hello Ann", **body})
    assert accepted.status_code == 202, accepted.text
    assert accepted.get_json()["conversation_id"] == 1
    return _get(client, accepted.headers["Location"])


# Listing


def test_a_conversation_shows_its_last_message_and_its_counts(client, say, hear) -> None:
    say("Hello Ann")
    hear("Who is this?")
    last = hear("x" * 500, agent="other")
    [shown] = _get(client, "/api/conversations")["conversations"]
    assert (shown["id"], shown["channel_family"]) == (1, "phone")
    assert shown["participants"] == sorted([ANN, US])
    assert (shown["message_count"], shown["unread_count"]) == (3, 2)
    message = shown["last_message"]
    assert (message["id"], message["direction"], message["status"]) == (last, "inbound", "received")
    assert (message["from"], message["to"], message["channel"]) == (ANN, US, "sms")
    assert message["preview"] == "x" * 160
    assert _get(client, "/api/conversations/1") == shown


def test_the_conversation_with_the_newest_message_comes_first(client, say) -> None:
    for recipient in (ANN, BOB, ANN, "+12025550123"):
        say(recipient=recipient)
    assert _ids(client) == [3, 1, 2]
    say(recipient=BOB)
    assert _ids(client) == [2, 3, 1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"participant": ANN}, [4, 1]),
        ({"participant": "+49 151 12345678"}, [4, 1]),
        ({"participant": US}, [4, 2, 1]),
        ({"participant": "ANN@EXAMPLE.COM"}, [3]),
        ({"participant": "Ann <ann@example.com>"}, [3]),
        ({"participant": "nobody"}, []),
        ({"participant": ANN, "channel": "email"}, []),
        ({"channel": "email"}, [3]),
        ({"channel": "mms"}, [2, 1]),
        ({"channel": "http"}, [4]),
        ({"unread": "true"}, [3, 1]),
        ({"unread": "false"}, [4, 3, 2, 1]),
        ({"unread": "true", "channel": "sms"}, [1]),
        ({"unread": "true", "participant": BOB}, []),
        ({"limit": 3}, [4, 3, 2]),
    ],
    ids=str,
)
def test_conversations_are_found_by_filter(client, say, hear, letter, query, found) -> None:
    hear()
    say(recipient=BOB)
    letter()
    say(channel="http", agent="api", recipient=ANN, sender=US)
    assert _ids(client, **query) == found


def test_a_plus_sign_that_was_not_escaped_is_understood(client, say) -> None:
    say()
    assert client.get(f"/api/conversations?participant={ANN}").get_json()["conversations"]


@pytest.mark.parametrize("query", [{}, {"participant": US}, {"unread": "true"}], ids=str)
def test_pages_neither_repeat_nor_skip(client, hear, query) -> None:
    people = [f"+1202555012{number}" for number in range(5)]
    for sender in people + people[:2]:
        hear(sender=sender)
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        given = {"limit": 2, **query, **({"cursor": cursor} if cursor else {})}
        page = _get(client, "/api/conversations", **given)
        seen += [conversation["id"] for conversation in page["conversations"]]
        cursor = page["next_cursor"]
        hear(sender=f"+1202555014{len(seen)}")
    assert seen == [2, 1, 5, 4, 3]


def test_a_conversation_whose_messages_are_gone_is_empty_and_not_listed(client, outbox) -> None:
    outbox.insert(status="sent", conversation_id=outbox.conversation())
    outbox.execute("DELETE FROM messages")
    assert _ids(client) == []
    assert _ids(client, participant="x") == []
    shown = _get(client, "/api/conversations/1")
    assert (shown["message_count"], shown["unread_count"], shown["last_message"]) == (0, 0, None)
    assert _bodies(client) == []


# What was written


def test_a_transcript_holds_both_directions_in_order(client, say, hear) -> None:
    say("1")
    hear("2", attachments=(Attachment("cat.png", "image/png", content=b"abc"),))
    say("3")
    say("elsewhere", recipient=BOB)
    hear("4", agent=None)
    assert _bodies(client) == ["1", "2", "3", "4"]
    assert _bodies(client, order="newest") == ["4", "3", "2", "1"]
    shown = _get(client, "/api/conversations/1/messages")["messages"]
    assert [(one["direction"], one["status"]) for one in shown] == [
        ("outbound", "outbox"),
        ("inbound", "received"),
    ] * 2
    assert [len(one["attachments"]) for one in shown] == [0, 1, 0, 0]
    [file] = shown[1]["attachments"]
    assert (file["filename"], file["content_type"], file["size_bytes"]) == (
        "cat.png", "image/png", 3,
    )  # fmt: skip


def test_a_transcript_shows_subjects_and_the_beginning_of_long_bodies(client, letter) -> None:
    number = letter("x" * 70_000, subject="Hi")
    [shown] = _get(client, "/api/conversations/1/messages")["messages"]
    assert (shown["subject"], len(shown["body"])) == ("Hi", 65_536)
    assert len(_get(client, f"/api/messages/{number}")["body"]) == 70_000


@pytest.mark.parametrize(
    ("order", "bodies"), [("oldest", list("abcde")), ("newest", list("edcba"))]
)
def test_pages_of_a_transcript_go_on_where_the_one_before_ended(client, say, order, bodies) -> None:
    for body in "abcde":
        say(body)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": 2, "order": order, **({"cursor": cursor} if cursor else {})}
        page = _get(client, "/api/conversations/1/messages", **query)
        seen += [message["body"] for message in page["messages"]]
        cursor = page["next_cursor"]
    assert seen == bodies


def test_the_cursor_of_one_order_is_none_of_the_other(client, say) -> None:
    for body in "ab":
        say(body)
    path = "/api/conversations/1/messages"
    cursor = _get(client, path, limit=1)["next_cursor"]
    refused = client.get(path, query_string={"cursor": cursor, "order": "newest"})
    assert refused.status_code == 422
    assert [error["field"] for error in refused.get_json()["errors"]] == ["cursor"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("unread=1", "unread"),
        ("unread=", "unread"),
        ("channel=fax", "channel"),
        ("participant=%00", "participant"),
        ("order=newest", "order"),
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(client, query, field) -> None:
    response = client.get(f"/api/conversations?{query}")
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/messages"),
        ("POST", "/messages"),
        ("POST", "/read"),
    ],
)
@pytest.mark.parametrize("number", [1, 0, 10**18 - 1, 2**63])
def test_there_is_no_conversation_that_nobody_began(client, method, path, number) -> None:
    body = {"json": {}} if method == "POST" else {}
    response = client.open(f"/api/conversations/{number}{path}", method=method, **body)
    assert response.status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "", "read"),
        ("GET", "/1", "read"),
        ("GET", "/1/messages", "read"),
        ("POST", "/1/messages", "submit"),
        ("POST", "/1/read", "submit"),
    ],
)
def test_each_needs_its_scope(
    anonymous: FlaskClient, connection, say, method, path, scope: auth.Scope
) -> None:
    say()
    others = [one for one in auth.SCOPES if one != scope]
    token = auth.create_token(connection, name="others", scopes=others)
    headers = {"X-API-Token": token}
    body = {"json": {}} if method == "POST" else {}
    path = f"/api/conversations{path}"
    assert anonymous.open(path, method=method, headers=headers, **body).status_code == 403
    assert anonymous.open(path, method=method, **body).status_code == 401


# Reading


def test_what_was_read_is_not_unread(client, say, hear) -> None:
    numbers = [hear(), say(), hear(), hear()]

    def mark(**json: Any) -> Any:
        return client.post("/api/conversations/1/read", json=json).get_json()["unread_count"]

    assert _get(client, "/api/conversations/1")["unread_count"] == 3
    assert mark(up_to=numbers[1]) == 2
    assert mark(up_to=numbers[0]) == 2, "what was read once stays so"
    assert client.post("/api/conversations/1/read").get_json()["unread_count"] == 0
    assert _ids(client, unread="true") == []
    hear()
    assert _get(client, "/api/conversations/1")["unread_count"] == 1


def test_what_comes_later_is_unread_however_far_somebody_claims_to_have_read(client, hear) -> None:
    hear()
    client.post("/api/conversations/1/read", json={"up_to": 2**63 - 1})
    hear()
    assert _get(client, "/api/conversations/1")["unread_count"] == 1


@pytest.mark.parametrize("up_to", [0, -1, "1", 2**63, None, True, 1.5])
def test_a_place_that_is_none_is_refused(client, hear, up_to) -> None:
    hear()
    response = client.post("/api/conversations/1/read", json={"up_to": up_to})
    assert response.status_code == 422
    assert _get(client, "/api/conversations/1")["unread_count"] == 1


# Answering


def test_a_reply_goes_back_the_way_that_the_message_came(client, hear) -> None:
    hear()
    message = _replied(client, metadata={"ticket": 7}, reference="t-7")
    assert (message["to"], message["from"]) == (ANN, US)
    assert (message["channel"], message["agent"], message["status"]) == ("sms", "gateway", "outbox")
    assert (message["body"], message["submitted_by"]) == ("Hello Ann", "shop")
    assert (message["metadata"], message["reference"]) == ({"ticket": 7}, "t-7")
    assert _bodies(client) == ["Hello", "Hello Ann"]


def test_before_anybody_wrote_back_a_reply_follows_what_was_sent(client, say) -> None:
    say()
    message = _replied(client)
    assert (message["to"], message["from"], message["agent"]) == (ANN, US, "gateway")


def test_a_conversation_without_a_sender_of_ours_goes_on_without_one(client, outbox) -> None:
    outbox.one(channel="push", agent="api", recipient="token", sender=None)
    outbox.insert(
        channel="push", agent="api", recipient="api", sender="token", direction="inbound",
        status="received", conversation_id=1,
    )  # fmt: skip
    message = _replied(client)
    assert (message["channel"], message["to"], message["from"]) == ("push", "token", None)


@pytest.mark.parametrize("came_by", [None, "gone", "smtp"])
def test_where_the_way_it_came_leads_nowhere_the_one_out_or_the_routes_decide(
    client, say, hear, came_by
) -> None:
    hear(agent=came_by)
    assert _replied(client)["agent"] == "gateway"


def test_a_file_makes_an_mms_of_it(client, hear) -> None:
    hear()
    assert _replied(client, attachments=["https://example.com/a.png"])["channel"] == "mms"
    hear(channel="mms")
    assert _replied(client)["channel"] == "sms"
    assert _replied(client, type="mms")["channel"] == "mms"


def test_a_reply_to_a_letter_stays_in_its_thread(client, letter) -> None:
    letter(
        subject="Order\t4711",
        provider_message_id="<b@example.com>",
        headers={"Message-ID": "<b@example.com>", "References": "<a@example.org> junk <b@x"},
    )
    message = _replied(client, html="<p>Hello Ann</p>")
    assert (message["to"], message["from"]) == ("Ann <Ann@example.com>", OUR_MAIL)
    assert (message["subject"], message["agent"]) == ("Re: Order 4711", "smtp")
    assert message["headers"] == {
        "In-Reply-To": "<b@example.com>",
        "References": "<a@example.org> <b@example.com>",
    }


@pytest.mark.parametrize(
    ("subject", "given", "replied"),
    [
        ("Order", {}, "Re: Order"),
        ("RE: Order", {}, "RE: Order"),
        (None, {}, None),
        ("\n", {}, None),
        ("x" * 2000, {}, "Re: " + "x" * 994),
        ("a\r\nBcc: b", {}, "Re: a Bcc: b"),
        ("Order", {"subject": "Other"}, "Other"),
        ("Order", {"subject": None}, "Re: Order"),
    ],
    ids=str,
)
def test_the_subject_is_that_of_what_is_answered(client, letter, subject, given, replied) -> None:
    letter(subject=subject)
    assert _replied(client, **given)["subject"] == replied


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"provider_message_id": "<b@x.org>"}, {"In-Reply-To": "<b@x.org>"}),
        ({"provider_message_id": "b@x.org"}, {"In-Reply-To": "<b@x.org>"}),
        ({"headers": {"message-id": " <b@x.org>\r\n"}}, {"In-Reply-To": "<b@x.org>"}),
        (
            {"headers": {"Message-Id": "<b@x.org>", "In-Reply-To": "<a@x.org>"}},
            {"In-Reply-To": "<b@x.org>", "References": "<a@x.org> <b@x.org>"},
        ),
        ({"provider_message_id": "message-3"}, None),
        ({"headers": {"Message-ID": "<b\r\nBcc: x@y.zz>"}}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_thread_is_taken_from_what_names_it(client, letter, fields, headers) -> None:
    letter(**fields)
    expected = {} if headers is None else {"References": headers["In-Reply-To"], **headers}
    assert _replied(client)["headers"] == expected


def test_a_long_thread_keeps_its_first_and_its_last_letters(client, letter) -> None:
    ids = [f"<{number:0200}@example.com>" for number in range(9)]
    letter(headers={"Message-ID": ids[-1], "References": " ".join(ids[:-1])})
    assert _replied(client)["headers"]["References"].split() == [ids[0], *ids[-3:]]


def test_headers_of_the_thread_that_are_given_hold(client, letter) -> None:
    letter(provider_message_id="<b@x.org>")
    message = _replied(client, headers={"in-reply-to": "<a@x.org>", "X-A": "b"})
    assert message["headers"] == {
        "References": "<b@x.org>", "in-reply-to": "<a@x.org>", "X-A": "b",
    }  # fmt: skip


def test_a_reply_is_written_under_the_name_that_was_used_before(client, say, letter) -> None:
    say(channel="email", agent="smtp", recipient=ANNS_MAIL, sender=f"Shop <{OUR_MAIL}>")
    letter()
    assert _replied(client)["from"] == f"Shop <{OUR_MAIL}>"


def test_the_profile_is_that_of_the_message(client, connection, agents_file) -> None:
    from app.agents import agents

    agents_file.write_text(agents_file.read_text() + "[agents.gateway.profiles.second]\n")
    agents.cache_clear()
    usual = {"channel": "sms", "sender": ANN, "recipient": US}
    inbox.store(connection, "gateway", Inbound(key="1", **usual), "second")
    assert _replied(client, agent="gateway", profile="second")["profile"] == "second"
    inbox.store(connection, "gateway", Inbound(key="2", **usual), "gone")
    assert _replied(client)["profile"] == "second"


def test_whatever_is_given_holds_within_the_conversation(client, letter) -> None:
    letter()
    message = _replied(client, to="Miss Ann <ann@EXAMPLE.com>", **{"from": f"Shop <{OUR_MAIL}>"})
    assert (message["to"], message["from"]) == ("Miss Ann <ann@example.com>", f"Shop <{OUR_MAIL}>")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"body": "hi", "to": BOB}, "to"),
        ({"body": "hi", "to": US}, "from"),
        ({"body": "hi", "from": BOB}, "from"),
        ({"body": "hi", "from": ANN}, "from"),
        ({"body": "hi", "channel": "http"}, "channel"),
        ({"body": "hi", "channel": "fax"}, "channel"),
        ({"body": "hi", "agent": "smtp"}, "agent"),
        ({"body": "hi", "profile": "none"}, "profile"),
        ({"body": "hi", "profile": None}, "profile"),
        ({"body": "hi", "html": "hi"}, "html"),
        ({"body": "hi", "headers": None}, "headers"),
        ({"body": "hi", "colour": "red"}, "colour"),
        ({"body": ""}, "body"),
        ({}, "body"),
        ([], ""),
    ],
    ids=str,
)
def test_a_reply_that_cannot_be_meant_is_refused(client, hear, outbox, body, field) -> None:
    hear()
    refused = _reply(client, body)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.get_json()["errors"]] == [field]
    assert outbox.execute("SELECT count(*) FROM messages").scalar_one() == 1


def test_who_has_no_address_cannot_be_answered(client, hear) -> None:
    hear(sender="MyBank")
    refused = _reply(client, {"body": "hi"})
    assert refused.status_code == 409
    assert refused.get_json()["detail"].startswith("The last message came from MyBank: ")


def test_where_all_messages_are_gone_nobody_can_be_answered(client, hear, outbox) -> None:
    hear()
    outbox.execute("DELETE FROM messages")
    assert _reply(client, {"body": "hi"}).status_code == 409


def test_who_opted_out_is_not_answered(client, connection, hear) -> None:
    hear("STOP")
    refused = _reply(client, {"body": "hi"})
    assert refused.status_code == 422
    assert [error["field"] for error in refused.get_json()["errors"]] == ["to"]
    [entry] = suppression.find(connection, [("phone", ANN)]).values()
    assert str(entry) == refused.get_json()["errors"][0]["reason"]


def test_the_same_key_answers_the_same_and_sends_once(client, hear) -> None:
    hear()
    first = _reply(client, {"body": "hi"}, **{"Idempotency-Key": "k"})
    hear("and another thing", agent="other")
    again = _reply(client, {"body": "hi"}, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.get_json()) == (202, first.get_json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert _bodies(client) == ["Hello", "hi", "and another thing"]


def test_replies_count_as_submissions(environment, database, redis_url, connection, hear) -> None:
    from app import settings
    from app.api.factory import create_app

    environment.setenv("POSTROOM_SUBMIT_RATE_LIMITS", '["1/hour"]')
    settings.settings.cache_clear()
    hear()
    token = auth.create_token(connection, name="slow", scopes=["submit"])
    client = create_app().test_client()
    answers = [
        client.post(path, json={"body": "hi"}, headers={"X-API-Token": token}).status_code
        for path in ("/api/conversations/1/messages",) * 2
    ]
    assert answers == [202, 429]
