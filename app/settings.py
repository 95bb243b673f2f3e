"""Every setting of Postroom, from the environment.

`DATABASE_URL` and `REDIS_URL` keep their customary names; all others carry the prefix
`POSTROOM_`. `postroom up` writes the addresses of the servers it embeds to the file `env` in
`POSTROOM_VAR`, so that another terminal finds them; the environment wins over that file.
"""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.toolkit.guard import Networks

Language = Literal["de", "en", "es", "fr", "it", "pt", "ru"]
Port = Annotated[int, Field(ge=1, le=65535)]


def _with_psycopg2(url: str) -> str:
    """SQLAlchemy 2.1 reads a bare `postgresql://` as psycopg 3; Postroom speaks psycopg2."""
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgres", "postgresql", "postgresql+psycopg2"} or not rest:
        raise ValueError("expected postgresql://user:password@host:port/database")
    return f"postgresql+psycopg2://{rest}"


class Settings(BaseSettings):
    """What a process of Postroom is told from outside. Read once; see `settings()`."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_", extra="ignore", frozen=True)

    database_url: Annotated[str, AfterValidator(_with_psycopg2)] = Field(
        "postgresql://postroom@127.0.0.1:54329/postroom", validation_alias="DATABASE_URL"
    )
    redis_url: str = Field("redis://127.0.0.1:63799/0", validation_alias="REDIS_URL")
    agents_file: Path = Path("agents.toml")
    var: Path = Path("var")

    host: str = "127.0.0.1"
    port: Port = 8080
    web_workers: PositiveInt = 2
    web_threads: PositiveInt = 8
    flower_port: Port = 5555
    flower_basic_auth: str | None = None
    sandbox_http_port: Port = 8025
    sandbox_smtp_port: Port = 2525
    postgres_port: Port = 54329
    valkey_port: Port = 63799
    metrics_port: int = Field(0, ge=0, le=65535, description="of each worker; 0 is off")

    worker_concurrency: PositiveInt = 100
    task_events: bool = True
    scan_seconds: PositiveFloat = 60.0
    maintenance_seconds: PositiveFloat = 15.0
    queue_lease_seconds: PositiveFloat = 45.0
    retention_days: NonNegativeInt = Field(90, description="of finished messages; 0 keeps all")

    request_limit_bytes: PositiveInt = 25 * 1024 * 1024
    submit_rate_limits: tuple[str, ...] = ("1000/second",)
    attachment_limit_bytes: PositiveInt = 25 * 1024 * 1024
    attachment_networks: Networks = ()
    s3_endpoint: str | None = Field(None, pattern="^https?://")
    s3_region: str | None = None
    phone_region: str | None = Field(
        None, pattern="^[A-Z]{2}$", description="for numbers given without a country code"
    )

    public_url: str | None = Field(
        None, pattern=r"^https?://[^\s?#]+[^\s?#/]$", description="of the API"
    )
    webhook_limit_bytes: PositiveInt = 32 * 1024 * 1024
    webhook_verify: Literal["token", "none"] = "token"
    keyword_languages: tuple[Language, ...] = ("en",)
    poll_seconds: PositiveFloat = 15.0
    mailbox_seconds: PositiveFloat = 60.0

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    @property
    def called_as(self) -> str:
        """The address of the API as providers call it, without a slash at its end."""
        return self.public_url or f"http://127.0.0.1:{self.port}"


@cache
def settings() -> Settings:
    """The settings of this process. Raises pydantic.ValidationError naming each bad variable."""
    folder = Path(os.environ.get("POSTROOM_VAR", "var"))
    return Settings(_env_file=folder / "env")
