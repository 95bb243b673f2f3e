from typing import Any

from connectors.base import Uncertain
from connectors.m2m.connector import IDS_PER_REQUEST, M2m
from tests.connectors.m2m.polling import requested_ids, sent
from tests.connectors.m2m.soap_bodies import API_KEY, LOGIN, OMNICHANNEL, RECIPIENT, statuses
from tests.connectors.sending import outcome

UNDELIVERABLE = "+79990000301"


def test_sms_is_sent_with_every_service_and_kind_of_credentials(
    make_simulated, make_message, doubles
):
    text = 'Привет & <b>"до" свидания</b> ]]> 🙂\nВторая строка'
    for settings in (API_KEY, LOGIN, OMNICHANNEL):
        accepted = make_simulated(**settings).send(make_message(recipient=RECIPIENT, body=text))

        record = doubles.received(kind="m2m")[-1]
        assert (record["to"], record["content"]) == (RECIPIENT, text)
        assert (accepted.provider_message_id, accepted.code) == (record["message_id"], "200")


def test_sender_of_the_message_takes_precedence(make_simulated, make_message, doubles):
    failures = []
    for settings in (API_KEY, OMNICHANNEL):
        connector = make_simulated(**{**settings, "sender": "RELAY"})
        for sender, naming in [
            (None, "RELAY"),
            ("Shop & Co", "Shop & Co"),
            ("+79160000000", "79160000000"),
        ]:
            connector.send(make_message(recipient=RECIPIENT, sender=sender))
            record = doubles.received(kind="m2m")[-1]
            if record["naming"] != naming:
                failures.append((settings, sender, record))
    assert not failures


def test_number_that_is_not_russian_is_rejected_before_it_is_sent(
    make_scripted, make_message, provider
):
    numbers = ["+4915112345678", "+7916123456", "+791612345678", "whatsapp:+79161234567", "ya"]
    failures = []
    for settings in (API_KEY, OMNICHANNEL):
        for number in numbers:
            error = outcome(make_scripted(**settings), make_message(recipient=number))
            if error.code != "recipient_not_allowed" or f" {number}" in error.detail:
                failures.append((settings, number, error))
    assert not failures
    assert provider.received == []


def test_request_without_an_answer_is_uncertain(make_scripted, make_message, provider):
    for settings in (API_KEY, OMNICHANNEL):
        for misbehave in (provider.hang, provider.reset):
            misbehave()
            error = outcome(make_scripted(**settings), make_message(recipient=RECIPIENT))
            assert isinstance(error, Uncertain)

    assert len(provider.received) == 4


# Polling


def test_messages_are_polled():
    assert M2m.can_poll


def test_messages_are_followed_to_their_final_status(make_simulated, make_message):
    soap = [["queued", "queued"], ["sent", "sent"], ["delivered", "bounced"]]
    omnichannel: list[list[str]] = [[], ["sent", "sent"], ["sent", "delivered", "sent", "bounced"]]
    table: list[tuple[dict[str, Any], list[list[str]]]] = [
        (API_KEY, [*soap, soap[-1]]),
        (OMNICHANNEL, [*omnichannel, omnichannel[-1]]),
    ]
    for settings, expected in table:
        connector = make_simulated(**settings)
        ids = [
            str(connector.send(make_message(recipient=number)).provider_message_id)
            for number in (RECIPIENT, UNDELIVERABLE)
        ]

        polls = [connector.poll(sent(*ids)) for _ in expected]

        assert [[receipt.kind for receipt in poll] for poll in polls] == expected
        receipts = [receipt for poll in polls for receipt in poll]
        assert {receipt.provider_message_id for receipt in receipts} == set(ids)
        assert {receipt.recipient for receipt in polls[-1]} == {RECIPIENT, UNDELIVERABLE}
        assert all(receipt.occurred_at for receipt in polls[-1])
        assert polls[2] == polls[3]
        kinds = {(receipt.provider_message_id, receipt.kind) for receipt in receipts}
        assert len({receipt.key for receipt in receipts}) == len(kinds)


def test_messages_are_polled_in_batches(make_scripted, provider):
    provider.answer(200, statuses())
    ids = [str(number) for number in range(1, IDS_PER_REQUEST * 2 + 2)]

    assert make_scripted(**API_KEY).poll(sent(*ids)) == []

    batches = [requested_ids(received.body) for received in provider.received]
    assert [len(batch) for batch in batches] == [IDS_PER_REQUEST, IDS_PER_REQUEST, 1]
    assert [message_id for batch in batches for message_id in batch] == ids


def test_nothing_is_requested_for_no_messages(make_scripted, provider):
    assert make_scripted(**API_KEY).poll([]) == []
    assert make_scripted(**OMNICHANNEL).poll([]) == []
    assert provider.received == []
