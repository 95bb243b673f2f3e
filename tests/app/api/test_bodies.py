"""JSON request bodies."""

from types import SimpleNamespace

from flask.testing import FlaskClient
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.unreader import IterUnreader


def test_body_that_is_not_valid_json_is_rejected(client: FlaskClient) -> None:
    json = "application/json"
    rows = [
        (b'{"to": ', json, 400),
        (b"\xff", json, 400),
        (b'{"payload": NaN}', json, 400),
        (b"[" * 100_000, json, 400),
        (b"9" * 5_000, json, 400),
        (b'{"to": "+18045551234", "to": "+12016661234"}', json, 400),
        (b'{"metadata": {"a": 1, "a": 1}}', json, 400),
        (b"", json, 400),
        (b"to=1", "application/x-www-form-urlencoded", 415),
        (b"{}", None, 415),
        (b"[]", json, 422),
        (b"null", json, 422),
        (b'{"\\ud800": 1}', json, 422),
    ]
    failures = []
    for body, content_type, status in rows:
        response = client.post("/api/messages/sms", data=body, content_type=content_type)
        if response.status_code != status:
            failures.append((body[:20], response.status_code))
    assert not failures


def test_message_that_is_neither_an_object_nor_a_list_is_rejected(client: FlaskClient) -> None:
    response = client.post("/api/messages", json="text")
    assert response.status_code == 422
    assert response.get_json()["errors"] == [{"field": "", "reason": "must be an object"}]


def test_encoded_body_is_rejected(client: FlaskClient) -> None:
    for encoding, status in (("gzip", 415), ("identity", 422)):
        response = client.post("/api/messages/sms", json={}, headers={"Content-Encoding": encoding})
        assert response.status_code == status, encoding


def test_body_with_a_malformed_chunk_is_rejected(client: FlaskClient) -> None:
    rows = [(b"2\r\n{}\r\n0\r\n\r\n", 422)]
    rows += [(size + b"\r\n{}\r\n0\r\n\r\n", 400) for size in (b"0x2", b"-1", b"", b"z", b"+2")]
    failures = []
    for content, status in rows:
        request = SimpleNamespace(trailers=[])
        response = client.post(
            "/api/messages/sms",
            content_type="application/json",
            environ_overrides={
                "wsgi.input": Body(ChunkedReader(request, IterUnreader(iter([content])))),
                "wsgi.input_terminated": True,
                "HTTP_TRANSFER_ENCODING": "chunked",
            },
        )
        if response.status_code != status:
            failures.append((content, response.status_code))
    assert not failures
