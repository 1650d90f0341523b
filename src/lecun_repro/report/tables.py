"""Markdown: documents, their tables, and numbers as they stand in them."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lecun_repro.report.comparison import Comparison
from lecun_repro.report.results import Rows, runs_note
from lecun_repro.report.statistics import Interval, error_interval, sd
from lecun_repro.runs.results import DivergedRun

NONE = "\N{EN DASH}"  # in a cell without a value
DIGITS = {  # what sets of digits are called
    "test": "the {:,} test digits",
    "unseen": "the unseen {:,}",
    "all": "all {:,}",
    "holdout": "the {:,} held out",
}


def digits_names(sizes: Iterable[tuple[str, int]]) -> dict[str, str]:
    """What to call the sets of digits that are there, from their names and sizes, in their order."""
    found: dict[str, set[int]] = {}
    for name, size in sizes:
        found.setdefault(name, set()).add(size)
    return {
        name: words.format(*found[name]) if len(found[name]) == 1 else name
        for name, words in DIGITS.items()
        if name in found
    }


def document(name: str, parts: Sequence[str], rows: Rows) -> str:
    """A report: its title, what is not empty of its parts, and the runs behind them."""
    head = [f"# Results: {name}", "Written by `python cli.py report` from the raw results beside it."]
    return "\n\n".join([*head, *filter(None, parts), "## Runs", runs_note(rows)]) + "\n"


def image(name: str, title: str = "") -> str:
    return f"![{title or name}]({name})"


def diverged_note(rows: Rows, diverged: Mapping[str, Sequence[DivergedRun]], what: str = "") -> list[str]:
    """What every table leaves out: runs whose loss became non-finite, row by row."""
    lines = []
    for row, runs in diverged.items():
        n = len(runs) + len(rows.get(row, []))
        seeds = "; ".join(f"seed {run.seed}: {run.diverged}" for run in runs)
        lines.append(f"- `{row}`{what}: {len(runs)} of {n} runs diverged and are in no table. {seeds}.")
    return lines


def span(interval: Interval, digits: int = 2, sign: str = "") -> str:
    """`1.50 to 1.70`, or a dash for the interval of a single value; with the sign `+`, `-0.54 to +0.03`."""
    return NONE if np.isnan(interval.low) else " to ".join(f"{end:{sign}.{digits}f}" for end in interval)


def spread(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    """Mean ± standard deviation."""
    deviation = "" if len(values) < 2 else f" ± {sd(values):.{digits}f}"
    return f"{np.mean(values):.{digits}f}{deviation}"


def mean_cells(errors: Sequence[float]) -> list[str]:
    """Of errors in percent the mean ± standard deviation, and the 95 % interval of the mean."""
    return [spread(errors), span(error_interval(errors))]


def median(values: Sequence[float], digits: int = 0) -> str:
    """Median (least to most), or a dash: for times, as other work on the machine lengthens single ones."""
    if not values:
        return NONE
    return f"{np.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def ranged(counts: Sequence[int]) -> str:
    """Mean ± standard deviation (least to most)."""
    return f"{spread(counts, 1)} ({min(counts)} to {max(counts)})"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a line that ends early is filled up with dashes."""
    filled = [[*line, *[NONE] * (len(header) - len(line))] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *filled])


def p_value(p: float) -> str:
    """`0.012`, and below one in ten thousand no more than that."""
    return NONE if np.isnan(p) else "<0.0001" if p < 1e-4 else f"{p:.2g}"


def signed(value: float | np.floating) -> str:
    """`-14`, `+3`, and `+0` for either zero."""
    return f"{round(float(value)):+d}" if np.isfinite(value) else "any"


def percents(interval: Interval) -> str:
    """`-22 to -6`, signed."""
    return f"{signed(interval.low)} to {signed(interval.high)}"


def runs_of(comparison: Comparison) -> str:
    """`10`, or of row and base row `5 and 10`."""
    before, after = comparison.n
    return str(after) if before == after else f"{after} and {before}"
