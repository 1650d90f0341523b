"""The report on rows of one's own: side by side, without a word on the article or the paper."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from lecun_repro.report import tables
from lecun_repro.report.figures import curves_figure, waterfall_figure
from lecun_repro.report.results import Rows, errors, misses, paired
from lecun_repro.report.statistics import improved, mcnemar, mean_interval
from lecun_repro.report.tables import image, ranged, span, spread, table

RULES = """\
- Every run trains one row's YAML with one seed, to its last pass, and is evaluated on its test digits, or on digits
  held out of training (`holdout`).
- The 95 % interval of a mean is Student's t over the seeds. It tells how well the mean over seeds is known, on these
  digits; others would give another mean.
- A step is *better* or *worse* if the 95 % interval of the mean difference in misses, paired by seed, excludes 0 and
  the median over seeds of the exact McNemar test's p is below 0.05; otherwise a difference is *not shown*.
"""
STEP = ["step", "seeds", "misses, mean difference", "95 %", "McNemar p, median", "p < 0.05"]


def figures(name: str, rows: Rows) -> dict[str, Figure | None]:
    """By file name: the rows' errors, and their learning curves."""
    return {f"{name}_steps.png": waterfall_figure(rows), f"{name}_curves.png": curves_figure(rows)} if rows else {}


def document(name: str, rows: Rows, draws: Rows, shown: Sequence[str]) -> str:
    """The whole report as Markdown, with the figures that are shown."""
    parts = [RULES.strip(), *(["## Rows", rows_table(rows)] if rows else []), *steps(rows), *map(image, shown)]
    parts += ["## With draws of their own", rows_table(draws)] if draws else []
    return tables.document(name, parts, {**rows, **{f"{row} (other draws)": runs for row, runs in draws.items()}})


def rows_table(rows: Rows) -> str:
    """Per row: the seeds, what it was evaluated on, train and evaluation error."""
    lines = []
    for row, results in rows.items():
        evaluated = dict.fromkeys(f"{r.evaluation.n:,} {r.evaluation_split}" for r in results)
        line = [f"`{row}`", str(len(results)), ", ".join(evaluated), spread(errors(results, "train"))]
        lines.append([*line, spread(errors(results)), span(mean_interval(errors(results))), ranged(misses(results))])
    header = ["row", "seeds", "evaluated on", "train error %", "error %", "95 % of the mean", "misses (range)"]
    return table(header, lines)


def steps(rows: Rows) -> list[str]:
    """What each row is against the one before it, with a title; nothing where no two have runs to compare."""
    lines = [[*line, f"*{verdict}*"] for pair in pairwise(rows) for line, verdict in step(rows, *pair)]
    return ["## Steps", table([*STEP, "verdict"], lines)] if lines else []


def step(rows: Rows, before: str, after: str) -> list[tuple[list[str], str]]:
    """A step's line, as STEP has it, and its verdict; nothing where no two runs are of one seed on the same digits."""
    pairs = paired(rows, before, after)
    if not pairs:
        return []
    differences = [second.evaluation.misses - first.evaluation.misses for first, second in pairs]
    p_values = [mcnemar(first.evaluation.missed, second.evaluation.missed) for first, second in pairs]
    line = [f"`{before}` → `{after}`", str(len(pairs)), f"{np.mean(differences):+.1f}"]
    line += [span(mean_interval(differences), 1), f"{np.median(p_values):.2g}"]
    line += [f"{sum(p < 0.05 for p in p_values)} of {len(pairs)}"]
    return [(line, improved(differences, p_values))]
