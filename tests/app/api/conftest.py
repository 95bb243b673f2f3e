"""The application over a database of its own, and tokens for it."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection

from app.api.factory import create_app
from app.auth import tokens as auth


@pytest.fixture
def app(database: str, redis_url: str) -> Flask:
    return create_app()


@pytest.fixture
def token(connection: Connection) -> str:
    """A token that may do everything, called `shop`."""
    return auth.create_token(connection, name="shop", scopes=auth.SCOPES)


@pytest.fixture
def client(app: Flask, token: str) -> FlaskClient:
    """A client that shows that token."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


@pytest.fixture
def anonymous(app: Flask) -> FlaskClient:
    return app.test_client()
