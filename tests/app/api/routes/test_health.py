"""Health checks over HTTP."""

from flask.testing import FlaskClient

from app.api.factory import create_app
from tests.servers import read_only


def test_health_needs_no_token(anonymous: FlaskClient) -> None:
    health = anonymous.get("/health").get_json()
    assert (health["database"], health["redis"], health["scheduler"]) == ("up", "up", "running")
    assert anonymous.get("/health/live").get_json() == {"status": "up"}
    assert anonymous.get("/health/ready").get_json() == {"status": "up"}


def test_without_a_migrated_database_the_web_process_is_alive_but_not_ready(
    empty_database: str, redis_url: str
) -> None:
    client = create_app().test_client()
    assert client.get("/health").status_code == 200
    assert client.get("/health/live").status_code == 200
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.get_json()["detail"] == (
        "The database is not migrated. Run `postroom migrate`."
    )


def test_web_process_with_a_read_only_database_is_not_ready(
    anonymous: FlaskClient, database: str
) -> None:
    with read_only(database):
        response = anonymous.get("/health/ready")
    assert response.status_code == 503
    assert response.get_json()["detail"] == "The database is read-only."
