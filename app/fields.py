"""Types of the values in requests, each with its JSON schema."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    Strict,
    ValidationError,
)
from pydantic_core import PydanticCustomError, core_schema

from app.errors import FieldError, InvalidError

MAX_JSON_DEPTH = 32
MAX_FIELD_NAME = 100

HEADER_NAME = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
HTTP_ADDRESS = r"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!-~]*)?$"
S3_ADDRESS = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\u0000-\u001f\u007f]{1,1024}$"
SHA256 = r"^[0-9A-Fa-f]{64}$"
FILE_NAME = r"^[^/\\\u0000-\u001f\u007f]+$"
BASE64 = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


Model = TypeVar("Model", bound=BaseModel)


class Request(BaseModel):
    """A request, or a part of one. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse(model: type[Model], value: Any) -> Model:
    """Validate `value`, which is JSON or made of strings, as a `model`.

    Raises:
        InvalidError: Some fields are invalid. The errors do not repeat their values.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidError(
            [
                FieldError(_path(detail["loc"]), _reason(detail))
                for detail in error.errors(include_input=False, include_url=False)
            ]
        ) from None


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]" and not part.startswith("<"):  # "<…>" tags the member of a union
            name = part[:MAX_FIELD_NAME].encode(errors="replace").decode()
            path += f".{name}" if path else name
    return path


def _reason(detail: Any) -> str:
    if detail["type"] == "extra_forbidden":
        return "unknown field"
    if detail["type"] in {"model_type", "dict_type"}:
        return "must be an object"
    reason: str = detail["msg"].removeprefix("Value error, ")
    return reason[:1].lower() + reason[1:]


@dataclass(frozen=True, slots=True)
class _Without:
    """Rejects strings with certain characters (as in a regular expression) or with surrogates."""

    characters: str
    reason: str

    def check(self, value: str) -> str:
        if re.search(f"[{self.characters}]", value):
            raise PydanticCustomError("characters", self.reason)
        try:
            value.encode()
        except UnicodeEncodeError:
            raise PydanticCustomError("unicode", "must not contain unpaired surrogates") from None
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^[^{self.characters}]*$"}


TEXT = _Without(r"\u0000", "must not contain NUL")
"""A string that PostgreSQL can store."""

ONE_LINE = _Without(
    r"\u0000-\u0008\u000a-\u001f\u007f\u0085\u2028\u2029",
    "must not contain CR, LF, NUL or other control characters",
)
"""A string that can be put in a header: nothing in it ends the line."""


def _with_time_zone(value: Any) -> Any:
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", value):
        raise PydanticCustomError(
            "instant", "must be a date and time, such as 2026-11-22T14:00:00Z"
        )
    if not re.search(r"([Zz]|[+-]\d\d:?\d\d)$", value):
        raise PydanticCustomError("instant", "must have a time zone, such as 2026-11-22T14:00:00Z")
    return value


def _in_utc(value: datetime) -> datetime:
    # PostgreSQL rejects offsets of 16 hours or more, which ISO 8601 allows.
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("instant", "must be between the years 1 and 9999") from None


Instant = Annotated[AwareDatetime, BeforeValidator(_with_time_zone), AfterValidator(_in_utc)]
"""A timestamp, converted to UTC. Only ISO 8601 with a time zone is accepted."""


def _plain(value: JsonValue) -> JsonValue:
    _walk(value, MAX_JSON_DEPTH)
    return value


def _walk(value: JsonValue, depth: int) -> None:
    if depth == 0:
        raise PydanticCustomError(
            "depth", f"must not be nested deeper than {MAX_JSON_DEPTH} levels"
        )
    if isinstance(value, dict):
        for key, inner in value.items():
            TEXT.check(key)
            _walk(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            _walk(inner, depth - 1)
    elif isinstance(value, str):
        TEXT.check(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("number", "must not contain numbers that are too large for JSON")


Json = Annotated[JsonValue, AfterValidator(_plain)]
"""Any JSON value that PostgreSQL can store."""

JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_plain)]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, Strict(), BeforeValidator(_whole)]
"""An integer. 1.0 is accepted, as JSON does not distinguish it from 1; strings are not."""


def _flag(value: Any) -> bool:
    if value not in ("true", "false"):
        raise PydanticCustomError("flag", "must be true or false")
    return bool(value == "true")


Flag = Annotated[bool, BeforeValidator(_flag)]
"""A boolean in a query string: `true` or `false`."""


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
