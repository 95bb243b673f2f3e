import base64
import hmac
import json
import time
from typing import Any

import pytest

from sandbox.api import SIGNING_SECRET
from sandbox.client import RunningSandbox

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


@pytest.mark.parametrize(
    ("signature", "status"),
    [
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
    ],
)
def test_a_signature_must_fit(
    sandbox: RunningSandbox, signature: dict[str, Any], status: int
) -> None:
    response = sandbox.session.post(
        f"{sandbox.api_url}/hook", data=BODY, headers=signature_headers(**signature), timeout=30
    )

    assert response.status_code == status
    kept = [record["signed"] for record in sandbox.received(kind="api")]
    assert kept == ([True] if status == 200 else [])


def test_it_calls_back_with_a_signature(sandbox: RunningSandbox, listener: Any) -> None:
    asked = {"url": f"{listener.url}/hook", "body": {"from": "+1", "body": "ё"}, "id": "id-1"}

    answer = sandbox.session.post(f"{sandbox.api_url}/_webhook", json=asked, timeout=30)

    assert (answer.status_code, answer.json()) == (202, {"id": "id-1"})
    call = listener.next_call()
    assert (call.path, json.loads(call.body)) == ("/hook", asked["body"])
    # What it signs, it also takes.
    signed = {name: value for name, value in call.headers.items() if name.startswith("webhook-")}
    back = sandbox.session.post(
        f"{sandbox.api_url}/hook", data=call.body, headers=signed, timeout=30
    )
    assert (len(signed), back.status_code) == (3, 200)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"url": "http://a/"}', b'{"body": {}}'])
def test_it_calls_nobody_back_without_knowing_whom_and_with_what(
    sandbox: RunningSandbox, body: bytes
) -> None:
    response = sandbox.session.post(f"{sandbox.api_url}/_webhook", data=body, timeout=30)

    assert response.status_code == 400
