"""Logs: one line an event, for people or as JSON, from our code and from libraries alike.

No message content and no secret may reach a log. Database and validation errors quote the values
they failed on, so of those only the kind is written.
"""

import logging.config
import sys
import traceback
from typing import Any

import psycopg2
import pydantic
import sqlalchemy.exc
import structlog
from structlog.typing import EventDict, WrappedLogger

from app.settings import settings

SHOWN = ("message_id", "agent", "status", "duration_ms")
"""What a log call may pass as `extra` and see written; libraries pass more than may be."""

# Celery says twice what became of a task, where ours says it once, with the message. At DEBUG,
# urllib3 writes paths, which may hold recipients, and botocore signatures.
QUIETER = {
    "botocore": "INFO",
    "celery.app.trace": "WARNING",
    "celery.worker.strategy": "WARNING",
    "urllib3": "INFO",
}

QUOTES_VALUES = (psycopg2.Error, sqlalchemy.exc.SQLAlchemyError, pydantic.ValidationError)


def configure() -> None:
    """Set up the logs of this process as `settings` say. The first thing that it does."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"postroom": {"()": formatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "postroom"}},
            "loggers": {name: {"level": level} for name, level in QUIETER.items()},
            "root": {"handlers": ["stderr"], "level": settings().log_level},
        }
    )


def formatter() -> logging.Formatter:
    """How a line looks, for handlers that others make, as Celery does."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings().log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _shared() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(allow=SHOWN),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _write_exception,
    ]


def _write_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    error = (
        info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else None
    )
    if error is not None:
        event["exception"] = describe(error)
    return event


def describe(error: BaseException) -> str:
    """The traceback of `error` and of what caused it, without the values that it may quote."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{describe(cause)}\n\n" if cause else ""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{before}{frames}{_summary(error)}"


def _summary(error: BaseException) -> str:
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    if not isinstance(error, QUOTES_VALUES):
        return f"{kind}: {error}"
    code = getattr(error, "pgcode", None)
    return f"{kind}: SQLSTATE {code}" if code else kind
