"""The files of a message, fetched from a storage that speaks S3, or signed for it."""

import socket
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
from app.attachments.errors import FORBIDDEN, NOT_FOUND, REFUSED, STORAGE, TOO_LARGE, UNAVAILABLE
from connectors.base import ErrorCode
from tests.app.attachments.files import URL, digest, file, refused, resolved
from tests.doubles import s3_server
from tests.doubles.file_server import Answer
from tests.doubles.s3_server import S3Server

ODD_KEY = "2026/in voice é+%?#.pdf"
OBJECT = Answer(body=b"%PDF", headers={"Content-Type": "application/pdf"})


@pytest.fixture(autouse=True)
def bucket(storage: S3Server) -> dict[str, Answer]:
    storage.objects["bills"] = {"a.pdf": OBJECT, ODD_KEY: OBJECT}
    return storage.objects["bills"]


@pytest.fixture
def new_client() -> Iterator[None]:
    """A client that remembers no credentials and no region, and is not kept. The others are, for
    each takes a while to make."""
    s3._client.cache_clear()
    yield
    s3._client.cache_clear()


def code_of(address: str = "s3://bills/a.pdf") -> str:
    return refused(file(address)).code


@pytest.mark.parametrize("key", ["a.pdf", ODD_KEY])
def test_an_object_is_fetched_with_its_type(storage: S3Server, key: str) -> None:
    [found] = resolved(file(f"s3://bills/{key}", sha256=digest(b"%PDF")))
    assert (found.content, found.content_type) == (b"%PDF", "application/pdf")
    assert [one.method for one in storage.asked] == ["GET"]


def test_several_threads_share_the_storage() -> None:
    found = resolved(*[file("s3://bills/a.pdf")] * 8)
    assert [one.content for one in found] == [b"%PDF"] * 8


