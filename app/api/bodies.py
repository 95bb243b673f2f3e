"""Reads JSON bodies, and says exactly what is wrong with one that is none."""

import json
from http import HTTPStatus
from typing import Any, NoReturn

from flask import request

from app.api.problems import ProblemError


def read_json() -> Any:
    """The JSON value of the request's body; None for an empty body without a content type.

    Raises ProblemError 400 and 415; werkzeug raises 413 where it is over the limit.
    """
    raw = request.get_data()
    if not raw and not request.content_type:
        return None
    if not request.is_json:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json"
        )
    try:
        return json.loads(raw.decode(), parse_constant=_refuse)
    except UnicodeDecodeError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is not UTF-8") from None
    except RecursionError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is nested too deeply") from None
    except ValueError as error:
        where = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"the body is not JSON{where}") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
