"""Read JSON request bodies."""

import json
from http import HTTPStatus
from typing import Any, NoReturn

from flask import request

from app.api.problems import ProblemError


def read_json() -> Any:
    """Return the JSON value of the request body; None for an empty body without a content type.

    Raises:
        ProblemError: 400 or 415. (werkzeug raises 413 for a body over the limit.)
    """
    raw = request.get_data()
    if not raw and not request.content_type:
        return None
    if not request.is_json:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The content type must be application/json."
        )
    try:
        return json.loads(raw.decode(), parse_constant=_reject_constant)
    except UnicodeDecodeError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The body is not valid UTF-8.") from None
    except RecursionError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The body is nested too deeply.") from None
    except ValueError as error:
        where = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"The body is not valid JSON{where}.") from None


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(constant)
