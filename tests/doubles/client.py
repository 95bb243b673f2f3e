"""Run the simulated providers in a process of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.client import RunningSandbox, running_sandbox


@contextmanager
def running_doubles() -> Iterator[RunningSandbox]:
    """Run the sandbox and the providers that only tests use, on free ports, until the block ends.

    Raises:
        RuntimeError: The process did not start; its output is on stderr.
    """
    with running_sandbox(module="tests.doubles") as doubles:
        yield doubles
