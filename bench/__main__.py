"""Runs the benches named, or all: `python -m bench [throughput] [latency] …`. The table goes to
stdout, what is under way to stderr. Fails where a target is missed."""

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import click
from rich.console import Console

from bench import latency, neighbours, queries, scan, submission, throughput, webhooks
from bench.figures import Figure, table

BENCHES = {
    "throughput": throughput.measure,
    "queries": queries.measure,
    "latency": latency.measure,
    "scan": scan.measure,
    "submission": submission.measure,
    "webhooks": webhooks.measure,
    "neighbours": neighbours.measure,
}
WIDTH_OF_A_PIPE = 120


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
def main(names: tuple[str, ...]) -> None:
    """Measure Postroom's speed: all of it, or what is NAMED."""
    figures: list[Figure] = []
    try:
        for name in names or BENCHES:
            figures += _measure(name)
    finally:
        width = None if sys.stdout.isatty() else WIDTH_OF_A_PIPE
        Console(width=width, highlight=False).print(table(figures))
    sys.exit(not all(figure.met for figure in figures))


def _measure(name: str) -> list[Figure]:
    """Each bench has servers of its own, and so needs a process where nothing remembers others."""
    print(f"{name} …", file=sys.stderr, flush=True)
    begun = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as executor:
        figures = executor.submit(BENCHES[name]).result()
    print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return figures


if __name__ == "__main__":
    main()
