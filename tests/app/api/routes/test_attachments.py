"""The files of messages, by themselves."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection

from connectors.base import Attachment
from tests.app.outbox.driver import Outbox


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.mark.parametrize(
    ("name", "content_type", "served", "disposition"),
    [
        ("a.txt", "text/plain", "text/plain; charset=utf-8", "a.txt"),
        ("счёт.pdf", "application/pdf", "application/pdf", "%D1%81%D1%87%D1%91%D1%82.pdf"),
        ("x.html", "text/html", "text/html; charset=utf-8", "x.html"),
        ("a\r\nX: y", "text/plain\r\nX: y", "application/octet-stream", "a%0D%0AX%3A%20y"),
    ],
)
def test_a_file_is_served_to_be_kept_and_never_shown(
    client: FlaskClient,
    outbox: Outbox,
    name: str,
    content_type: str,
    served: str,
    disposition: str,
) -> None:
    number = outbox.one(attachments=[Attachment(name, content_type, content=b"\x00\xffab")])
    [file] = client.get(f"/api/messages/{number}").get_json()["attachments"]

    response = client.get(f"/api/messages/{number}/attachments/{file['id']}")
    assert response.data == b"\x00\xffab"
    assert response.headers["Content-Type"] in {served, content_type}
    assert response.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{disposition}"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "X" not in response.headers


def test_what_is_elsewhere_or_of_another_message_is_not_here(
    client: FlaskClient, outbox: Outbox
) -> None:
    linked = outbox.one(attachments=[Attachment("a", "text/plain", url="https://example.com/a")])
    other = outbox.one(attachments=[Attachment("a", "text/plain", content=b"x")])
    for message, file in (linked, 1), (linked, 2), (other, 1), (other, 99):
        assert client.get(f"/api/messages/{message}/attachments/{file}").status_code == 404
