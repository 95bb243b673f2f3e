"""The Flask application, assembled from the sections of the API."""

import structlog
from flask import Flask
from werkzeug.routing import IntegerConverter

from app.agents import agents as load_agents
from app.api import openapi, problems, requests
from app.api.routes import (
    agents,
    attachments,
    conversations,
    docs,
    generic_webhooks,
    health,
    messages,
    metrics,
    replay,
    scheduler,
    suppressions,
    webhooks,
)
from app.api.throttle import Throttle
from app.settings import settings

SECTIONS = (
    messages.section,
    attachments.section,
    replay.section,
    conversations.section,
    scheduler.section,
    agents.section,
    suppressions.section,
    webhooks.section,
    generic_webhooks.section,
    health.section,
    metrics.section,
    docs.section,
)

log = structlog.stdlib.get_logger(__name__)


class IdConverter(IntegerConverter):
    """`<id:…>` in a rule: a positive integer.

    The bounds are in the pattern: with `min` and `max`, werkzeug answers 405 instead of 404 if the
    same rule has another method.
    """

    regex = "[1-9][0-9]{0,17}"


def create_app() -> Flask:
    """Return the WSGI application.

    Raises:
        AgentsError: `agents.toml` is invalid.
        ValueError: A setting is invalid. (pydantic's ValidationError is one.)
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings().request_limit_bytes
    app.url_map.converters["id"] = IdConverter
    app.url_map.merge_slashes = False
    app.extensions["throttle"] = Throttle(settings())
    app.extensions["openapi"] = openapi.describe(SECTIONS)
    load_agents()
    if settings().webhook_verify == "none":
        log.warning("POSTROOM_WEBHOOK_VERIFY is none: generic webhooks need no token")
    requests.init_app(app)
    problems.init_app(app)
    for section in SECTIONS:
        app.register_blueprint(section)
    return app
