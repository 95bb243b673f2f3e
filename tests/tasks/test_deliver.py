"""The deliver task of an agent."""

from sqlalchemy import Connection

from tests.app.outbox.driver import Outbox
from tests.tasks.conftest import Queues


def test_the_result_of_the_task_is_the_new_status(queues: Queues, connection: Connection) -> None:
    from tasks.deliver import TASKS

    outbox = Outbox(connection)
    number = outbox.at(outbox.one(), "retry", attempts=2)
    [claim] = outbox.claim()
    results = [
        TASKS["gateway"].apply(args=(number, token)).result for token in (claim.token, claim.token)
    ]
    assert results == ["failed", "stale"]
    assert outbox.status(number) == "failed"
