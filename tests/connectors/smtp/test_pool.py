import email
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from connectors.base import Attachment, Unavailable, Uncertain
from tests.connectors.smtp.mail import CREDENTIALS, failure, mail
from tests.doubles.smtp_server import MailServer, ScriptedServer, drip, drop, hang, late

STAGES = ["banner", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."]
READ_TIMEOUT = {"read_timeout_seconds": 0.2}
TOTAL_TIMEOUT = {
    "connect_timeout_seconds": 1,
    "read_timeout_seconds": 1,
    "total_timeout_seconds": 1,
}


def test_only_a_failure_after_the_content_leaves_it_uncertain(scripted: Any) -> None:
    failures = []
    for stage, fault, limits, code in [
        *((stage, drop, {}, "connection_failed") for stage in STAGES),
        *((stage, hang, READ_TIMEOUT, "timed_out") for stage in STAGES[:-1]),
        (".", hang, TOTAL_TIMEOUT, "timed_out"),
        # Sends data all the time, but never a complete reply.
        ("MAIL", drip, TOTAL_TIMEOUT, "timed_out"),
        (".", drip, TOTAL_TIMEOUT, "timed_out"),
        # A reply that neither accepts nor refuses.
        (".", "354 Go on", {}, "354"),
    ]:
        script = {"AUTH": "235 Ok", stage: fault}
        server, connector = scripted(script, {**CREDENTIALS, **limits}, extensions=("AUTH PLAIN",))
        error = failure(connector, mail())
        expected = (Uncertain if stage == "." else Unavailable, code, 1)
        if (type(error), error.code, server.connections) != expected:
            failures.append((stage, fault, error, server.connections))
    assert not failures


def test_connection_lost_within_the_content_is_unavailable(scripted: Any) -> None:
    def accept_and_drop(dialogue: Any) -> None:
        dialogue.say("354 Go ahead")
        dialogue.sock.recv(1000)
        socket.close(dialogue.sock.detach())

    _, connector = scripted({"DATA": accept_and_drop}, extensions=("8BITMIME",))
    big = Attachment("big.bin", "application/octet-stream", bytes(8_000_000))
    assert type(failure(connector, mail(attachments=(big,)))) is Unavailable


def test_only_the_final_reply_may_take_longer_than_the_read_timeout(scripted: Any) -> None:
    server, connector = scripted({".": late("250 2.0.0 Ok", 0.9)}, {"read_timeout_seconds": 0.5})
    assert connector.send(mail()).code == "2.0.0"
    server.script["MAIL"] = hang
    assert failure(connector, mail()).code == "timed_out"


def test_connections_are_reused_within_their_limits(server: MailServer, connect: Any) -> None:
    for settings, connections in [
        ({}, 1),
        ({"messages_per_connection": 2}, 3),
        ({"idle_seconds": 1e-9}, 5),
    ]:
        server.reset()
        connector = connect(**settings)
        for _ in range(5):
            connector.send(mail())
        connector.close()
        assert (server.connections, len(server.mails)) == (connections, 5), settings


def test_connection_is_reused_after_a_refusal(scripted: Any) -> None:
    for stage, reply in [
        ("MAIL", "550 No"),
        ("RCPT", "550 No"),
        ("DATA", "451 No"),
        (".", "554 No"),
    ]:
        server, connector = scripted({stage: reply})
        failure(connector, mail())
        server.script.clear()
        connector.send(mail())
        assert (server.connections, server.verbs.count("RSET")) == (1, 1), stage


def test_dead_idle_connection_is_replaced(scripted: Any) -> None:
    failures = []
    for stage in ("RSET", "MAIL", "RCPT", "DATA"):
        for fault in (drop, "421 4.4.2 Idle for too long", "nonsense"):
            reply = "354 Go ahead" if stage == "DATA" else "250 2.0.0 Ok"
            script = {"RSET": [fault, reply]} if stage == "RSET" else {stage: [reply, fault, reply]}
            server, connector = scripted(script)
            connector.send(mail(uid="first"))
            connector.send(mail(uid="second"))
            arrived = [email.message_from_bytes(data)["Message-ID"] for data in server.data]
            expected = (2, ["<first@example.org>", "<second@example.org>"])
            if (server.connections, arrived) != expected:
                failures.append((stage, fault, server.connections, arrived))
    assert not failures


def test_mail_is_not_repeated_if_an_idle_connection_dies_after_the_content(scripted: Any) -> None:
    server, connector = scripted({".": ["250 Ok", drop, "250 Ok"]})
    connector.send(mail())
    assert type(failure(connector, mail())) is Uncertain
    assert (server.connections, len(server.data)) == (1, 2)


def test_many_threads_send_each_mail_once(server: MailServer, connect: Any) -> None:
    connector = connect()
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


def test_connection_in_use_is_not_shared(scripted: Any) -> None:
    together = threading.Barrier(2, timeout=10)

    def wait_for_the_other(dialogue: Any) -> None:
        together.wait()
        dialogue.say("250 Ok")

    server, connector = scripted({".": ["250 Ok", wait_for_the_other]})
    connector.send(mail(uid="first"))
    with ThreadPoolExecutor(2) as threads:
        sent = list(threads.map(lambda uid: connector.send(mail(uid=uid)), ["one", "two"]))
    assert [one.provider_message_id for one in sent] == ["<one@example.org>", "<two@example.org>"]
    assert (server.connections, len(server.data)) == (2, 3)


def test_close_sends_quit_on_every_connection(start: Any, connect: Any) -> None:
    server = start(ScriptedServer({}))
    connector = connect(server)
    connector.send(mail())
    connector.close()
    server.wait_until_disconnected()
    assert server.verbs[-1] == "QUIT"
    # A message that is still being sent when the pool closes leaves no connection behind.
    connector.send(mail())
    server.wait_until_disconnected()
    assert server.verbs[-1] == "QUIT"
