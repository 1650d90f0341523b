"""The report on rows of one's own: side by side, without a word on the article or the paper."""

from collections.abc import Sequence
from itertools import combinations, pairwise

from matplotlib.figure import Figure

from lecun_repro.report import tables
from lecun_repro.report.figures import curves_figure, rows_figure
from lecun_repro.report.results import Rows, errors, misses
from lecun_repro.report.rules import Rules
from lecun_repro.report.steps import steps, steps_table
from lecun_repro.report.tables import image, mean_cells, ranged, spread, table

EACH_WITH_EACH = 5  # rows at most that are all compared; of more, each with the one before it
RULES = """\
- Every run trains one row's YAML with one seed, to its last pass, and is evaluated on its test digits, or on digits
  held out of training (`holdout`).
- The 95 % interval of a mean is Student's t over the seeds, cut at 0. It tells how well the mean over seeds is known,
  on these digits; others would give another mean.
- A step is compared for *these digits* (seeds are random; Welch's t) and for *new digits* (seeds and digits are random
  and crossed). It is *better* or *worse* if the difference for new digits is significant at 5 %, adjusted for their
  number (Holm); else *equivalent within 20 %* if two one-sided tests say so; else *not decided*.
"""


def figures(name: str, rows: Rows) -> dict[str, Figure | None]:
    """By file name: the rows' errors, and their learning curves where more than the last pass is evaluated."""
    drawn: dict[str, Figure | None] = {f"{name}_steps.png": rows_figure(rows)} if rows else {}
    if any(len(result.curve) > 1 for results in rows.values() for result in results):
        drawn[f"{name}_curves.png"] = curves_figure(rows)
    return drawn


def document(name: str, rows: Rows, draws: Rows, shown: Sequence[str]) -> str:
    """The whole report as Markdown, with the figures that are shown."""
    pairs = combinations(rows, 2) if len(rows) <= EACH_WITH_EACH else pairwise(rows)
    found = steps(rows, list(pairs), Rules())
    of_steps = ["## Steps", steps_table(found)] if found else []
    parts = [RULES.strip(), *(["## Rows", rows_table(rows)] if rows else []), *of_steps, *map(image, shown)]
    parts += ["## With draws of their own", rows_table(draws)] if draws else []
    return tables.document(name, parts, {**rows, **{f"{row} (other draws)": runs for row, runs in draws.items()}})


def rows_table(rows: Rows) -> str:
    """Per row: the seeds, what it was evaluated on, train and evaluation error, and that on unseen digits if any."""
    lines, unseen = [], [row for row, results in rows.items() if all("unseen" in run.splits for run in results)]
    for row, results in rows.items():
        evaluated = dict.fromkeys(f"{r.evaluation.n:,} {r.evaluation_split}" for r in results)
        line = [f"`{row}`", str(len(results)), ", ".join(evaluated), spread(errors(results, "train"))]
        line += [*mean_cells(errors(results)), ranged(misses(results))]
        lines.append([*line, *(mean_cells(errors(results, "unseen")) if row in unseen else [])])
    header = ["row", "seeds", "evaluated on", "train error %", "error %", "95 % of the mean", "misses (range)"]
    header += ["unseen digits, error %", "95 % of the mean"] if unseen else []
    return table(header, lines)
