import hashlib
import json
from html import escape

import pytest

from connectors.base import Misconfigured, Rejected, Unavailable, Uncertain
from tests.connectors.m2m.wire import KEY, OMNICHANNEL, PAIR, RECIPIENT, fault_12


@pytest.mark.parametrize("settings", [KEY, PAIR, OMNICHANNEL], ids=["key", "pair", "omnichannel"])
def test_an_sms_is_sent_with_either_service_and_identity(
    at_sandbox, make_message, sandbox, settings
):
    text = 'Привет & <b>"до" свидания</b> ]]> 🙂\nВторая строка'

    accepted = at_sandbox(**settings).send(make_message(recipient=RECIPIENT, body=text))

    [record] = sandbox.received(kind="m2m")
    assert (record["to"], record["content"]) == (RECIPIENT, text)
    assert (accepted.provider_message_id, accepted.code) == (record["message_id"], "200")


@pytest.mark.parametrize("settings", [KEY, OMNICHANNEL], ids=["soap", "omnichannel"])
@pytest.mark.parametrize(
    ("sender", "of_message", "naming"),
    [
        ("RELAY", None, "RELAY"),
        ("RELAY", "Shop & Co", "Shop & Co"),
        ("RELAY", "+79160000000", "79160000000"),
    ],
)
def test_the_sender_of_the_message_wins_over_that_of_the_settings(
    at_sandbox, make_message, sandbox, settings, sender, of_message, naming
):
    connector = at_sandbox(**{**settings, "sender": sender})

    connector.send(make_message(recipient=RECIPIENT, sender=of_message))

    assert sandbox.received(kind="m2m")[0]["naming"] == naming


@pytest.mark.parametrize("settings", [KEY, OMNICHANNEL], ids=["soap", "omnichannel"])
@pytest.mark.parametrize(
    "recipient", ["+4915112345678", "+7916123456", "+791612345678", "whatsapp:+79161234567", "ya"]
)
def test_a_number_that_is_not_russian_is_refused_before_it_is_sent(
    at_provider, make_message, provider, settings, recipient
):
    with pytest.raises(Rejected, match="recipient_not_allowed") as raised:
        at_provider(**settings).send(make_message(recipient=recipient))

    assert recipient not in str(raised.value)
    assert provider.received == []


@pytest.mark.parametrize(
    ("settings", "secrets"),
    [
        (KEY, ["sandbox-m2m-api-key"]),
        (PAIR, ["gw_password", hashlib.md5(b"gw_password").hexdigest()]),
        (OMNICHANNEL, ["gw_password", "Z3dfbG9naW46Z3dfcGFzc3dvcmQ="]),
    ],
    ids=["key", "pair", "omnichannel"],
)
@pytest.mark.parametrize("status", [200, 401, 500])
@pytest.mark.parametrize("shape", ["soap", "json", "text"])
def test_no_error_quotes_secrets_recipient_or_content(
    at_provider, make_message, provider, settings, secrets, status, shape
):
    message = make_message(recipient=RECIPIENT, body="Code <4711>")
    connector = at_provider(**settings)
    echo = " ".join([*secrets, "79161234567", "Code <4711>"])
    bodies = {
        "soap": fault_12(escape(echo)).decode(),
        "json": json.dumps(
            {"message": echo, "messages": [{"error_code": 1, "error_message": echo}]}
        ),
        "text": escape(echo),
    }
    provider.answer(status, bodies[shape].encode())

    told = ""
    try:
        connector.send(message)
    except (Rejected, Misconfigured, Unavailable) as error:
        told = str(error)

    for hidden in (*secrets, "79161234567", "4711"):
        assert hidden not in told


@pytest.mark.parametrize("settings", [KEY, OMNICHANNEL], ids=["soap", "omnichannel"])
@pytest.mark.parametrize("misbehaviour", ["hang", "reset"])
def test_a_service_that_takes_a_message_and_says_nothing_leaves_it_uncertain(
    at_provider, make_message, provider, settings, misbehaviour
):
    getattr(provider, misbehaviour)()

    with pytest.raises(Uncertain):
        at_provider(**settings).send(make_message(recipient=RECIPIENT))
    assert len(provider.received) == 1


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"api_key": "other"}, "INCORRECT_PASSWORD"),
        ({**PAIR, "password": "other"}, "INCORRECT_PASSWORD"),
        ({**OMNICHANNEL, "password": "other"}, "401"),
    ],
)
def test_wrong_credentials_are_a_misconfiguration(at_sandbox, make_message, settings, fault):
    with pytest.raises(Misconfigured) as raised:
        at_sandbox(**settings).send(make_message(recipient=RECIPIENT))

    assert raised.value.code == fault
