import email
import email.policy
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from connectors.base import (
    Attachment,
    Unavailable,
    Uncertain,
)
from tests.connectors.smtp.mail import CREDENTIALS, failure, mail
from tests.doubles.smtp_server import Action, MailServer, ScriptedServer, drip, drop, hang, late

STAGES = ["banner", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."]
SILENCE = {"read_timeout_seconds": 0.5}
TOTAL = {"connect_timeout_seconds": 1, "read_timeout_seconds": 1, "total_timeout_seconds": 1.5}


@pytest.mark.parametrize(
    ("stage", "fault", "limits", "code"),
    [
        *((stage, drop, {}, "disconnected") for stage in STAGES),
        *((stage, hang, SILENCE, "timed_out") for stage in STAGES[:-1]),
        (".", hang, TOTAL, "timed_out"),
        # Never silent for long, and never done.
        ("MAIL", drip, TOTAL, "timed_out"),
        (".", drip, TOTAL, "timed_out"),
    ],
)
def test_only_after_the_dot_is_it_uncertain(
    stage: str, fault: Action, limits: Any, code: str, scripted: Any
) -> None:
    script = {"AUTH": "235 Ok", stage: fault}
    server, connector = scripted(script, {**CREDENTIALS, **limits}, extensions=("AUTH PLAIN",))
    error = failure(connector, mail())
    assert (type(error), error.code) == (Uncertain if stage == "." else Unavailable, code)
    assert server.connections == 1


def test_a_server_that_leaves_amid_the_data_has_not_got_it(scripted: Any) -> None:
    def go_on_and_drop(dialogue: Any) -> None:
        dialogue.say("354 Go ahead")
        dialogue.sock.recv(1000)
        socket.close(dialogue.sock.detach())

    _, connector = scripted({"DATA": go_on_and_drop}, extensions=("8BITMIME",))
    big = Attachment("big.bin", "application/octet-stream", bytes(8_000_000))
    assert type(failure(connector, mail(attachments=(big,)))) is Unavailable


def test_the_last_word_may_take_longer_than_any_other(scripted: Any) -> None:
    server, connector = scripted({".": late("250 2.0.0 Ok", 0.9)}, {"read_timeout_seconds": 0.5})
    assert connector.send(mail()).code == "2.0.0"
    # And only the last: this limit is back in force on the same connection.
    server.script["MAIL"] = hang
    assert failure(connector, mail()).code == "timed_out"


def test_a_connection_serves_many_messages(start: Any, connect: Any) -> None:
    server = start(MailServer())
    connector = connect(server)
    for number in range(5):
        connector.send(mail(uid=f"018f-{number}"))
    assert (server.connections, len(server.mails)) == (1, 5)


@pytest.mark.parametrize(
    ("settings", "connections"),
    [({"messages_per_connection": 2}, 3), ({"idle_seconds": 1e-9}, 5)],
)
def test_a_connection_is_left_in_time(
    settings: Any, connections: int, start: Any, connect: Any
) -> None:
    server = start(MailServer())
    connector = connect(server, **settings)
    for _ in range(5):
        connector.send(mail())
    connector.close()
    assert (server.connections, len(server.mails)) == (connections, 5)


@pytest.mark.parametrize(
    "refusal", [{"MAIL": "550 No"}, {"RCPT": "550 No"}, {"DATA": "451 No"}, {".": "554 No"}]
)
def test_a_refusal_leaves_the_connection_usable(refusal: Any, scripted: Any) -> None:
    server, connector = scripted(refusal)
    failure(connector, mail())
    server.script.clear()
    connector.send(mail())
    assert server.connections == 1
    assert server.verbs.count("RSET") == 1


@pytest.mark.parametrize("fault", [drop, "421 4.4.2 Idle for too long", "nonsense"])
@pytest.mark.parametrize("stage", ["RSET", "MAIL", "RCPT", "DATA"])
def test_a_kept_connection_that_has_died_is_replaced(stage: str, fault: Any, scripted: Any) -> None:
    usual = "354 Go ahead" if stage == "DATA" else "250 2.0.0 Ok"
    script = {"RSET": [fault, usual]} if stage == "RSET" else {stage: [usual, fault, usual]}
    server, connector = scripted(script)
    connector.send(mail(uid="first"))
    connector.send(mail(uid="second"))
    assert server.connections == 2
    assert [b"<first@" in server.data[0], b"<second@" in server.data[1]] == [True, True]
    assert len(server.data) == 2


def test_a_kept_connection_that_dies_after_the_dot_is_not_tried_again(scripted: Any) -> None:
    server, connector = scripted({".": ["250 Ok", drop, "250 Ok"]})
    connector.send(mail())
    assert type(failure(connector, mail())) is Uncertain
    assert (server.connections, len(server.data)) == (1, 2)


def test_many_threads_share_no_connection_at_a_time(start: Any, connect: Any) -> None:
    server = start(MailServer())
    connector = connect(server)
    together = threading.Barrier(8)

    def send(thread: int) -> None:
        together.wait()
        for number in range(6):
            connector.send(mail(uid=f"{thread}-{number}"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(send, range(8)))
    arrived = [email.message_from_bytes(one.content)["Message-ID"] for one in server.mails]
    assert sorted(arrived) == sorted(f"<{t}-{n}@example.org>" for t in range(8) for n in range(6))
    assert server.connections <= 8


def test_a_connection_in_use_is_nobody_elses(scripted: Any) -> None:
    together = threading.Barrier(2, timeout=10)

    def wait_for_the_other(dialogue: Any) -> None:
        together.wait()
        dialogue.say("250 Ok")

    server, connector = scripted({".": ["250 Ok", wait_for_the_other]})
    connector.send(mail(uid="kept"))
    with ThreadPoolExecutor(2) as threads:
        sent = list(threads.map(lambda uid: connector.send(mail(uid=uid)), ["one", "two"]))
    assert [one.provider_message_id for one in sent] == ["<one@example.org>", "<two@example.org>"]
    assert (server.connections, len(server.data)) == (2, 3)


def test_close_takes_leave(start: Any, connect: Any) -> None:
    server = start(ScriptedServer({}))
    connector = connect(server)
    connector.send(mail())
    connector.close()
    server.left()
    assert server.verbs[-1] == "QUIT"
    # A send that was still under way at the close leaves none behind either.
    connector.send(mail())
    server.left()
    assert server.verbs[-1] == "QUIT"
