"""The application over an empty database, and tokens for it."""

from functools import cache

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection

from app.api.factory import create_app
from app.auth.tokens import SCOPES, create_token


@cache
def _default_app() -> Flask:
    """The application with default settings. It reads agents and database for each request."""
    return create_app()


@pytest.fixture
def app(database: str, redis_url: str) -> Flask:
    """The application. A test that changes settings creates its own."""
    return _default_app()


@pytest.fixture
def token(connection: Connection) -> str:
    """A token with all scopes, called `shop`."""
    return create_token(connection, name="shop", scopes=SCOPES)


@pytest.fixture
def client(app: Flask, token: str) -> FlaskClient:
    """A client with that token."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


@pytest.fixture
def anonymous(app: Flask) -> FlaskClient:
    """A client without a token."""
    return app.test_client()
