import base64
import hmac
import json
import time

from sandbox.api import SIGNING_SECRET

BODY = b'{"type": "message.sent"}'


def signature_headers(age_seconds: int = 0, **changes: str) -> dict[str, str]:
    timestamp = str(int(time.time()) - age_seconds)
    key = base64.b64decode(SIGNING_SECRET.removeprefix("whsec_"))
    digest = hmac.digest(key, b"id-1." + timestamp.encode() + b"." + BODY, "sha256")
    return {
        "webhook-id": "id-1",
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1,b2xk v1," + base64.b64encode(digest).decode(),
        **{f"webhook-{name}": value for name, value in changes.items()},
    }


def test_any_request_is_echoed_and_recorded_without_credentials(sandbox):
    response = sandbox.session.patch(
        f"{sandbox.api_url}/orders/7?full=1",
        data="état",
        headers={"Authorization": "Bearer hush", "Idempotency-Key": "k-1"},
        timeout=30,
    )

    echo = response.json()
    assert (response.status_code, echo["method"]) == (200, "PATCH")
    assert echo["path"] == "/api/orders/7"
    [record] = sandbox.received(to="orders/7")
    assert (record["id"], record["query"], record["content"]) == (echo["id"], "full=1", "état")
    assert record["headers"]["authorization"] == "present"
    assert "hush" not in str(record)


def test_signatures_are_verified(sandbox):
    failures = []
    for changes, status in [
        ({}, 200),
        ({"age_seconds": 200}, 200),
        ({"age_seconds": 400}, 401),
        ({"age_seconds": -400}, 401),
        ({"id": "id-2"}, 401),
        ({"id": "id.1"}, 401),
        ({"id": ""}, 401),
        ({"timestamp": "soon"}, 401),
        ({"signature": "v1,AAAA"}, 401),
        ({"signature": ""}, 401),
    ]:
        sandbox.clear()
        headers = signature_headers(**changes)
        response = sandbox.session.post(
            f"{sandbox.api_url}/hook", data=BODY, headers=headers, timeout=30
        )
        recorded = [record["signed"] for record in sandbox.received(kind="api")]
        if response.status_code != status or recorded != ([True] if status == 200 else []):
            failures.append((changes, response.status_code, recorded))

    assert not failures


def test_webhook_call_is_signed(sandbox, listener):
    wanted = {"url": f"{listener.url}/hook", "body": {"from": "+1", "body": "ё"}, "id": "id-1"}

    answer = sandbox.session.post(f"{sandbox.api_url}/_webhook", json=wanted, timeout=30)

    assert (answer.status_code, answer.json()) == (202, {"id": "id-1"})
    call = listener.next_call()
    assert (call.path, json.loads(call.body)) == ("/hook", wanted["body"])
    # The sandbox verifies its own signature.
    signed = {name: value for name, value in call.headers.items() if name.startswith("webhook-")}
    verified = sandbox.session.post(
        f"{sandbox.api_url}/hook", data=call.body, headers=signed, timeout=30
    )
    assert (len(signed), verified.status_code) == (3, 200)


def test_webhook_call_needs_a_url_and_a_body(sandbox):
    failures = []
    for body in b"", b"[]", b'{"url": "http://a/"}', b'{"body": {}}':
        response = sandbox.session.post(f"{sandbox.api_url}/_webhook", data=body, timeout=30)
        if response.status_code != 400:
            failures.append((body, response.status_code))

    assert not failures