@pytest.mark.parametrize(
    ("bucket_name", "key"), [("bills", "b.pdf"), ("bills", "A.PDF"), ("none", "a.pdf")]
)
def test_what_is_not_there_is_not_found(bucket_name: str, key: str) -> None:
    assert code_of(f"s3://{bucket_name}/{key}") == "attachment_not_found"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong"),
        ("AWS_ACCESS_KEY_ID", "AKIDNOBODY"),
        ("POSTROOM_S3_REGION", "elsewhere-1"),
    ],
)
def test_a_wrong_set_up_waits_for_whoever_mends_it(
    new_client: None, environment: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    environment.setenv(variable, value)
    error = refused(file("s3://bills/a.pdf"))
    assert error.code == "attachment_storage"
    assert not [secret for secret in ("wrong", s3_server.SECRET) if secret in str(error)]


def test_without_credentials_the_storage_cannot_be_asked(
    new_client: None, storage: S3Server, environment: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        environment.setenv(name, "/nowhere")
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert code_of() == "attachment_storage"
    assert storage.asked == []


NAMED = [
    ("NoSuchKey", 404, NOT_FOUND),
    ("NoSuchBucket", 404, NOT_FOUND),
    ("NoSuchVersion", 404, NOT_FOUND),
    ("AccessDenied", 403, FORBIDDEN),
    ("InvalidObjectState", 403, FORBIDDEN),
    ("AuthorizationHeaderMalformed", 400, STORAGE),
    ("ExpiredToken", 400, STORAGE),
    ("InvalidAccessKeyId", 403, STORAGE),
    ("InvalidToken", 400, STORAGE),
    ("RequestTimeTooSkewed", 403, STORAGE),
    ("SignatureDoesNotMatch", 403, STORAGE),
    ("InternalError", 500, UNAVAILABLE),
    ("RequestTimeout", 400, UNAVAILABLE),
    ("ServiceUnavailable", 503, UNAVAILABLE),
    ("SlowDown", 503, UNAVAILABLE),
    ("BandwidthLimitExceeded", 509, UNAVAILABLE),
    ("LimitExceededException", 400, UNAVAILABLE),
    ("PriorRequestNotComplete", 400, UNAVAILABLE),
    ("ProvisionedThroughputExceededException", 400, UNAVAILABLE),
    ("RequestLimitExceeded", 400, UNAVAILABLE),
    ("RequestThrottled", 400, UNAVAILABLE),
    ("RequestThrottledException", 400, UNAVAILABLE),
    ("ThrottledException", 400, UNAVAILABLE),
    ("Throttling", 400, UNAVAILABLE),
    ("ThrottlingException", 400, UNAVAILABLE),
    ("TooManyRequestsException", 400, UNAVAILABLE),
    ("TransactionInProgressException", 400, UNAVAILABLE),
]
UNNAMED = [
    ("KeyTooLongError", 400, REFUSED),
    ("InvalidRange", 416, REFUSED),
    ("PreconditionFailed", 412, REFUSED),
    ("NewlyInvented", 403, FORBIDDEN),
    ("NewlyInvented", 404, NOT_FOUND),
    ("NewlyInvented", 429, UNAVAILABLE),
    ("NewlyInvented", 502, UNAVAILABLE),
    ("NewlyInvented", 504, UNAVAILABLE),
]


@pytest.mark.parametrize(("name", "status", "row"), [*NAMED, *UNNAMED])
def test_each_error_has_its_outcome(
    storage: S3Server, name: str, status: int, row: ErrorCode
) -> None:
    storage.fault = s3_server.error(status, name)
    error = refused(file("s3://bills/a.pdf"))
    assert error.code == row.code
    assert name in error.detail


def test_no_error_of_the_table_is_left_out() -> None:
    assert {name for name, _, _ in NAMED} == set(s3.ROW_OF_ERROR) - {"PermanentRedirect"}


def test_a_bucket_of_another_region_is_asked_for_there(
    new_client: None, storage: S3Server, environment: pytest.MonkeyPatch
) -> None:
    moved = s3_server.error(301, "PermanentRedirect")
    storage.fault = replace(moved, headers={"x-amz-bucket-region": "eu-test-2"})
    environment.setattr(s3_server, "REGIONS", [s3_server.REGION, "eu-test-2"])
    error = refused(file("s3://bills/a.pdf"))
    assert (error.code, error.detail.split()[-1]) == (STORAGE.code, "PermanentRedirect")
    assert len(storage.asked) == 2


def test_one_try_asks_once(storage: S3Server) -> None:
    storage.fault = s3_server.error(503, "SlowDown")
    code_of()
    assert len(storage.asked) == 1


@pytest.mark.parametrize("status", [403, 500])
def test_an_error_that_is_no_xml_has_the_outcome_of_its_status(
    storage: S3Server, status: int
) -> None:
    storage.fault = Answer(status, b"<html>Bad day</html", {"Content-Type": "text/html"})
    assert code_of() == ("attachment_forbidden" if status == 403 else "attachment_unavailable")


def test_an_object_that_breaks_off_is_none(bucket: dict[str, Answer]) -> None:
    bucket["a.pdf"] = replace(OBJECT, length_bytes=99)
    assert code_of() == "attachment_unavailable"


def test_a_storage_that_is_not_there_is_unavailable(environment: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    environment.setenv("POSTROOM_S3_ENDPOINT", f"http://127.0.0.1:{port}")
    assert code_of() == "attachment_unavailable"


def test_a_storage_that_hangs_is_waited_for_until_the_limit(
    storage: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "answer", storage.hang)
    monkeypatch.setattr(attachments, "FETCH_LIMIT", timedelta(milliseconds=200))
    assert code_of() == "attachment_unavailable"


def test_an_object_that_goes_on_after_the_deadline_is_left(bucket: dict[str, Answer]) -> None:
    with pytest.raises(attachments.AttachmentError) as caught:
        s3.fetch("s3://bills/a.pdf", 100, time.monotonic())
    assert caught.value.row is UNAVAILABLE


@pytest.mark.parametrize(
    "too_large",
    [
        Answer(body=bytes(1001)),
        Answer(body=bytes(1001), length_bytes=None),
        Answer(body=b"it is not read", length_bytes=10**12),
    ],
)
def test_an_object_has_the_limit_of_every_file(
    bucket: dict[str, Answer], environment: pytest.MonkeyPatch, too_large: Answer
) -> None:
    environment.setenv("POSTROOM_ATTACHMENT_LIMIT_BYTES", "1000")
    bucket["a.pdf"] = Answer(body=bytes(1000))
    [found] = resolved(file("s3://bills/a.pdf"))
    assert len(found.content or b"") == 1000
    bucket["a.pdf"] = too_large
    assert code_of() == TOO_LARGE.code


@pytest.mark.parametrize("key", ["a.pdf", ODD_KEY])
def test_who_takes_addresses_alone_is_given_a_signed_one(storage: S3Server, key: str) -> None:
    [found] = resolved(file(f"s3://bills/{key}", name="a.pdf"), sources=URL)
    assert (found.content, found.content_type) == (None, "application/pdf")
    assert storage.asked == []
    assert found.url is not None
    with requests.Session() as session:
        assert session.get(found.url, timeout=5).content == b"%PDF"
        assert "X-Amz-Expires=3600" in found.url
        longer = found.url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200")
        assert session.get(longer, timeout=5).status_code == 403


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_an_address_is_never_signed_in_the_old_way(
    new_client: None, environment: pytest.MonkeyPatch, region: str
) -> None:
    environment.setenv("POSTROOM_S3_REGION", region)
    [found] = resolved(file("s3://bills/a.pdf"), sources=URL)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in (found.url or "")


def test_nobody_else_is_let_in(storage: S3Server) -> None:
    with requests.Session() as session:
        assert session.get(f"{storage.url}/bills/a.pdf", timeout=5).status_code == 403


def test_no_part_of_an_address_is_told(
    storage: S3Server, quiet_log: pytest.LogCaptureFixture
) -> None:
    storage.fault = s3_server.error(403, "AccessDenied")
    error = refused(file("s3://bills/private/salary.pdf", name="name.pdf"))
    told = f"{error} {quiet_log.text}"
    hidden = ("bills", "private", "salary", "name.pdf", s3_server.SECRET, "Signature=")
    assert not [word for word in hidden if word in told]


def test_boto3_is_imported_only_when_it_is_needed() -> None:
    program = "import sys, app.delivery, app.api, tasks; assert 'botocore' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
