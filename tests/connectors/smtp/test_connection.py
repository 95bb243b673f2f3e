import base64
import email
import email.policy
from typing import Any

from aiosmtpd.smtp import AuthResult

from connectors.base import Accepted, Misconfigured, Unavailable
from tests.connectors.sending import outcome
from tests.connectors.smtp.mail import ANN, BOB, CREDENTIALS, CY, failure, mail
from tests.doubles.smtp_authority import Authority
from tests.doubles.smtp_server import MailServer, ScriptedServer


def test_mail_arrives_complete_with_each_kind_of_security(
    authority: Authority, start: Any, connect: Any
) -> None:
    for security in ("plain", "starttls", "tls"):
        server = start(
            MailServer(
                None if security == "plain" else authority.server(),
                implicit=security == "tls",
                require_starttls=security == "starttls",
            )
        )
        connector = connect(server, security=security, ca_file=authority.file)

        accepted = connector.send(
            mail(
                subject="Grüße",
                html="<p>Hello</p>",
                cc=(BOB,),
                bcc=(CY,),
                reply_to="re@example.org",
            )
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


def test_ehlo_names_the_local_address_or_the_configured_name(scripted: Any) -> None:
    server, connector = scripted({})
    connector.send(mail())
    assert server.commands[0] == "ehlo [127.0.0.1]"
    server, connector = scripted({}, {"helo_name": "post.example.org"})
    connector.send(mail())
    assert server.commands[0] == "ehlo post.example.org"


def test_server_without_ehlo_is_greeted_with_helo(scripted: Any) -> None:
    server, connector = scripted({"EHLO": "502 5.5.1 Not implemented"})
    connector.send(mail())
    assert server.verbs == ["EHLO", "HELO", "MAIL", "RCPT", "DATA"]
    assert "MAIL FROM:<shop@example.org>" in server.commands


def test_no_mail_is_sent_if_the_server_refuses_the_session(scripted: Any) -> None:
    starttls = {"security": "starttls", **CREDENTIALS}
    failures = []
    for settings, script, extensions, expected in [
        (starttls, {}, ("8BITMIME",), (Misconfigured, "no_starttls")),
        (starttls, {"EHLO": "502 No"}, (), (Misconfigured, "no_starttls")),
        (starttls, {"STARTTLS": "501 5.5.4 No"}, ("STARTTLS",), (Misconfigured, "5.5.4")),
        (starttls, {"STARTTLS": "454 4.7.0 Later"}, ("STARTTLS",), (Unavailable, "4.7.0")),
        ({}, {"banner": "554 5.3.2 Closed"}, ("SIZE",), (Unavailable, "5.3.2")),
        ({}, {"banner": "SSH-2.0"}, ("SIZE",), (Unavailable, "protocol_error")),
        ({}, {"EHLO": "550 5.7.1 Not you"}, ("SIZE",), (Misconfigured, "5.7.1")),
        ({"security": "tls"}, {}, ("SIZE",), (Unavailable, "tls_failed")),
    ]:
        server, connector = scripted(script, settings, extensions=extensions)
        error = failure(connector, mail())
        if (type(error), error.code) != expected or {"AUTH", "MAIL"} & set(server.verbs):
            failures.append((script, error, server.verbs))
    assert not failures


def test_mail_is_not_sent_to_a_server_with_an_invalid_certificate(
    authority: Authority, start: Any, connect: Any
) -> None:
    failures = []
    for reason, host, days, ca_file in [
        ("of another host", "other.example.net", 2, authority.file),
        ("expired", "127.0.0.1", 0, authority.file),
        ("of an unknown authority", "127.0.0.1", 2, None),
    ]:
        for security in ("starttls", "tls"):
            server = start(MailServer(authority.server(host, days), implicit=security == "tls"))
            error = failure(connect(server, security=security, ca_file=ca_file), mail())
            is_expected = isinstance(error, Unavailable) and error.code == "tls_failed"
            if server.mails or not is_expected or "CERTIFICATE_VERIFY_FAILED" not in error.detail:
                failures.append((reason, security, error))
    assert not failures


def test_unreachable_server_is_unavailable(start: Any, connect: Any) -> None:
    server = start(ScriptedServer({}))
    refused = connect(server)
    server.stop()
    server.stop = lambda: None
    error = failure(refused, mail())
    assert (type(error), error.code) == (Unavailable, "connection_refused")
    error = failure(connect(server, host="nowhere.invalid"), mail())
    assert (type(error), error.code) == (Unavailable, "name_not_resolved")


def test_login_uses_a_mechanism_that_the_server_offers(
    authority: Authority, start: Any, connect: Any
) -> None:
    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        is_valid = (data.login, data.password) == (b"user@example.com", b"s3cret")
        return AuthResult(success=is_valid, handled=False)

    for offered in ({"PLAIN"}, {"LOGIN"}, {"PLAIN", "LOGIN"}):
        server = start(
            MailServer(
                authority.server(),
                require_starttls=True,
                auth_required=True,
                authenticator=check,
                auth_exclude_mechanism={"PLAIN", "LOGIN"} - offered,
            )
        )
        settings = {
            "security": "starttls",
            "ca_file": authority.file,
            "username": "user@example.com",
        }
        connect(server, password="s3cret", **settings).send(mail())
        assert len(server.mails) == 1
        error = failure(connect(server, password="wr0ng-one", **settings), mail())
        assert (type(error), error.code) == (Misconfigured, "5.7.8")
        without_login = connect(server, **{**settings, "username": None})
        assert isinstance(failure(without_login, mail()), Misconfigured)
        assert len(server.mails) == 1


def test_cram_md5_matches_the_example_of_rfc_2195(scripted: Any) -> None:
    challenge = "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
    response = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
    server, connector = scripted(
        {"AUTH": f"334 {challenge}", response: "235 2.7.0 Welcome"},
        CREDENTIALS,
        extensions=("AUTH CRAM-MD5",),
    )
    connector.send(mail())
    assert server.commands[1:3] == ["AUTH CRAM-MD5", response]


def test_failed_login_is_tried_once_and_does_not_reveal_credentials(scripted: Any) -> None:
    secret = base64.b64encode(b"\0tim\0tanstaaftanstaaf").decode()
    failures = []
    for reply, mechanisms, expected in [
        ("535 5.7.8 Bad {}", "PLAIN LOGIN", (Misconfigured, "5.7.8")),
        ("534 5.7.9 Too weak {}", "PLAIN", (Misconfigured, "5.7.9")),
        ("538 Encryption needed {}", "PLAIN", (Misconfigured, "538")),
        ("530 5.7.0 TLS first {}", "PLAIN", (Misconfigured, "5.7.0")),
        ("504 {}", "PLAIN", (Misconfigured, "504")),
        ("454 4.7.0 Later {}", "PLAIN", (Unavailable, "4.7.0")),
        ("432 4.7.12 Change it {}", "PLAIN", (Unavailable, "4.7.12")),
        ("421 4.7.0 Too many", "PLAIN", (Unavailable, "4.7.0")),
        ("334 not base64", "CRAM-MD5", (Misconfigured, "no_auth")),
        ("235 Ok", "GSSAPI", (Misconfigured, "no_auth")),
        ("235 Ok", "", (Misconfigured, "no_auth")),
    ]:
        # A server may quote what it did not accept.
        script = {"AUTH": reply.format(secret)}
        extensions = (f"AUTH {mechanisms}", "SIZE") if mechanisms else ("SIZE",)
        server, connector = scripted(script, CREDENTIALS, extensions=extensions)
        result = outcome(connector, mail())
        is_expected = not isinstance(result, Accepted) and (type(result), result.code) == expected
        is_secret = secret not in str(result) and "tanstaaf" not in str(result)
        if not is_expected or not is_secret or server.verbs.count("AUTH") > 1:
            failures.append((reply, result, server.verbs))
    assert not failures
