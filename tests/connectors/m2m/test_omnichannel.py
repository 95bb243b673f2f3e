import json

import pytest

from connectors.base import Misconfigured, Rejected, Unavailable
from tests.connectors.m2m.wire import OMNICHANNEL, RECIPIENT


def test_the_omnichannel_form_is_that_of_the_service(at_provider, make_message, provider):
    provider.answer(200, b'{"messages": [{"internal_id": "77", "error_code": 0}]}')

    accepted = at_provider(**OMNICHANNEL).send(make_message(recipient=RECIPIENT, body="Привет"))

    assert accepted.provider_message_id == "77"
    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/mts/messages")
    assert received.headers["Authorization"] == "Basic Z3dfbG9naW46Z3dfcGFzc3dvcmQ="
    assert received.headers["Content-Type"] == "application/json"
    assert json.loads(received.body) == {
        "messages": [
            {
                "content": {"short_text": "Привет"},
                "to": [{"msisdn": "79161234567", "message_id": "018f-uid-1"}],
            }
        ],
        "options": {"from": {"sms_address": "RELAY"}},
    }


@pytest.mark.parametrize(
    ("outcome", "error", "code"),
    [
        ({"internal_id": "0", "error_code": 12, "error_message": "no"}, Rejected, "12"),
        ({"internal_id": "5", "error_code": 12}, Rejected, "12"),
        ({"internal_id": "0", "error_code": "12"}, Rejected, "12"),
        ({"internal_id": "0", "error_code": 0}, Rejected, "not_accepted"),
        ({"internal_id": 0}, Rejected, "not_accepted"),
    ],
)
def test_each_message_has_its_own_outcome_in_a_call_that_succeeded(
    at_provider, make_message, provider, outcome, error, code
):
    provider.answer(200, json.dumps({"messages": [outcome]}).encode())

    with pytest.raises(error) as raised:
        at_provider(**OMNICHANNEL).send(make_message(recipient=RECIPIENT))

    assert raised.value.code == code


@pytest.mark.parametrize(
    ("body", "message_id"),
    [
        (b'{"messages": [{"internal_id": "a-1", "error_code": 0}]}', "a-1"),
        (b'{"messages": [{"internal_id": 12345678901234567890}]}', "12345678901234567890"),
        (b'{"messages": [{"internal_id": null, "error_code": null}]}', None),
        (b'{"messages": ["?"]}', None),
        (b'{"messages": []}', None),
        (b'{"messages": {}}', None),
        (b'{"messages": [{"internal_id"', None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_a_success_of_omnichannel_is_accepted_with_whatever_id_is_legible(
    at_provider, make_message, provider, body, message_id
):
    provider.answer(200, body)

    accepted = at_provider(**OMNICHANNEL).send(make_message(recipient=RECIPIENT))

    assert (accepted.provider_message_id, accepted.code) == (message_id, "200")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (302, Misconfigured),
        (400, Rejected),
        (401, Misconfigured),
        (403, Misconfigured),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_any_other_status_of_omnichannel_is_read_as_http_has_it(
    at_provider, make_message, provider, status, outcome
):
    provider.answer(status, b'{"code": 7, "message": "because"}')

    with pytest.raises(outcome) as raised:
        at_provider(**OMNICHANNEL).send(make_message(recipient=RECIPIENT))

    assert (raised.value.code, raised.value.detail) == (str(status), "because")
