"""Logging: one line per event, as text or JSON, for our own code and for libraries.

Message content and secrets must not reach a log. Errors of the database and of validation quote
the values they failed on, so only their type is logged.
"""

import logging.config
import sys
import traceback
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from app.settings import settings

LOGGED_EXTRAS = ("message_id", "agent", "status", "duration_ms")
"""The keys of a log call's `extra` that are written. Libraries pass others, with task arguments."""

# Celery logs the result of every task, and Postroom logs it with the message. At DEBUG, urllib3
# logs paths, which may contain recipients, and botocore logs signatures.
QUIET_LOGGERS = {
    "botocore": "INFO",
    "celery.app.trace": "WARNING",
    "celery.worker.strategy": "WARNING",
    "urllib3": "INFO",
}

PACKAGES_QUOTING_VALUES = frozenset({"psycopg2", "pydantic_core", "sqlalchemy"})
"""Packages whose errors quote values. By name, so that logging does not import them."""


def configure() -> None:
    """Set up logging for this process as the settings say. Call it first."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"postroom": {"()": make_formatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "postroom"}},
            "loggers": {name: {"level": level} for name, level in QUIET_LOGGERS.items()},
            "root": {"handlers": ["stderr"], "level": settings().log_level},
        }
    )


def make_formatter() -> logging.Formatter:
    """Return a formatter for the configured log format."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings().log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared_processors(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _shared_processors() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(allow=LOGGED_EXTRAS),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _format_exception,
    ]


def _format_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    error = (
        info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else None
    )
    if error is not None:
        event["exception"] = format_error(error)
    return event


def format_error(error: BaseException) -> str:
    """Return the tracebacks of an error and its causes, without values that it may quote."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{format_error(cause)}\n\n" if cause else ""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{before}{frames}{_summarise(error)}"


def _summarise(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    packages = {base.__module__.partition(".")[0] for base in type(error).__mro__}
    if not packages & PACKAGES_QUOTING_VALUES:
        return f"{name}: {error}"
    code = getattr(error, "pgcode", None)
    return f"{name}: SQLSTATE {code}" if code else name
