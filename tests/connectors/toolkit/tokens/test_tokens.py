import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from connectors.base import Misconfigured, Rejected, SendError, Unavailable, Uncertain
from connectors.toolkit.http import Response
from connectors.toolkit.tokens import Token, with_token


def test_token_is_renewed_before_it_expires(make_source, clock, endpoint) -> None:
    rows = [(100_000, 3300), (3600, 3240), (1200, 1080), (300, 240), (120, 60), (60, 30), (2, 1)]
    failures = []
    for lifetime_seconds, used_seconds in rows:
        endpoint.lifetime_seconds = lifetime_seconds
        endpoint.fetches = 0
        source = make_source(name=str(lifetime_seconds))
        found = [source.get()]
        clock.seconds += used_seconds - 0.5
        found.append(source.get())
        clock.seconds += 0.5
        found.append(source.get())
        if found != ["t1", "t1", "t2"]:
            failures.append((lifetime_seconds, found))
    assert not failures


def test_lifetime_starts_when_the_token_was_requested(source, clock, endpoint):
    def take_long() -> None:
        clock.seconds += 100

    endpoint.before = take_long

    source.get()
    clock.seconds += 3140
    assert source.get() == "t2"


def test_concurrent_threads_fetch_one_token(source, clock, endpoint):
    got: list[str] = []
    threads = [
        threading.Thread(target=lambda: got.append(source.get()), name=f"asker {n}")
        for n in range(20)
    ]
    clock.seen_by = {thread.name: threading.Event() for thread in threads}
    # All threads ask before the endpoint responds.
    endpoint.before = lambda: [asked.wait(60) for asked in clock.seen_by.values()]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got == ["t1"] * 20
    assert endpoint.fetches == 1


def test_other_threads_use_the_old_token_during_a_renewal(source, clock, endpoint):
    fetching, go_on = threading.Event(), threading.Event()
    source.get()
    clock.seconds += 3300

    def wait() -> None:
        fetching.set()
        assert go_on.wait(60)

    endpoint.before = wait
    with ThreadPoolExecutor(1) as pool:
        renewed = pool.submit(source.get)
        assert fetching.wait(60)
        assert source.get() == "t1"
        go_on.set()
        assert renewed.result() == "t2"
    assert source.get() == "t2"


def test_waiting_threads_fail_with_the_fetch(source, clock, endpoint):
    failures: list[SendError] = []
    asked = clock.seen_by["waiting"] = threading.Event()

    def ask() -> None:
        with pytest.raises(Unavailable) as raised:
            source.get()
        failures.append(raised.value)

    waiting = threading.Thread(target=ask, name="waiting")

    def fail() -> None:
        waiting.start()
        assert asked.wait(60)

    endpoint.before, endpoint.failure = fail, Unavailable("503")
    with pytest.raises(Unavailable):
        source.get()
    waiting.join()

    assert [failure.code for failure in failures] == ["503"]
    assert endpoint.fetches == 1


def test_next_request_after_a_failed_fetch_tries_again(source, clock, endpoint):
    endpoint.failure = Unavailable("503")
    with pytest.raises(Unavailable):
        source.get()
    clock.seconds += 1

    endpoint.failure = None
    assert source.get() == "t2"


@pytest.mark.parametrize("failure", [Unavailable("503"), Misconfigured("invalid_client")])
def test_token_that_cannot_be_renewed_is_used_until_it_expires(
    source, clock, endpoint, caplog, failure
):
    source.get()
    endpoint.failure = failure

    clock.seconds += 3300
    assert source.get() == source.get() == "t1"
    assert endpoint.fetches == 2
    clock.seconds += 30
    assert source.get() == "t1"
    assert endpoint.fetches == 3

    clock.seconds += 300
    with pytest.raises(type(failure)):
        source.get()
    assert f"token renewal failed, the old token is still valid: {failure.code}" in caplog.text


def test_failed_token_fetch_is_not_the_fault_of_the_message(source, endpoint, clock) -> None:
    rows = [
        (Unavailable("503", "d"), Unavailable),
        (Misconfigured("invalid_client", "d"), Misconfigured),
        (Uncertain("timed_out", "d"), Unavailable),
        (Rejected("404", "d"), Misconfigured),
    ]
    failures = []
    for failure, outcome in rows:
        endpoint.failure = failure
        with pytest.raises(SendError) as raised:
            source.get()
        clock.seconds += 1
        error = raised.value
        if (type(error), error.code, error.detail) != (outcome, failure.code, failure.detail):
            failures.append((failure, error))
    assert not failures


def test_only_the_rejected_token_is_dropped(source, store, endpoint):
    source.get()
    source.invalidate("t1")
    source.get()
    store._entries.clear()

    source.invalidate("t1")
    assert source.get() == "t2"


def test_rejected_token_is_not_reused_if_its_renewal_fails(source, clock, endpoint):
    source.get()
    clock.seconds += 3300
    endpoint.before = lambda: source.invalidate("t1")
    endpoint.failure = Unavailable("503")

    with pytest.raises(Unavailable):
        source.get()


def test_rejected_token_that_the_endpoint_returns_again_counts_as_new(source, clock, endpoint):
    endpoint.value = lambda _: "same"
    source.get()
    source.invalidate("same")

    assert source.get() == source.get() == "same"
    assert endpoint.fetches == 2
    clock.seconds += 3300
    endpoint.failure = Unavailable("503")
    assert source.get() == "same"


def test_tokens_are_not_logged(source, clock, endpoint, caplog):
    caplog.set_level(logging.DEBUG)
    source.get()
    clock.seconds += 3300
    endpoint.failure = Unavailable("503")
    source.get()

    assert "t1" not in caplog.text
    assert "t1" not in repr(Token("t1", timedelta(1)))


class RejectingProvider:
    """Responds with the given statuses and records the tokens."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses = iter(statuses)
        self.tokens: list[str] = []

    def send(self, token: str) -> Response:
        self.tokens.append(token)
        return Response(next(self.statuses), {})


def test_request_is_repeated_once_with_a_new_token(make_source, endpoint) -> None:
    rows = [
        ([200], ["t1"], 200),
        ([503], ["t1"], 503),
        ([401, 200], ["t1", "t2"], 200),
        ([401, 401], ["t1", "t2"], 401),
    ]
    failures = []
    for statuses, tokens_used, status in rows:
        provider = RejectingProvider(statuses)
        endpoint.fetches = 0
        found = with_token(make_source(name=str(statuses)), provider.send).status
        if (provider.tokens, found) != (tokens_used, status):
            failures.append((statuses, provider.tokens, found))
    assert not failures


def test_connector_decides_what_a_rejected_token_looks_like(source):
    replies = iter([403, 200])

    response = with_token(
        source, lambda _: Response(next(replies), {}), lambda response: response.status == 403
    )

    assert response.status == 200
