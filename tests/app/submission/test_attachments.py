"""Validation of attachments."""

import base64
import hashlib
from typing import Any

import pytest

from app.agents import Agents
from app.errors import InvalidError
from app.settings import settings
from tests.app.submission.test_validation import errors_of, submit

FILE = {"filename": "a.txt", "content": "aGk="}
SHA256 = hashlib.sha256(b"hi").hexdigest()
LINK = "https://example.com/files/image%20one.png?size=1"
UNKNOWN = "application/octet-stream"


def test_content_is_decoded_and_typed(loaded_agents: Agents) -> None:
    submission = submit(loaded_agents, "email", attachments=[{**FILE, "sha256": SHA256}])
    [attachment] = submission.attachments
    assert (attachment.name, attachment.content_type) == ("a.txt", "text/plain")
    assert (attachment.content, attachment.sha256) == (b"hi", SHA256)
    typed = submit(loaded_agents, "email", attachments=[{**FILE, "content_type": "text/x-note"}])
    assert typed.attachments[0].content_type == "text/x-note"


def test_link_is_stored_with_a_name_and_type(loaded_agents: Agents) -> None:
    rows: list[tuple[Any, str, str]] = [
        (LINK, "image one.png", UNKNOWN),
        ({"url": LINK}, "image one.png", UNKNOWN),
        ({"url": LINK, "filename": "b.pdf", "content_type": "a/b"}, "b.pdf", "a/b"),
        ({"url": "https://example.com"}, "attachment", UNKNOWN),
        ({"url": "https://example.com/a", "sha256": SHA256.upper()}, "a", UNKNOWN),
        ("s3://bills/2026/in voice%20é.pdf", "in voice%20é.pdf", UNKNOWN),
        ({"url": "s3://my.bills-1/a?b#c"}, "a?b#c", UNKNOWN),
    ]
    failures = []
    for given, name, content_type in rows:
        [stored] = submit(loaded_agents, "email", attachments=[given]).attachments
        link = {"url": given} if isinstance(given, str) else given
        expected = (name, content_type, link["url"], link.get("sha256"), None)
        found = (stored.name, stored.content_type, stored.url, stored.sha256, stored.content)
        if found != expected:
            failures.append((given, found))
    assert not failures


def test_invalid_attachments_are_rejected_with_a_reason(loaded_agents: Agents) -> None:
    link = {"url": LINK, "sha256": SHA256}
    rows: list[tuple[Any, dict[str, Any], str, str]] = [
        ("sms", {"attachments": [LINK]}, "attachments", "channel mms"),
        ("sms", {"attachments": [FILE], "type": "mms"}, "attachments[0]", "only url"),
        ("sms", {"attachments": [link], "type": "mms"}, "attachments[0].sha256", "provider"),
        ("email", {"attachments": ["ftp://example.com/a"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["s3://Bills/a.pdf"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["s3://bills/"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["s3://bills/a\nb"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["s3://bills/\ud800"]}, "attachments[0]", "unicode"),
        ("email", {"attachments": ["http://[::z]/a"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["http://[::1/a"]}, "attachments[0]", "pattern"),
        ("email", {"attachments": ["http://[1:2]:99999/"]}, "attachments[0]", "IPv6"),
        ("email", {"attachments": [{"url": "http://[1:2]:9/"}]}, "attachments[0].url", "IPv6"),
        ("email", {"attachments": [{**FILE, "url": LINK}]}, "attachments[0].url", "unknown field"),
        (
            "email",
            {"attachments": [{**link, "sha256": "12"}]},
            "attachments[0].sha256",
            "pattern",
        ),
        (
            "email",
            {"attachments": [{**FILE, "sha256": "0" * 64}]},
            "attachments[0].sha256",
            "does not match",
        ),
        ("email", {"attachments": [{"filename": "a"}]}, "attachments[0].url", "required"),
        ("email", {"attachments": [7]}, "attachments[0]", "an object"),
        (
            "email",
            {"attachments": [FILE, {**FILE, "content": "a!"}]},
            "attachments[1].content",
            "base64",
        ),
        (
            "email",
            {"attachments": [{**FILE, "filename": "../a"}]},
            "attachments[0].filename",
            "pattern",
        ),
    ]
    failures = []
    for channel, fields, field, reason in rows:
        errors = {error.field: error.reason for error in errors_of(loaded_agents, channel, fields)}
        if reason not in errors.get(field, ""):
            failures.append((fields, errors))
    assert not failures


def test_content_of_all_attachments_has_a_limit(
    environment: pytest.MonkeyPatch, loaded_agents: Agents
) -> None:
    environment.setenv("POSTROOM_ATTACHMENT_LIMIT_BYTES", "100")
    settings.cache_clear()
    half, more = (
        {"filename": "a", "content": base64.b64encode(bytes(size)).decode()} for size in (50, 51)
    )
    submit(loaded_agents, "email", attachments=[half, half])
    with pytest.raises(InvalidError, match="attachments: must not exceed 100 bytes"):
        submit(loaded_agents, "email", attachments=[half, more])
