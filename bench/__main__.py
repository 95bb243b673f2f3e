"""Run benchmarks: `python -m bench [NAME …]`, by default all.

The table of results is printed on stdout, progress on stderr. The exit code is 1 if a target is
missed.
"""

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import click
from rich.console import Console

from bench import (
    bombs,
    footprint,
    latency,
    neighbours,
    queries,
    scan,
    submission,
    throughput,
    webhooks,
)
from bench.figures import Figure, table

BENCHES = {
    "throughput": throughput.measure,
    "queries": queries.measure,
    "latency": latency.measure,
    "scan": scan.measure,
    "submission": submission.measure,
    "webhooks": webhooks.measure,
    "neighbours": neighbours.measure,
    "bombs": bombs.measure,
    "footprint": footprint.measure,
}
PIPE_WIDTH = 120


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
def main(names: tuple[str, ...]) -> None:
    """Run the benchmarks NAMES, by default all."""
    figures: list[Figure] = []
    try:
        for name in names or BENCHES:
            figures += _measure(name)
    finally:
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        Console(width=width, highlight=False).print(table(figures))
    sys.exit(not all(figure.met for figure in figures))


def _measure(name: str) -> list[Figure]:
    """Run a benchmark in a process of its own, since settings are cached per process."""
    print(f"{name} …", file=sys.stderr, flush=True)
    started = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as executor:
        figures = executor.submit(BENCHES[name]).result()
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return figures


if __name__ == "__main__":
    main()
