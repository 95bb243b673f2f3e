"""A file server, an S3 storage, and settings that allow fetching from them."""

from collections.abc import Iterator

import pytest

from app import logs
from tests.doubles import s3_server
from tests.doubles.file_server import FileServer, running
from tests.doubles.s3_server import S3Server


@pytest.fixture(autouse=True)
def loopback_allowed(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("POSTROOM_ATTACHMENT_NETWORKS", '["127.0.0.1/32"]')


@pytest.fixture
def full_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log of a process at its most verbose level."""
    for name, level in logs.QUIET_LOGGERS.items():
        caplog.set_level(level, name)
    caplog.set_level("DEBUG")  # last, since each call also sets the level of the handler
    return caplog


@pytest.fixture
def server() -> Iterator[FileServer]:
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server_process() -> Iterator[S3Server]:
    with running(S3Server) as storage:
        assert isinstance(storage, S3Server)
        yield storage


@pytest.fixture
def storage(s3_server_process: S3Server, environment: pytest.MonkeyPatch) -> S3Server:
    """An empty storage that the settings name, with credentials to read it."""
    environment.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY_ID)
    environment.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
    environment.setenv("POSTROOM_S3_REGION", s3_server.REGION)
    environment.setenv("POSTROOM_S3_ENDPOINT", s3_server_process.url)
    s3_server_process.requests.clear()
    s3_server_process.objects = {}
    s3_server_process.fault = None
    return s3_server_process
