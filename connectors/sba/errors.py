"""The bank's error codes and what each one means for the message.

Sources: https://ecomtest.sberbank.ru/doc for the e-commerce gateway,
https://securepayments.sberbank.ru/wiki/doku.php/integration:api:start for the REST API.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.base import ErrorCode, Misconfigured, Rejected, SendError, Unavailable, Uncertain
from connectors.sba.operations import METHODS, MONEY_OPERATIONS, REGISTRATIONS
from connectors.toolkit.http import excerpt

ALREADY_REGISTERED = "1"
NOT_SUCCESSFUL = "not_successful"


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """An error code, restricted to some operations and to error texts that match a pattern.

    The bank uses one number for several errors, which differ only in their text.
    """

    error: ErrorCode
    operations: frozenset[str] = frozenset(METHODS)
    pattern: re.Pattern[str] | None = None


def _pattern(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


_SYSTEM_ERROR = _pattern("system error", "системная ошибка")

# The first rule that matches applies. "Access denied" means wrong credentials for a registration.
# For another operation it may concern that permission or that order only, so it does not pause the
# agent.
RULES = (
    ErrorRule(
        ErrorCode(
            ALREADY_REGISTERED,
            Rejected,
            "register: the number is used by another order (if the amount is the same, the message "
            "counts as sent)",
        ),
        REGISTRATIONS,
    ),
    ErrorRule(
        ErrorCode("1", Rejected, "status, deposit, reverse, refund: the order is not specified")
    ),
    ErrorRule(ErrorCode("3", Rejected, "unknown currency")),
    ErrorRule(ErrorCode("4", Rejected, "a required parameter is missing")),
    ErrorRule(
        ErrorCode("5", Misconfigured, "the password must be changed, or the user is disabled"),
        pattern=_pattern("password", "парол", "disabled", "blocked", "отключ", "заблокирован"),
    ),
    ErrorRule(
        ErrorCode("5", Misconfigured, "register: access denied"),
        REGISTRATIONS,
        _pattern("access denied", "доступ запрещ"),
    ),
    ErrorRule(
        ErrorCode(
            "5",
            Rejected,
            "invalid value or amount, or access denied to this operation or order",
        )
    ),
    ErrorRule(ErrorCode("6", Rejected, "the order does not exist")),
    ErrorRule(
        ErrorCode("7", Uncertain, "deposit, reverse, refund: system error"),
        MONEY_OPERATIONS,
        _SYSTEM_ERROR,
    ),
    ErrorRule(
        ErrorCode(
            "7", Rejected, "deposit, reverse, refund: wrong order state, or less than one rouble"
        ),
        MONEY_OPERATIONS,
    ),
    ErrorRule(ErrorCode("7", Unavailable, "register, status: system error")),
    ErrorRule(ErrorCode("13", Rejected, "unknown feature")),
    ErrorRule(ErrorCode("14", Rejected, "incompatible features")),
    ErrorRule(ErrorCode(NOT_SUCCESSFUL, Rejected, "an error without a code, or success: false")),
)
ERRORS = tuple(rule.error for rule in RULES)


def find_error(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the error code and text in a response body, or None if it contains no error.

    Codes are strings or numbers; a success has `0`, an empty code or none. The two APIs and the
    payment methods use different names and nesting.
    """
    error = fields.get("error")
    nested = error if isinstance(error, dict) else {}
    texts = (
        fields.get("errorMessage"),
        fields.get("ErrorMessage"),
        nested.get("description"),
        nested.get("message"),
        error,
    )
    text = next((text for text in texts if isinstance(text, str)), "")
    for code in (fields.get("errorCode"), fields.get("ErrorCode"), nested.get("code")):
        if isinstance(code, str | int) and str(code).strip() not in {"", "0"}:
            return str(code).strip(), text
    if error or fields.get("success") is False:
        return NOT_SUCCESSFUL, text
    return None


def classify(operation: str, code: str, text: str, hide: Iterable[str]) -> SendError:
    """Return the exception for an error code. An unknown code rejects the message.

    Args:
        operation: The name of the operation that failed.
        code: The bank's error code.
        text: The bank's error text.
        hide: Values to replace by `***` in the exception's detail.
    """
    detail = excerpt(text, hide)
    for rule in RULES:
        if (
            rule.error.code == code
            and operation in rule.operations
            and (rule.pattern is None or rule.pattern.search(text))
        ):
            return rule.error.error(detail)
    return Rejected(code, detail)
