"""MTS, with both services through which it takes SMS: M2M at `/m2m/m2m_api.asmx`
(`tests/doubles/m2m_soap.py`) and Marketolog's HTTP API at `/m2m/http-api/v1`
(`tests/doubles/m2m_omnichannel.py`).

The account: API key sandbox-m2m-api-key, or login gw_login with the password gw_password. It has
+79990000410 on its blacklist, and +79990000301 is never reached.

`POST /m2m/_inbound` has a message come in: JSON with `url`, the webhook to call, `msid` and
`message`; with `login` and `password` where the webhook asks for Basic credentials.
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
    ResponseError,
    json_response,
)
from tests.doubles.m2m_messages import Messages
from tests.doubles.m2m_omnichannel import read_omnichannel
from tests.doubles.m2m_soap import read_soap

OMNICHANNEL = "/m2m/http-api/v1"


class Incoming(BaseModel):
    """A message that is to come in."""

    model_config = ConfigDict(extra="forbid")

    url: str
    msid: str
    message: str
    login: str | None = None
    password: str = ""


def m2m() -> Provider:
    """MTS, with an account that has sent nothing yet."""
    messages = Messages()

    def read(request: Request) -> Delivery:
        if request.path == "/m2m/m2m_api.asmx":
            return read_soap(request, messages)
        if request.path.startswith(OMNICHANNEL + "/"):
            return read_omnichannel(request, request.path.removeprefix(OMNICHANNEL), messages)
        if request.path == "/m2m/_inbound":
            send_callbacks(_incoming(request))
            raise ResponseError(json_response(202, {}))
        raise RefusedError(404, "no such service")

    return Provider("m2m", "/m2m", read)


def _incoming(request: Request) -> CallbackRequest:
    if request.method != "POST":
        raise RefusedError(405, "POST only", {"Allow": "POST"})
    try:
        incoming = Incoming.model_validate_json(request.body)
    except ValidationError as invalid:
        raise RefusedError(400, str(invalid.errors(include_url=False)[0]["msg"])) from None
    headers = {}
    if incoming.login is not None:
        pair = f"{incoming.login}:{incoming.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    query = urlencode({"msid": incoming.msid, "message": incoming.message})
    separator = "&" if urlsplit(incoming.url).query else "?"
    return CallbackRequest(f"{incoming.url}{separator}{query}", headers=headers, method="GET")
