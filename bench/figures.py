"""The results of a benchmark, and their table."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A row of the table: a value with its unit, and its target, if any."""

    measure: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """Whether the target is met. True without a target."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def target(self) -> str:
        """The target in words, and whether it is met."""
        if self.at_least is not None:
            words = f"at least {self.at_least:g} {self.unit}"
        elif self.at_most is not None:
            words = f"at most {self.at_most:g} {self.unit}"
        else:
            return ""
        return f"{words.strip()}: {'met' if self.met else 'MISSED'}"


def percentiles(values: Sequence[float], *wanted: int) -> list[float]:
    """Return percentiles (1 to 99) of at least two values."""
    hundredths = statistics.quantiles(values, n=100, method="inclusive")
    return [hundredths[percent - 1] for percent in wanted]


def table(figures: Iterable[Figure]) -> Table:
    """Return the figures as a table."""
    made = Table("measure", "figure", "", "target")
    made.columns[1].justify = "right"
    for figure in figures:
        style = None if figure.met else "bold red"
        made.add_row(figure.measure, _number(figure.value), figure.unit, figure.target, style=style)
    return made


def _number(value: float) -> str:
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{decimals}f}"
