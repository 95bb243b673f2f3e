"""The HTTP face: one section of operations a file, and what they all share."""

import structlog
from flask import Flask
from werkzeug.routing import IntegerConverter

from app.agents import agents as configured_agents
from app.api import openapi, problems, requests
from app.api.routes import (
    agents,
    attachments,
    conversations,
    docs,
    generic_webhooks,
    health,
    messages,
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
    docs.section,
)

log = structlog.stdlib.get_logger(__name__)


class IdConverter(IntegerConverter):
    """`<id:…>` in a rule: what can be an id at all. Said by the pattern, since werkzeug answers
    405 instead of 404 where another method has the same rule and it is the bounds that refuse.
    """

    regex = "[1-9][0-9]{0,17}"


def create_app() -> Flask:
    """The WSGI application.

    Raises AgentsError, pydantic.ValidationError or ValueError where agents or settings cannot be
    used.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings().request_limit_bytes
    app.url_map.converters["id"] = IdConverter
    app.url_map.merge_slashes = False
    app.extensions["throttle"] = Throttle(settings())
    app.extensions["openapi"] = openapi.describe(SECTIONS)
    configured_agents()
    if settings().webhook_verify == "none":
        log.warning("POSTROOM_WEBHOOK_VERIFY is none: anybody can bring us sms and email")
    requests.init_app(app)
    problems.init_app(app)
    for section in SECTIONS:
        app.register_blueprint(section)
    return app
