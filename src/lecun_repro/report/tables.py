"""Markdown tables, and numbers as they stand in them."""

from collections.abc import Sequence

import numpy as np

from lecun_repro.report.results import Results, Rows
from lecun_repro.report.statistics import Interval, sd

NONE = "\N{EN DASH}"  # in a cell without a value


def at(record: Results) -> str:
    """Where a run diverged, in words."""
    where = record["diverged"]
    return f"the loss of {where['of']} in pass {where['pass']} was {where['loss']} (learning rate {where['rate']:g})"


def diverged_note(rows: Rows, diverged: Rows, what: str = "") -> list[str]:
    """What every table leaves out: runs whose loss became non-finite, row by row."""
    lines = []
    for row, records in diverged.items():
        n = len(records) + len(rows.get(row, []))
        each = "; ".join(f"seed {record['seed']}: {at(record)}" for record in records)
        lines.append(f"- `{row}`{what}: {len(records)} of {n} runs diverged and are in no table. {each}.")
    return lines


def span(interval: Interval, digits: int = 2) -> str:
    """`1.50 to 1.70`, or a dash for the interval of a single value."""
    return NONE if np.isnan(interval.low) else f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation."""
    deviation = "" if len(values) < 2 else f" ± {sd(values):.{digits}f}"
    return f"{np.mean(values):.{digits}f}{deviation}"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines])
