"""Download of attachments."""

from flask.testing import FlaskClient
from sqlalchemy import Connection

from connectors.base import Attachment
from tests.app.outbox.driver import Outbox


def test_attachment_is_downloaded_and_never_displayed(
    client: FlaskClient, connection: Connection
) -> None:
    rows = [
        ("a.txt", "text/plain", "text/plain", "a.txt"),
        ("счёт.pdf", "application/pdf", "application/pdf", "%D1%81%D1%87%D1%91%D1%82.pdf"),
        ("x.html", "text/html", "text/html", "x.html"),
        ("a\r\nX: y", "text/plain\r\nX: y", "application/octet-stream", "a%0D%0AX%3A%20y"),
    ]
    content = b"\x00\xffab"
    for name, content_type, served, disposition in rows:
        number = Outbox(connection).one(
            attachments=[Attachment(name, content_type, content=content)]
        )
        [shown] = client.get(f"/api/messages/{number}").get_json()["attachments"]
        assert (shown["filename"], shown["size_bytes"]) == (name, 4)
        response = client.get(f"/api/messages/{number}/attachments/{shown['id']}")
        headers = response.headers
        assert response.data == content
        assert headers["Content-Type"].partition(";")[0] == served, name
        assert headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{disposition}"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "X" not in headers


def test_links_and_attachments_of_other_messages_are_not_found(
    client: FlaskClient, connection: Connection
) -> None:
    outbox = Outbox(connection)
    linked = outbox.one(attachments=[Attachment("a", "text/plain", url="https://example.com/a")])
    other = outbox.one(attachments=[Attachment("a", "text/plain", content=b"x")])
    for message, attachment in (linked, 1), (linked, 2), (other, 1), (other, 99):
        path = f"/api/messages/{message}/attachments/{attachment}"
        assert client.get(path).status_code == 404, path
