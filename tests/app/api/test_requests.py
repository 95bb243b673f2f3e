"""Request ids and the request log."""

from flask.testing import FlaskClient
from structlog.testing import capture_logs

SMS = {"to": "+18045551234", "from": "+12016661234", "body": "secret"}


def test_request_keeps_a_harmless_id_and_gets_one_otherwise(anonymous: FlaskClient) -> None:
    rows = [("abc-1.2:3", True), ("a b", False), ("x" * 65, False), ("", False)]
    for given, is_kept in rows:
        response = anonymous.get("/health/live", headers={"X-Request-ID": given})
        assert (response.headers["X-Request-ID"] == given) == is_kept, given
        assert response.headers["X-Request-ID"]


def test_request_log_has_the_route_and_client_but_no_address_or_content(
    client: FlaskClient,
) -> None:
    with capture_logs() as logs:
        client.post("/api/messages/sms", json=SMS)
        client.get("/api/messages?to=%2B18045551234")
        client.get("/nowhere/+18045551234")
    lines = [(line["route"], line["status"], line["client"]) for line in logs]
    assert lines == [
        ("/api/messages/sms", 202, "shop"),
        ("/api/messages", 200, "shop"),
        (None, 404, None),
    ]
    assert SMS["to"] not in str(logs)
    assert SMS["body"] not in str(logs)
