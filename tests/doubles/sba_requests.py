"""What the simulated acquirer takes at its two doors, and what it says to the rest."""

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
LIMITS_CHARACTERS = {"orderNumber": 32, "description": 512, "returnUrl": 512, "failUrl": 512}
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


def read(request: Request, door: str) -> dict[str, Any]:
    """The parameters of a request. Raises RefusedError where it is none of this door."""
    if request.method != "POST":
        raise RefusedError(405, "POST only", {"Allow": "POST"})
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    expected = "application/x-www-form-urlencoded" if door == REST else "application/json"
    if media_type != expected:
        raise RefusedError(415, f"expected {expected}")
    try:
        if door == REST:
            return dict(
                parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True)
            )
        given = json.loads(request.body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body cannot be read") from None
    if not isinstance(given, dict):
        raise RefusedError(400, "expected a JSON object")
    return given


def check(given: Mapping[str, Any], door: str) -> None:
    """Raises BankError for who is no merchant, and for parameters of the wrong kind."""
    _check_identity(given)
    _check_parameters(given, door)


def _check_identity(given: Mapping[str, Any]) -> None:
    brought = {name: given[name] for name in IDENTITY if name in given}
    if brought not in ({"userName": USER_NAME, "password": PASSWORD}, {"token": TOKEN}):
        raise BankError(5, "Access denied")


def _check_parameters(given: Mapping[str, Any], door: str) -> None:
    for name, limit in LIMITS_CHARACTERS.items():
        if name in given and not 1 <= len(text(given, name)) <= limit:
            raise BankError(5, f"[{name}] is invalid")
    for name in INTEGERS & given.keys():
        value = given[name]
        is_integer = type(value) is int if door == GATEWAY else value.isdecimal()
        if not is_integer or int(value) < 0:
            raise BankError(5, f"[{name}] is not a number")
    for name in OBJECTS & given.keys():
        if not isinstance(given[name] if door == GATEWAY else _parsed(given[name]), dict):
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
    """A parameter that must be there. Raises BankError."""
    value = given.get(name)
    if value is None or value == "":
        raise BankError(4, f"[{name}] is empty")
    if not isinstance(value, str):
        raise BankError(5, f"[{name}] is invalid")
    return value


def kopecks(given: Mapping[str, Any]) -> int:
    """The amount. Raises BankError where there is none."""
    if "amount" not in given:
        raise BankError(4, "[amount] is empty")
    return int(given["amount"])


def is_address(url: str) -> bool:
    """Whether this could be the address of a page."""
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
