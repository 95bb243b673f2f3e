"""The OpenAPI description matches the API: schemathesis generates requests from it."""

import re

import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from pydantic import TypeAdapter
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.config import SchemathesisConfig

from app.api import openapi
from app.api.factory import SECTIONS
from app.api.problems import Problem
from app.api.routes.messages import Accepted, AcceptedList, Changed
from app.api.routes.replay import Replayed

# Fields whose validity a JSON schema cannot express: whether an address, agent or cursor exists,
# how fields depend on each other, and that one filter of a replay is enough.
BEYOND_THE_SCHEMA = {
    "submit": "^(|channel|type|to|from|agent|profile|body|html|[b]?cc|reply_to|attachments"
    r"|send_at|expires_at|headers|\[\d+\].*)\b",
    "list_messages": "^cursor$",
    "replay_messages": "^$",
    "list_suppressions": "^cursor$",
    "add_suppression": "^address$",
    "list_conversations": "^cursor$",
    "list_conversation_messages": "^cursor$",
    "receive_sms": "^(from|to|body|attachments)$",
    "receive_email": "^(from|to|attachments)$",
}

config = SchemathesisConfig()
config.projects.default.generation.update(max_examples=3, deterministic=True)
config.projects.default.checks.positive_data_acceptance.expected_statuses.append("422")
schema = schemathesis.openapi.from_dict(openapi.describe(SECTIONS), config=config)


@schemathesis.check
def rejects_only_what_the_schema_cannot_express(
    ctx: CheckContext, response: Response, case: Case
) -> None:
    positive = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    if positive and response.status_code == 422:
        name = case.operation.definition.raw["operationId"]
        pattern = BEYOND_THE_SCHEMA["submit" if name.startswith("submit") else name]
        fields = [error["field"] for error in response.json()["errors"]]
        assert all(re.match(pattern, field) for field in fields), response.json()["errors"]


@schema.parametrize()
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_api_matches_its_description(case: Case, app: Flask, token: str) -> None:
    case.operation.schema.app = app
    case.call_and_validate(app=app, headers={"Authorization": f"Bearer {token}"})


def test_every_route_is_described(app: Flask, client: FlaskClient) -> None:
    described = {
        (method.upper(), path)
        for path, methods in client.get("/openapi.json").get_json()["paths"].items()
        for method in methods
    }
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    assert described == served


def test_code_generators_can_use_every_request_body() -> None:
    # Generators take a model with alternatives for a value of any type, and drop operations with an
    # enumeration of several types.
    description = openapi.describe(SECTIONS)
    schemas = description["components"]["schemas"]
    alternatives = [
        name
        for name, model in schemas.items()
        if model.get("type") == "object" and {"anyOf", "oneOf", "allOf"} & model.keys()
    ]
    mixed = [
        (name, field)
        for name, model in schemas.items()
        for field, value in model.get("properties", {}).items()
        if len({type(one) for one in value.get("enum", ())}) > 1
    ]
    assert (alternatives, mixed) == ([], [])


def test_every_request_body_has_a_valid_example() -> None:
    failures = []
    for section in SECTIONS:
        for operation, view in section.operations:
            if operation.body is None:
                continue
            adapter = TypeAdapter(operation.body)
            models = adapter.json_schema().get("$defs", {})
            examples = adapter.json_schema().get("examples") or [
                one for model in models.values() for one in model.get("examples", ())
            ]
            if not examples:
                failures.append(view.__name__)
            for example in examples:
                adapter.validate_python(example)
    assert not failures


def test_responses_to_submissions_and_errors_have_a_valid_example() -> None:
    for model in (Accepted, AcceptedList, Problem, Changed, Replayed):
        examples = TypeAdapter(model).json_schema(mode="serialization")["examples"]
        for example in examples:
            assert model.model_validate(example).model_dump(mode="json") == example


def test_page_loads_nothing_and_runs_no_script(client: FlaskClient) -> None:
    response = client.get("/docs")
    assert response.status_code == 200
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert not re.search(r"<script|<img|<link|\bsrc=|url\(|https?://", response.text)
    assert "/api/messages/{message_id}/replay" in response.text
