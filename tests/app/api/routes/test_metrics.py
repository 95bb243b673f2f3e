"""Metrics for Prometheus."""

from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection

from tests.app.outbox.driver import Outbox

Samples = dict[tuple[str, tuple[str, ...]], float]


def _samples(client: FlaskClient) -> Samples:
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_metrics_have_the_figures_of_each_agent(
    client: FlaskClient, connection: Connection
) -> None:
    outbox = Outbox(connection)
    outbox.execute("UPDATE scheduler_state SET last_scan_at = now() - interval '3 seconds'")
    waiting, failed, sending = (
        outbox.one(channel="email", agent="smtp", recipient="a@example.org") for _ in range(3)
    )
    outbox.move(waiting, due_at="-1 minute")
    outbox.at(failed, "failed")
    outbox.at(sending, "sending")
    outbox.insert(agent=None)
    outbox.execute("INSERT INTO agent_states (agent, paused, changed_by) VALUES ('api', true, 'x')")
    samples = _samples(client)
    for name in ("waiting", "in_flight", "failed"):
        assert samples[f"postroom_messages_{name}", ("smtp",)] == 1, name
        assert samples[f"postroom_messages_{name}", ("gateway",)] == 0, name
    assert samples["postroom_oldest_due_age_seconds", ("smtp",)] >= 60
    assert samples["postroom_agent_paused", ("api",)] == 1
    assert samples["postroom_scheduler_running", ()] == 1
    assert samples["postroom_messages_unrouted", ()] == 1
    assert samples["postroom_inbound_unparsed", ()] == 0
    assert samples["postroom_last_scan_age_seconds", ()] >= 3


def test_messages_that_ended_without_an_agent_are_counted(
    client: FlaskClient, connection: Connection
) -> None:
    outbox = Outbox(connection)
    outbox.at(outbox.insert(agent=None), "failed")
    outbox.at(outbox.insert(agent=None), "expired")
    outbox.at(outbox.one(), "expired")
    samples = _samples(client)
    assert samples["postroom_messages_failed", ("",)] == 1
    assert samples["postroom_messages_expired", ("",)] == 1
    assert samples["postroom_messages_expired", ("gateway",)] == 1
    [first, *_] = client.get("/api/agents").get_json()["agents"]
    assert first["agent"] == ""
    assert (first["failed_last_day"], first["expired_last_day"]) == (1, 1)


def test_metrics_count_receipts_of_the_last_hour_by_kind(
    client: FlaskClient, connection: Connection
) -> None:
    outbox = Outbox(connection)
    for key, kind in enumerate(("delivered", "delivered", "unrecognised")):
        outbox.execute(
            "INSERT INTO receipts (agent, key, kind) VALUES ('gateway', :key, :kind)",
            key=str(key),
            kind=kind,
        )
    outbox.execute(
        "UPDATE receipts SET received_at = now() - interval '61 minutes' WHERE key = '0'"
    )
    samples = _samples(client)
    for kind in ("delivered", "unrecognised"):
        assert samples["postroom_receipts", ("gateway", kind)] == 1, kind
    assert ("postroom_last_scan_age_seconds", ()) not in samples, "there was no scan yet"
