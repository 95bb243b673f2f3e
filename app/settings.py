"""The settings of Postroom, from the environment.

`DATABASE_URL` and `REDIS_URL` have their customary names; all others start with `POSTROOM_`.
`postroom up` writes the addresses of its embedded servers to the file `env` in `POSTROOM_VAR`, so
that other terminals find them. The environment takes precedence over that file. Both `agents.toml`
and `var` are looked for in the current folder, in those above it, and in Postroom's own checkout.
"""

import json
import os
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from connectors.toolkit.guard import Networks

Language = Literal["de", "en", "es", "fr", "it", "pt", "ru"]
Port = Annotated[int, Field(ge=1, le=65535)]


def _with_psycopg2(url: str) -> str:
    """Name the driver in `url`: SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3."""
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgres", "postgresql", "postgresql+psycopg2"} or not rest:
        raise ValueError("expected postgresql://user:password@host:port/database")
    return f"postgresql+psycopg2://{rest}"


class Settings(BaseSettings):
    """The settings of a process. See `settings()`."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_", extra="ignore", frozen=True)

    database_url: Annotated[str, AfterValidator(_with_psycopg2)] = Field(
        "postgresql://postroom@127.0.0.1:54329/postroom",
        validation_alias="DATABASE_URL",
        description="PostgreSQL. If set, `postroom up` uses it instead of an embedded server.",
    )
    redis_url: str = Field(
        "redis://127.0.0.1:63799/0",
        validation_alias="REDIS_URL",
        description="Redis or Valkey, for Celery and rate limits. If set, `postroom up` uses it"
        " instead of an embedded server.",
    )
    agents_file: Path = Field(
        Path("agents.toml"), description="The agents. Read when a process starts."
    )
    var: Path = Field(
        Path("var"), description="Folder for data, logs, the first token and beat's schedule."
    )

    host: str = Field(
        "127.0.0.1",
        description="Address that the API, worker metrics and (with a password) Flower listen on.",
    )
    port: Port = Field(8080, description="Port of the API.")
    web_workers: PositiveInt = Field(2, description="Web processes.")
    web_threads: PositiveInt = Field(8, description="Threads in each web process.")
    flower_port: Port = Field(5555, description="Port of Flower.")
    flower_basic_auth: str | None = Field(
        None,
        examples=["operator:a-long-password"],
        description="`user:password` for Flower. Without it, Flower listens on 127.0.0.1 only.",
    )
    sandbox_http_port: Port = Field(8025, description="Port of the sandbox's HTTP providers.")
    sandbox_smtp_port: Port = Field(2525, description="Port of the sandbox's SMTP server.")
    postgres_port: Port = Field(54329, description="Port of the embedded PostgreSQL.")
    valkey_port: Port = Field(63799, description="Port of the embedded Valkey.")
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of each worker's Prometheus metrics; 0 for none."
    )

    worker_concurrency: PositiveInt = Field(
        100, description="Threads in each worker: the sends that run at once in one process."
    )
    task_events: bool = Field(
        default=True, description="Send Celery events to Flower. `false` is faster."
    )
    scan_seconds: PositiveFloat = Field(
        60.0,
        description="Seconds between the scans that beat starts, in case a notification is lost.",
    )
    maintenance_seconds: PositiveFloat = Field(
        15.0, description="Seconds between rounds of maintenance: rescue, expire, purge."
    )
    queue_lease_seconds: PositiveFloat = Field(
        45.0,
        description="Seconds that a published task may wait for a worker before its message is"
        " queued again.",
    )
    retention_days: NonNegativeInt = Field(
        90, description="Days until finished messages are deleted; 0 to keep them."
    )

    request_limit_bytes: PositiveInt = Field(
        25 * 1024 * 1024, description="Maximum size of a request body in bytes; above it, 413."
    )
    submit_rate_limits: tuple[str, ...] = Field(
        ("5000/second",),
        examples=[["5/second", "1000/hour"]],
        description="Messages that each token name may submit; above it, 429. Periods are second,"
        " minute, hour and day.",
    )
    attachment_limit_bytes: PositiveInt = Field(
        25 * 1024 * 1024,
        description="Maximum size in bytes of all attachments of a message together.",
    )
    attachment_networks: Networks = Field(
        (),
        examples=[["10.1.0.0/16", "loopback"]],
        description="Non-public networks that attachments may be fetched from: `10.1.0.0/16`,"
        " `loopback`, `private`.",
    )
    s3_endpoint: str | None = Field(
        None,
        pattern="^https?://",
        examples=["https://s3.example.com"],
        description="Address of the storage behind `s3://` URLs. Without it, Amazon S3.",
    )
    s3_region: str | None = Field(
        None,
        examples=["eu-central-1"],
        description="Region of that storage. Without it, boto3's own configuration applies.",
    )
    phone_region: str | None = Field(
        None,
        pattern="^[A-Z]{2}$",
        examples=["DE"],
        description="Country of phone numbers without a country code, such as `DE`. Without it,"
        " they are rejected.",
    )

    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s?#]+[^\s?#/]$",
        examples=["https://messages.example.com"],
        description="The API's address as providers call it, `https://…`. Webhook signatures are"
        " checked against it. Without it, `http://127.0.0.1` and the port.",
    )
    webhook_limit_bytes: PositiveInt = Field(
        32 * 1024 * 1024, description="Maximum size of a webhook body in bytes; above it, 413."
    )
    webhook_verify: Literal["token", "none"] = Field(
        "token",
        description="Authentication of `/api/webhooks/sms` and `/api/webhooks/email`: `token` for a"
        " token with the scope `receive`, or `none`.",
    )
    keyword_languages: tuple[Language, ...] = Field(
        ("en",),
        examples=[["de", "en"]],
        description="Languages of the keywords STOP, START and HELP: `de`, `en`, `es`, `fr`, `it`,"
        " `pt`, `ru`.",
    )
    soft_bounce_limit: NonNegativeInt = Field(
        5,
        description="Messages that an address may soft-bounce (full mailbox, unreachable server)"
        " within `POSTROOM_SOFT_BOUNCE_DAYS` before it is suppressed for a time; 0 for never.",
    )
    soft_bounce_days: PositiveInt = Field(14, description="Days in which soft bounces count.")
    soft_bounce_suppression_days: PositiveInt = Field(
        14, description="Days until a suppression for soft bounces expires."
    )
    poll_seconds: PositiveFloat = Field(
        15.0, description="Seconds between rounds of polling providers that send no receipts."
    )
    mailbox_seconds: PositiveFloat = Field(
        60.0, description="Seconds between rounds of reading the mailboxes of agents."
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Minimum level: `DEBUG`, `INFO`, `WARNING` or `ERROR`."
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="`console` for text, `json` for one JSON object per line."
    )

    @property
    def base_url(self) -> str:
        """The address of the API as providers call it, without a trailing slash."""
        return self.public_url or f"http://127.0.0.1:{self.port}"


@cache
def settings() -> Settings:
    """Return the settings of this process, read once.

    Raises:
        pydantic.ValidationError: Some variables are invalid; see `describe_errors`.
        pydantic_settings.SettingsError: A variable is not valid JSON.
    """
    folder = find_folder()
    found = Settings(_env_file=Path(os.environ.get("POSTROOM_VAR", folder / "var")) / "env")
    elsewhere = {"agents_file": folder / "agents.toml", "var": folder / "var"}
    return found.model_copy(
        update={
            name: path for name, path in elsewhere.items() if name not in found.model_fields_set
        }
    )


def find_folder() -> Path:
    """Return the folder of `agents.toml` and `var`: the first of `searched_folders` with either.

    If none has, that is the current one. It is relative if it is the current one.
    """
    for folder in searched_folders():
        if (folder / "agents.toml").is_file() or (folder / "var" / "env").is_file():
            return Path() if folder == Path.cwd() else folder
    return Path()


def searched_folders() -> list[Path]:
    """Return the current folder, those above it, and the one that Postroom was installed from."""
    current = Path.cwd()
    return [current, *current.parents, Path(__file__).resolve().parents[1]]


def variable_name(field: str) -> str:
    """Return the environment variable of a setting, such as `POSTROOM_PORT`."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"POSTROOM_{field.upper()}"


def describe_errors(error: ValidationError | SettingsError) -> list[str]:
    """Return a line for each invalid variable, without its value, which may be a secret."""
    if isinstance(error, SettingsError):
        found = re.search(r'field "(\w+)"', str(error))
        return [_describe(found[1], "not valid JSON") if found else str(error)]
    # A setting with an alias is reported by its alias, which is the variable.
    fields = {variable_name(name): name for name in Settings.model_fields}
    lines = []
    for detail in error.errors(include_input=False, include_url=False):
        name = str(detail["loc"][0])
        reason = detail["msg"].removeprefix("Value error, ")
        reason = re.sub("^(Input|String) should", "must", reason)
        lines.append(_describe(fields.get(name, name), reason))
    return list(dict.fromkeys(lines))


def _describe(field: str, reason: str) -> str:
    """Return an error that names the variable of a setting, and a value that it accepts."""
    variable = variable_name(field)
    return f"{variable}: {reason}. Example: {variable}={_example(field)}"


def _example(field: str) -> str:
    """Return an example of a setting as it is written in a shell."""
    info = Settings.model_fields[field]
    value = info.examples[0] if info.examples else info.default
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return shlex.quote(text.strip('"'))
