"""Parse and check the requests of both APIs of the simulated acquirer."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sandbox.provider import RefusedError, Request
from tests.doubles.sba_orders import BankError

USER_NAME = "sandbox-api"
PASSWORD = "sandbox-password"
TOKEN = "sandbox-token"

REST = "/sba/payment/rest/"
GATEWAY = "/sba/ecomm/gw/partner/api/v1/"
CURRENCIES = {"643", "810", "840", "978"}
FEATURES = {"AUTO_PAYMENT", "VERIFY", "FORCE_TDS", "FORCE_SSL", "FORCE_FULL_TDS"}
MAX_CHARACTERS = {"orderNumber": 32, "description": 512, "returnUrl": 512, "failUrl": 512}
INTEGERS = {"amount", "sessionTimeoutSecs"}
OBJECTS = {"jsonParams", "orderBundle"}
IDENTITY = ("userName", "password", "token")
METHODS = {
    "register.do",
    "registerPreAuth.do",
    "getOrderStatusExtended.do",
    "deposit.do",
    "reverse.do",
    "refund.do",
}


def read(request: Request, api: str) -> dict[str, Any]:
    """Return the parameters of a request. Raises RefusedError if it is not valid for this API."""
    if request.method != "POST":
        raise RefusedError(405, "method not allowed. Use POST.", {"Allow": "POST"})
    expected = "application/x-www-form-urlencoded" if api == REST else "application/json"
    if request.media_type() != expected:
        raise RefusedError(415, f"content-type: expected {expected}")
    try:
        if api == REST:
            return dict(
                parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True)
            )
        given = json.loads(request.body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "body: not valid JSON or form data") from None
    if not isinstance(given, dict):
        raise RefusedError(400, "body: expected a JSON object")
    return given


def check(given: Mapping[str, Any], api: str) -> None:
    """Raise BankError for wrong credentials or a parameter of the wrong type."""
    _check_identity(given)
    _check_parameters(given, api)


def _check_identity(given: Mapping[str, Any]) -> None:
    credentials = {name: given[name] for name in IDENTITY if name in given}
    if credentials not in ({"userName": USER_NAME, "password": PASSWORD}, {"token": TOKEN}):
        raise BankError(5, "Access denied")


def _check_parameters(given: Mapping[str, Any], api: str) -> None:
    for name, limit in MAX_CHARACTERS.items():
        if name in given and not 1 <= len(text(given, name)) <= limit:
            raise BankError(5, f"[{name}] is invalid")
    for name in INTEGERS & given.keys():
        value = given[name]
        is_integer = type(value) is int if api == GATEWAY else value.isdecimal()
        if not is_integer or int(value) < 0:
            raise BankError(5, f"[{name}] is not a number")
    for name in OBJECTS & given.keys():
        if not isinstance(given[name] if api == GATEWAY else _parsed(given[name]), dict):
            raise BankError(5, f"[{name}] is invalid")
    for name in given.keys() - INTEGERS - OBJECTS:
        if not isinstance(given[name], str):
            raise BankError(5, f"[{name}] is invalid")


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def text(given: Mapping[str, Any], name: str) -> str:
    """Return a required parameter. Raises BankError if it is missing."""
    value = given.get(name)
    if value is None or value == "":
        raise BankError(4, f"[{name}] is empty")
    if not isinstance(value, str):
        raise BankError(5, f"[{name}] is invalid")
    return value


def kopecks(given: Mapping[str, Any]) -> int:
    """Return the amount. Raises BankError if it is missing."""
    if "amount" not in given:
        raise BankError(4, "[amount] is empty")
    return int(given["amount"])


def is_http_url(url: str) -> bool:
    """Return whether this is an HTTP URL."""
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
