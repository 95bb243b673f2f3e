from collections.abc import Iterator

import pytest

from connectors.toolkit import tokens
from connectors.toolkit.tokens import ProcessStore


@pytest.fixture
def token_store() -> Iterator[ProcessStore]:
    """A store of access tokens that only this test uses."""
    store = ProcessStore()
    tokens.use_store(store)
    yield store
    tokens.use_store(ProcessStore())
