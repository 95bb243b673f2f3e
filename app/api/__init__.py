"""The HTTP face: one section of operations a file, and what they all share."""

from flask import Flask
from werkzeug.routing import IntegerConverter, Map

from app.agents import agents as configured_agents
from app.api import (
    agents,
    docs,
    health,
    interventions,
    messages,
    openapi,
    problems,
    requests,
    scheduler,
    suppressions,
    webhooks,
)
from app.api.throttle import Throttle
from app.settings import settings

SECTIONS = (
    messages.section,
    interventions.section,
    scheduler.section,
    agents.section,
    suppressions.section,
    webhooks.section,
    health.section,
    docs.section,
)


class IdConverter(IntegerConverter):
    """`<id:…>` in a rule: what can be an id at all."""

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, min=1, max=2**63 - 1)


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
    requests.init_app(app)
    problems.init_app(app)
    for section in SECTIONS:
        app.register_blueprint(section)
    return app
