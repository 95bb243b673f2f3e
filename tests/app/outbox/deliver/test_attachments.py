"""Deliver messages whose attachments must be fetched."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from app import db
from app.agents import Agents
from app.attachments import resolve as attachments
from app.attachments.resolve import FETCH_TIMEOUT
from app.outbox.claim import Claim
from app.outbox.deliver import Deliverer
from app.outbox.start import start
from connectors.base import Attachment
from tests.app.outbox.deliver.scripted import Scripted, deliver
from tests.app.outbox.driver import Outbox
from tests.doubles.file_server import Answer, FileServer, Request, running


@pytest.fixture
def server() -> Iterator[FileServer]:
    with running() as server:
        yield server


@pytest.fixture(autouse=True)
def takes_content(scripted: type[Scripted], environment: pytest.MonkeyPatch) -> None:
    environment.setenv("POSTROOM_ATTACHMENT_NETWORKS", '["loopback"]')
    environment.setattr(scripted, "attachment_sources", frozenset({"content"}))


def one(outbox: Outbox, url: str, agent: str = "gateway") -> int:
    file = Attachment("a.pdf", "application/octet-stream", url=url)
    return outbox.one(agent=agent, attachments=[file])


def test_fetched_content_is_sent(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted], server: FileServer
) -> None:
    server.files["/a"] = Answer(body=b"%PDF")
    number = one(outbox, f"{server.url}/a")
    deliver(outbox, deliverer, number)
    assert outbox.status(number) == "sent"
    [given] = scripted.given
    assert [(file.name, file.content_type, file.content) for file in given.attachments] == [
        ("a.pdf", "application/pdf", b"%PDF")
    ]


@pytest.mark.parametrize("agent", ["gateway", "holding"])
@pytest.mark.parametrize(
    ("answer", "status", "result", "code"),
    [
        (Answer(404), "failed", "rejected", "attachment_not_found"),
        (Answer(503), "retry", "unavailable", "attachment_unavailable"),
        (Answer(body=b"x", length_bytes=9), "retry", "unavailable", "attachment_unavailable"),
    ],
)
def test_a_message_is_not_sent_without_its_attachment(
    outbox: Outbox,
    deliverer: Deliverer,
    scripted: type[Scripted],
    server: FileServer,
    agent: str,
    answer: Answer,
    status: str,
    result: str,
    code: str,
) -> None:
    server.files["/a"] = answer
    number = one(outbox, f"{server.url}/a", agent)
    deliver(outbox, deliverer, number, agent)
    row = outbox.row(number)
    assert (row.status, row.error_code, row.attempts) == (status, code, 1)
    [attempt] = outbox.attempts(number)
    assert (attempt.outcome, attempt.code) == (result, code)
    assert scripted.given == []


def test_an_attachment_that_is_available_at_the_next_attempt_is_sent(
    outbox: Outbox, deliverer: Deliverer, scripted: type[Scripted], server: FileServer
) -> None:
    server.files["/a"] = Answer(429)
    number = one(outbox, f"{server.url}/a")
    retry = deliver(outbox, deliverer, number).retry
    server.files["/a"] = Answer(body=b"there")
    outbox.move(number, due_at="0 seconds")
    deliverer.deliver(Claim(number, "gateway", retry.claim_token))
    assert outbox.status(number) == "sent"
    assert scripted.given[0].attachments[0].content == b"there"


def test_misconfigured_storage_pauses_no_agent(
    outbox: Outbox, deliverer: Deliverer, environment: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        environment.setenv(name, "/nowhere")
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    environment.setenv("POSTROOM_S3_ENDPOINT", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name, raising=False)
    number = one(outbox, "s3://bills/a.pdf")
    deliver(outbox, deliverer, number)
    row = outbox.row(number)
    assert (row.status, row.error_code) == ("retry", "attachment_storage")
    assert outbox.execute("SELECT count(*) FROM agent_states WHERE paused").scalar_one() == 0


def test_a_defect_before_the_send_is_not_uncertain(
    outbox: Outbox,
    deliverer: Deliverer,
    scripted: type[Scripted],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(attachments.web, "fetch", defect)
    number = one(outbox, "https://files.example/a", "holding")
    deliver(outbox, deliverer, number, "holding")
    row = outbox.row(number)
    assert (row.status, row.error_code) == ("retry", "defect")
    assert scripted.given == []


def test_no_connection_is_held_while_an_attachment_is_fetched(
    outbox: Outbox,
    deliverer: Deliverer,
    server: FileServer,
    connections_in_use: Callable[[], int],
) -> None:
    held = connections_in_use()
    seen = []

    def fetched(_request: Request) -> Answer:
        seen.append(connections_in_use())
        return Answer()

    server.files["/a"] = fetched
    deliver(outbox, deliverer, one(outbox, f"{server.url}/a"))
    assert seen == [held]


def test_the_lease_covers_fetching_attachments_and_sending(
    outbox: Outbox, loaded_agents: Agents
) -> None:
    lease = loaded_agents.send_lease("gateway")
    table: list[tuple[list[Attachment], timedelta]] = [
        ([], timedelta(0)),
        ([Attachment("a", "text/plain", content=b"x")], timedelta(0)),
        ([Attachment("a", "text/plain", url="https://files.example/a")], FETCH_TIMEOUT),
    ]
    for files, longer in table:
        outbox.one(attachments=files)
        with db.autocommit() as connection:
            [started] = start(connection, outbox.claim(), lease)
        assert started.lease == lease + longer
