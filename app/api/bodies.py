"""Read JSON request bodies."""

import json
from http import HTTPStatus
from typing import Any, NoReturn

from flask import request

from app.api.problems import ProblemError


class _RepeatedNameError(ValueError):
    """An object has the same name twice. Parsers disagree which value counts (RFC 8259, 4)."""


def read_json() -> Any:
    """Return the JSON value of the request body; None for an empty body without a content type.

    Raises:
        ProblemError: 400 or 415. (werkzeug raises 413 for a body over the limit.)
    """
    raw = request.get_data()
    if not raw and not request.content_type:
        return None
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body must not be encoded. Leave out the header Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )
    if not request.is_json:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The content type must be application/json."
        )
    try:
        return json.loads(raw.decode(), parse_constant=_reject_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The body is not valid UTF-8.") from None
    except RecursionError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The body is nested too deeply.") from None
    except _RepeatedNameError:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "The body contains an object with a repeated name."
        ) from None
    except ValueError as error:
        where = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"The body is not valid JSON{where}.") from None


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedNameError
    return found
