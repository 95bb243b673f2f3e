"""The start page and the API reference."""

from flask.testing import FlaskClient


def test_start_page_leads_to_the_reference_and_needs_no_token(anonymous: FlaskClient) -> None:
    response = anonymous.get("/")
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert 'href="/docs"' in response.text
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
