import base64
import email
import email.policy
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult

from connectors.base import (
    Misconfigured,
    Unavailable,
)
from tests.connectors.smtp.mail import ANN, BOB, CREDENTIALS, CY, failure, mail
from tests.doubles.smtp_authority import Authority
from tests.doubles.smtp_server import MailServer, ScriptedServer


@pytest.mark.parametrize("security", ["plain", "starttls", "tls"])
def test_a_mail_arrives_whole(
    security: str, authority: Authority, start: Any, connect: Any
) -> None:
    tls = None if security == "plain" else authority.server()
    server = start(
        MailServer(tls, implicit=security == "tls", require_starttls=security == "starttls")
    )
    connector = connect(server, security=security, ca_file=authority.file)

    accepted = connector.send(
        mail(subject="Grüße", html="<p>Hello</p>", cc=(BOB,), bcc=(CY,), reply_to="re@example.org")
    )

    [envelope] = server.mails
    parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert envelope.mail_from == "shop@example.org"
    assert envelope.rcpt_tos == [ANN, BOB, CY]
    assert parsed["Subject"] == "Grüße"
    assert parsed["Message-ID"] == accepted.provider_message_id == "<018f-1@example.org>"
    assert CY.encode() not in envelope.content
    assert (accepted.code, accepted.detail) == ("2.0.0", "250 2.0.0 Ok: queued as 4BxQ")
    assert accepted.refused == {}


def test_it_introduces_itself_by_its_address_or_the_name_it_is_given(scripted: Any) -> None:
    server, connector = scripted({})
    connector.send(mail())
    assert server.commands[0] == "ehlo [127.0.0.1]"
    server, connector = scripted({}, {"helo_name": "post.example.org"})
    connector.send(mail())
    assert server.commands[0] == "ehlo post.example.org"


def test_a_server_that_knows_no_ehlo_is_greeted_the_old_way(scripted: Any) -> None:
    server, connector = scripted({"EHLO": "502 5.5.1 Not implemented"})
    connector.send(mail())
    assert server.verbs == ["EHLO", "HELO", "MAIL", "RCPT", "DATA"]
    assert "MAIL FROM:<shop@example.org>" in server.commands


@pytest.mark.parametrize(
    ("script", "extensions", "error"),
    [
        ({}, ("8BITMIME",), Misconfigured),
        ({"EHLO": "502 No"}, (), Misconfigured),
        ({"STARTTLS": "501 5.5.4 No"}, ("STARTTLS",), Misconfigured),
        ({"STARTTLS": "454 4.7.0 Later"}, ("STARTTLS",), Unavailable),
    ],
)
def test_without_starttls_nothing_is_told_to_the_server(
    script: Any, extensions: Any, error: Any, scripted: Any
) -> None:
    server, connector = scripted(
        script, {"security": "starttls", **CREDENTIALS}, extensions=extensions
    )
    assert type(failure(connector, mail())) is error
    assert not {"AUTH", "MAIL"} & set(server.verbs)


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("host", "days", "trusted"),
    [("other.example.net", 2, True), ("127.0.0.1", 0, True), ("127.0.0.1", 2, False)],
    ids=["of another host", "expired", "of an unknown authority"],
)
def test_a_bad_certificate_gets_no_mail(
    *,
    security: str,
    host: str,
    days: int,
    trusted: bool,
    authority: Authority,
    start: Any,
    connect: Any,
) -> None:
    server = start(MailServer(authority.server(host, days), implicit=security == "tls"))
    connector = connect(server, security=security, ca_file=authority.file if trusted else None)
    error = failure(connector, mail())
    assert (type(error), error.code) == (Unavailable, "tls_failed")
    assert "CERTIFICATE_VERIFY_FAILED" in error.detail
    assert server.mails == []


def test_a_server_that_speaks_no_tls_is_unavailable(scripted: Any) -> None:
    _, connector = scripted({}, {"security": "tls"})
    assert (failure(connector, mail())).code == "tls_failed"


def test_nobody_listening_or_no_such_host_is_unavailable(start: Any, connect: Any) -> None:
    server = start(ScriptedServer({}))
    refused = connect(server)
    server.stop()
    server.stop = lambda: None
    error = failure(refused, mail())
    assert (type(error), error.code) == (Unavailable, "connection_refused")
    error = failure(connect(server, host="nowhere.invalid"), mail())
    assert (type(error), error.code) == (Unavailable, "name_not_resolved")


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN", "PLAIN LOGIN"])
def test_it_logs_in_within_tls(
    mechanisms: str, authority: Authority, start: Any, connect: Any
) -> None:
    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        right = (data.login, data.password) == (b"user@example.com", b"s3cret")
        return AuthResult(success=right, handled=False)

    others = {"PLAIN", "LOGIN"} - set(mechanisms.split())
    server = start(
        MailServer(
            authority.server(),
            require_starttls=True,
            auth_required=True,
            authenticator=check,
            auth_exclude_mechanism=others,
        )
    )
    settings = {"security": "starttls", "ca_file": authority.file, "username": "user@example.com"}
    connect(server, password="s3cret", **settings).send(mail())
    assert len(server.mails) == 1
    error = failure(connect(server, password="wr0ng-one", **settings), mail())
    assert (type(error), error.code) == (Misconfigured, "5.7.8")
    assert isinstance(
        failure(connect(server, **{**settings, "username": None}), mail()), Misconfigured
    )
    assert len(server.mails) == 1


def test_cram_md5_follows_the_example_of_rfc_2195(scripted: Any) -> None:
    challenge = "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
    response = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
    server, connector = scripted(
        {"AUTH": f"334 {challenge}", response: "235 2.7.0 Welcome"},
        CREDENTIALS,
        extensions=("AUTH CRAM-MD5",),
    )
    connector.send(mail())
    assert server.commands[1:3] == ["AUTH CRAM-MD5", response]


@pytest.mark.parametrize(
    ("reply", "extensions", "error", "code"),
    [
        ("535 5.7.8 Bad {}", ("AUTH PLAIN LOGIN",), Misconfigured, "5.7.8"),
        ("534 5.7.9 Too weak {}", ("AUTH PLAIN",), Misconfigured, "5.7.9"),
        ("538 Encryption needed {}", ("AUTH PLAIN",), Misconfigured, "538"),
        ("530 5.7.0 TLS first {}", ("AUTH PLAIN",), Misconfigured, "5.7.0"),
        ("504 {}", ("AUTH PLAIN",), Misconfigured, "504"),
        ("454 4.7.0 Later {}", ("AUTH PLAIN",), Unavailable, "4.7.0"),
        ("432 4.7.12 Change it {}", ("AUTH PLAIN",), Unavailable, "4.7.12"),
        ("421 4.7.0 Too many", ("AUTH PLAIN",), Unavailable, "4.7.0"),
        ("235 Ok", ("AUTH GSSAPI",), Misconfigured, "no_auth"),
        ("235 Ok", (), Misconfigured, "no_auth"),
    ],
)
def test_a_refused_login_concerns_the_agent_and_tells_no_secret(
    reply: str, extensions: Any, error: Any, code: str, scripted: Any
) -> None:
    # A server may quote what it did not like.
    secret = base64.b64encode(b"\0tim\0tanstaaftanstaaf").decode()
    server, connector = scripted(
        {"AUTH": reply.format(secret)}, CREDENTIALS, extensions=(*extensions, "SIZE")
    )
    raised = failure(connector, mail())
    assert (type(raised), raised.code) == (error, code)
    assert secret not in str(raised)
    assert "tanstaaf" not in str(raised)
    assert server.verbs.count("AUTH") <= 1
