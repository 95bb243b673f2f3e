"""Fetching files from a storage with the API of S3, and signing addresses for them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import requests

from app.attachments import resolve as attachments
from app.attachments import s3
from app.attachments.errors import (
    FORBIDDEN,
    NOT_FOUND,
    REFUSED,
    STORAGE,
    TOO_LARGE,
    UNAVAILABLE,
    AttachmentError,
)
from tests.app.attachments.files import URL, digest, file, rejection, resolved
from tests.doubles import s3_server
from tests.doubles.file_server import Answer
from tests.doubles.s3_server import S3Server
from tests.servers import free_port

ODD_KEY = "2026/in voice é+%?#.pdf"
OBJECT = Answer(body=b"%PDF", headers={"Content-Type": "application/pdf"})


@pytest.fixture(autouse=True)
def bucket(storage: S3Server) -> dict[str, Answer]:
    storage.objects["bills"] = {"a.pdf": OBJECT, ODD_KEY: OBJECT}
    return storage.objects["bills"]


@pytest.fixture
def new_client() -> Iterator[None]:
    """Make a client without cached credentials and region; the others are cached for speed."""
    s3._client.cache_clear()
    yield
    s3._client.cache_clear()


def code_of(address: str = "s3://bills/a.pdf") -> str:
    return rejection(file(address)).code


def test_object_is_fetched_with_its_type(storage: S3Server) -> None:
    for key in ("a.pdf", ODD_KEY):
        [found] = resolved(file(f"s3://bills/{key}", sha256=digest(b"%PDF")))
        assert (found.content, found.content_type) == (b"%PDF", "application/pdf")
    assert [one.method for one in storage.requests] == ["GET", "GET"]


def test_client_is_shared_by_threads() -> None:
    found = resolved(*[file("s3://bills/a.pdf")] * 8)
    assert [one.content for one in found] == [b"%PDF"] * 8


def test_missing_object_or_bucket_is_not_found() -> None:
    for location in ("bills/b.pdf", "bills/A.PDF", "none/a.pdf"):
        assert code_of(f"s3://{location}") == "attachment_not_found"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong"),
        ("AWS_ACCESS_KEY_ID", "AKIDNOBODY"),
        ("POSTROOM_S3_REGION", "elsewhere-1"),
    ],
)
def test_wrong_configuration_is_retried_until_it_is_corrected(
    new_client: None, environment: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    environment.setenv(variable, value)
    error = rejection(file("s3://bills/a.pdf"))
    assert error.code == "attachment_storage"
    assert not [secret for secret in ("wrong", s3_server.SECRET) if secret in str(error)]


def test_missing_credentials_send_no_request(
    new_client: None, storage: S3Server, environment: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        environment.setenv(name, "/nowhere")
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert code_of() == "attachment_storage"
    assert storage.requests == []


def test_documented_errors_have_their_codes(storage: S3Server) -> None:
    rows = [
        *((name, 400, code) for name, code in s3.CODE_OF_ERROR.items()),
        ("KeyTooLongError", 400, REFUSED),
        ("InvalidRange", 416, REFUSED),
        ("PreconditionFailed", 412, REFUSED),
        ("NewlyInvented", 403, FORBIDDEN),
        ("NewlyInvented", 404, NOT_FOUND),
        ("NewlyInvented", 429, UNAVAILABLE),
        ("NewlyInvented", 502, UNAVAILABLE),
    ]
    failures = []
    for name, status, code in rows:
        storage.fault = s3_server.error(status, name)
        error = rejection(file("s3://bills/a.pdf"))
        if error.code != code.code or name not in error.detail:
            failures.append((name, status, error))
    assert not failures


def test_bucket_in_another_region_is_requested_there(
    new_client: None, storage: S3Server, environment: pytest.MonkeyPatch
) -> None:
    moved = s3_server.error(301, "PermanentRedirect")
    storage.fault = replace(moved, headers={"x-amz-bucket-region": "eu-test-2"})
    environment.setattr(s3_server, "REGIONS", [s3_server.REGION, "eu-test-2"])
    error = rejection(file("s3://bills/a.pdf"))
    assert (error.code, error.detail.split()[-1]) == (STORAGE.code, "PermanentRedirect")
    assert len(storage.requests) == 2


def test_failed_request_is_not_retried_within_an_attempt(storage: S3Server) -> None:
    storage.fault = s3_server.error(503, "SlowDown")
    assert code_of() == UNAVAILABLE.code
    assert len(storage.requests) == 1


def test_error_without_xml_is_classified_by_its_status(storage: S3Server) -> None:
    for status, code in ((403, FORBIDDEN), (500, UNAVAILABLE)):
        storage.fault = Answer(status, b"<html>Bad day</html", {"Content-Type": "text/html"})
        assert code_of() == code.code


def test_truncated_object_is_unavailable(bucket: dict[str, Answer]) -> None:
    bucket["a.pdf"] = replace(OBJECT, length_bytes=99)
    assert code_of() == UNAVAILABLE.code


def test_unreachable_storage_is_unavailable(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("POSTROOM_S3_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert code_of() == UNAVAILABLE.code


def test_storage_that_hangs_is_abandoned_at_the_time_limit(
    storage: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "answer", storage.hang)
    monkeypatch.setattr(attachments, "FETCH_TIMEOUT", timedelta(milliseconds=200))
    assert code_of() == UNAVAILABLE.code


def test_object_is_not_read_beyond_the_deadline() -> None:
    with pytest.raises(AttachmentError) as caught:
        s3.fetch("s3://bills/a.pdf", 100, time.monotonic())
    assert caught.value.code is UNAVAILABLE


def test_object_is_subject_to_the_size_limit(
    bucket: dict[str, Answer], environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("POSTROOM_ATTACHMENT_LIMIT_BYTES", "1000")
    bucket["a.pdf"] = Answer(body=bytes(1000))
    [found] = resolved(file("s3://bills/a.pdf"))
    assert len(found.content or b"") == 1000
    for too_large in (
        Answer(body=bytes(1001)),
        Answer(body=bytes(1001), length_bytes=None),
        Answer(body=b"not read", length_bytes=10**12),
    ):
        bucket["a.pdf"] = too_large
        assert code_of() == TOO_LARGE.code


def test_signed_address_is_valid_for_an_hour(storage: S3Server) -> None:
    for key in ("a.pdf", ODD_KEY):
        [found] = resolved(file(f"s3://bills/{key}", name="a.pdf"), sources=URL)
        assert (found.content, found.content_type) == (None, "application/pdf")
        assert storage.requests == []
        assert found.url is not None
        assert "X-Amz-Expires=3600" in found.url
        longer = found.url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200")
        with requests.Session() as session:
            assert session.get(found.url, timeout=5).content == b"%PDF"
            assert session.get(longer, timeout=5).status_code == 403
        storage.requests.clear()


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_address_is_signed_with_version_4_in_every_region(
    new_client: None, environment: pytest.MonkeyPatch, region: str
) -> None:
    environment.setenv("POSTROOM_S3_REGION", region)
    [found] = resolved(file("s3://bills/a.pdf"), sources=URL)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in (found.url or "")


def test_no_part_of_an_address_is_in_an_error_or_log(
    storage: S3Server, full_log: pytest.LogCaptureFixture
) -> None:
    storage.fault = s3_server.error(403, "AccessDenied")
    error = rejection(file("s3://bills/private/salary.pdf", name="name.pdf"))
    written = f"{error} {full_log.text}"
    hidden = ("bills", "private", "salary", "name.pdf", s3_server.SECRET, "Signature=")
    assert not [word for word in hidden if word in written]


def test_boto3_is_imported_only_when_it_is_used() -> None:
    modules = "app.outbox.deliver, app.api.factory, tasks"
    program = f"import sys, {modules}; assert 'botocore' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
