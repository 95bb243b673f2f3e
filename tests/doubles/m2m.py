"""MTS with both of its SMS services.

    /m2m/m2m_api.asmx    M2M over SOAP (tests/doubles/m2m_soap.py)
    /m2m/http-api/v1     Marketolog's HTTP API (tests/doubles/m2m_omnichannel.py)

The account has the API key sandbox-m2m-api-key, and the login gw_login with the password
gw_password. +79990000410 is on its blacklist; messages to +79990000301 are not delivered.

`POST /m2m/_inbound` simulates an inbound message. Send JSON with `url`, the webhook to call, `msid`
and `message`, and `login` and `password` if the webhook requires HTTP Basic authentication.
"""

import base64
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from sandbox.callbacks import CallbackRequest, send_callbacks
from sandbox.provider import (
    Delivery,
    Provider,
    RefusedError,
    Request,
    Response,
    json_response,
)
from tests.doubles.m2m_messages import Messages
from tests.doubles.m2m_omnichannel import read_omnichannel
from tests.doubles.m2m_soap import read_soap

OMNICHANNEL = "/m2m/http-api/v1"


class Inbound(BaseModel):
    """An inbound message to simulate."""

    model_config = ConfigDict(extra="forbid")

    url: str
    msid: str
    message: str
    login: str | None = None
    password: str = ""


def m2m() -> Provider:
    """Return MTS, with an account that has sent nothing yet."""
    messages = Messages()

    def read(request: Request) -> Delivery | Response:
        if request.path == "/m2m/m2m_api.asmx":
            return read_soap(request, messages)
        if request.path.startswith(OMNICHANNEL + "/"):
            return read_omnichannel(request, request.path.removeprefix(OMNICHANNEL), messages)
        if request.path == "/m2m/_inbound":
            send_callbacks(_inbound_callback(request))
            return json_response(202, {})
        raise RefusedError(404, "no such service. Use m2m_api.asmx or http-api/v1.")

    return Provider("m2m", "/m2m", read)


def _inbound_callback(request: Request) -> CallbackRequest:
    if request.method != "POST":
        raise RefusedError(405, "method not allowed. Use POST.", {"Allow": "POST"})
    try:
        inbound = Inbound.model_validate_json(request.body)
    except ValidationError as invalid:
        raise RefusedError(400, str(invalid.errors(include_url=False)[0]["msg"])) from None
    headers = {}
    if inbound.login is not None:
        pair = f"{inbound.login}:{inbound.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    query = urlencode({"msid": inbound.msid, "message": inbound.message})
    separator = "&" if urlsplit(inbound.url).query else "?"
    return CallbackRequest(f"{inbound.url}{separator}{query}", headers=headers, method="GET")
