from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from connectors.base import Unavailable
from connectors.toolkit import tokens
from connectors.toolkit.tokens import ProcessStore, Stored, StoreError

SECRET = b"s3cret-of-ours"


class BrokenStore(ProcessStore):
    """A store that fails at the operations named in `broken`."""

    def __init__(self, *broken: str) -> None:
        super().__init__()
        self.broken = set(broken)

    def _pass(self, operation: str) -> None:
        if operation in self.broken:
            raise StoreError("ConnectionError")

    def read(self, name: str) -> Stored | None:
        self._pass("read")
        return super().read(name)

    def write(self, name: str, value: bytes, lifetime: timedelta) -> None:
        self._pass("write")
        super().write(name, value, lifetime)

    @contextmanager
    def lock(self, name: str, timeout: timedelta) -> Iterator[None]:
        self._pass("lock")
        with super().lock(name, timeout):
            yield


def test_processes_share_a_token(make_source, endpoint):
    first, second = make_source(), make_source()

    assert first.get() == second.get() == "t1"
    assert endpoint.fetches == 1


def test_remaining_lifetime_is_that_of_the_store(make_source, clock):
    make_source().get()
    clock.seconds += 3000
    late = make_source()

    assert late.get() == "t1"
    clock.seconds += 239
    assert late.get() == "t1"
    clock.seconds += 1
    assert late.get() == "t2"


def test_stored_token_is_used_while_it_cannot_be_renewed(make_source, clock, endpoint):
    make_source().get()
    clock.seconds += 3500
    endpoint.failure = Unavailable("503")

    assert make_source().get() == "t1"


def test_rejected_token_is_replaced_once_for_all_threads(make_source, endpoint):
    first, second = make_source(), make_source()
    first.get()
    second.get()

    first.invalidate("t1")
    assert first.get() == "t2"
    second.invalidate("t1")
    assert second.get() == "t2"
    assert endpoint.fetches == 2


def test_stored_tokens_are_encrypted(make_source, store):
    make_source("client-7 at endpoint").get()

    [(name, (value, _))] = store._entries.items()
    for readable in ("t1", "client-7", "endpoint", SECRET.decode()):
        assert readable not in name
        assert readable.encode() not in value


@pytest.mark.parametrize(
    "other", [{"secret": b"another"}, {"name": "another client"}], ids=["secret", "name"]
)
def test_tokens_of_other_identities_are_not_used(make_source, store, endpoint, other):
    ours, theirs = make_source(), make_source(**other)
    theirs.get()
    [(_, entry)] = store._entries.items()
    store._entries[ours._stored_name] = entry

    assert ours.get() == "t2"


@pytest.mark.parametrize("operation", ["lock", "read", "write"])
def test_unreachable_store_does_not_stop_sends_and_is_logged_once(
    make_source, clock, endpoint, caplog, operation
):
    store = BrokenStore(operation)
    tokens.use_store(store)
    source = make_source()

    assert source.get() == source.get() == "t1"
    clock.seconds += 3300
    assert source.get() == "t2"
    logged = [record.getMessage() for record in caplog.records]
    assert logged == ["tokens are not shared: the token store is unavailable: ConnectionError"] * (
        2 if operation == "write" else 1  # each read before it succeeds
    )

    store.broken.clear()
    clock.seconds += 3300
    assert source.get() == "t3"
    assert make_source().get() == "t3"
