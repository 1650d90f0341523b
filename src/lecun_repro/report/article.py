"""The report on the article's rows."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from lecun_repro.report import tables
from lecun_repro.report.configurations import published_rows
from lecun_repro.report.figures import curves_figure, missed_figure, waterfall_figure
from lecun_repro.report.plain import STEP, step
from lecun_repro.report.published import (
    BASELINE,
    BASELINE_50K,
    BY_ROW,
    MODERN,
    MODERN_50K,
    PAPER_SECONDS,
    SECONDS,
    STEP_FROM,
)
from lecun_repro.report.results import Rows, errors, misses, paired
from lecun_repro.report.statistics import mean_interval, reproduced, sd
from lecun_repro.report.tables import image, ranged, span, spread, table

RULES = """\
These rules were written down before the runs.

- Every run trains one row's YAML with one seed, to its last pass. Nothing is selected: not a pass, not a seed.
- The 95 % interval of a mean is Student's t over the seeds. It tells how well the mean over seeds is known, on these
  test digits; others would give another mean (of the article's 2,007, a standard error of 0.44 points at 4 %, 0.28 at
  1.6 %). From two or three seeds it can be wide beyond sense.
- A row is *reproduced* if the article's corrected count of test misses lies within our 95 % prediction interval for one
  new seed (Student's t); otherwise ours is *higher* or *lower*.
- A step is *better* or *worse* if the 95 % interval of the mean difference in test misses, paired by seed, excludes 0
  and the median over seeds of the exact McNemar test's p is below 0.05; otherwise a difference is *not shown*.
- The article's counts are corrected for its truncation: `int(error * n)` prints four of them one too low.
"""


def figures(name: str, rows: Rows) -> dict[str, Figure | None]:
    """By file name: the steps, the learning curves, and the digits that the modern row misses."""
    own = published_rows(rows, "article")
    drawn = {f"{name}_steps.png": waterfall_figure(rows, own), f"{name}_curves.png": curves_figure(rows, own)}
    return drawn | ({f"{name}_missed.png": missed_figure(rows[MODERN])} if MODERN in rows else {})


def document(name: str, rows: Rows, draws: Rows, shown: Sequence[str]) -> str:
    """The whole report as Markdown, with the figures that are shown."""
    story = story_in_numbers(published_rows(rows, "article"))
    parts = [RULES.strip(), "## Rows", rows_table(rows), "## Steps", steps_table(rows), *map(image, shown)]
    parts += ["## Other draws of the digits", draws_table(draws, rows)] if draws else []
    parts += ["## The story in numbers", story] if story else []
    return tables.document(name, parts, {**rows, **{f"{row} (other draws)": runs for row, runs in draws.items()}})


def rows_table(rows: Rows) -> str:
    """Per row: the seeds, train and test error; where it is the article's, its number and the verdict."""
    header = ["row", "seeds", "train error %", "test error %", "95 % of the mean", "test misses (range)"]
    header += ["article, test %", "article, misses (printed)", "verdict"]
    lines, own = [], published_rows(rows, "article")
    for row, results in rows.items():
        line = [f"`{row}`", str(len(results)), spread(errors(results, "train")), spread(errors(results))]
        line += [span(mean_interval(errors(results))), ranged(misses(results))]
        if row in own:
            published = BY_ROW[row]
            line += [f"{published.test_error:.2f}", f"{published.test_misses} ({published.test_printed})"]
            line += [f"*{reproduced(misses(results), published.test_misses)}*"]
        lines.append(line)
    return table(header, lines)


def steps_table(rows: Rows) -> str:
    """What each step buys: consecutive rows, then what 50,000 digits buy."""
    own = published_rows(rows, "article")
    further = [(before, row) for row, before in STEP_FROM.items() if row in own and before in own]
    lines = []
    for before, after in dict.fromkeys([*pairwise(rows), *further]):
        both = before in own and after in own
        published = f"{BY_ROW[after].test_misses - BY_ROW[before].test_misses:+d}" if both else ""
        lines += [[*line, published, f"*{verdict}*"] for line, verdict in step(rows, before, after)]
    return table([*STEP, "article", "verdict"], lines)


def draws_table(draws: Rows, rows: Rows) -> str:
    """How much of the spread is the draw: draw and seed vary together here, the seed alone in the table above."""
    lines = []
    for row, results in draws.items():
        line = [f"`{row}`", str(len(results)), spread(errors(results)), span(mean_interval(errors(results)))]
        if row in rows:
            line += [f"{spread(errors(rows[row]))} ({len(rows[row])})"]
            if len(results) > 1 and len(rows[row]) > 1:
                of_draw = sd(errors(results)) ** 2 - sd(errors(rows[row])) ** 2
                line += [f"{max(of_draw, 0) ** 0.5:.2f}"]
        lines.append(line)
    header = ["row", "draws", "test error %, draw and seed vary", "95 % of the mean"]
    header += ["test error %, seed alone varies (seeds)", "sd of the draw (variances subtracted)"]
    return table(header, lines)


def story_in_numbers(rows: Rows) -> str:
    """The article's own comparisons, computed from the runs."""
    lines = []
    if baseline := rows.get(BASELINE):
        seconds = [result.fit_seconds for result in baseline]
        lines.append(
            f"- **Time.** The paper trained for 3 days, the article's baseline for {SECONDS} seconds "
            f"({PAPER_SECONDS / SECONDS:,.0f} times faster). Here the same {baseline[0].updates:,} updates "
            f"with their {2 * baseline[0].passes} evaluations take {spread(seconds, 1)} s on one core "
            f"(n = {len(seconds)}, runs side by side on a shared machine): "
            f"{PAPER_SECONDS / np.mean(seconds):,.0f} times faster than 1989."
        )
    if len(rows) > 1:
        times = (f"`{row}` {spread([r.fit_seconds for r in results], 0)} s" for row, results in rows.items())
        lines.append(f"- **Time per row**, whole fits: {', '.join(times)}.")
    for before, after, what in (
        (BASELINE, MODERN, "Row 1 to row 5, on 7,291 digits"),
        (BASELINE, BASELINE_50K, "50,000 digits alone"),
        (MODERN, MODERN_50K, "50,000 digits on top of everything"),
        (BASELINE, MODERN_50K, "Everything and 50,000 digits"),
    ):
        pairs = paired(rows, before, after)
        if pairs and all(first.test.misses for first, _ in pairs):
            cuts = [100 * (1 - second.test.misses / first.test.misses) for first, second in pairs]
            article = 100 * (1 - BY_ROW[after].test_misses / BY_ROW[before].test_misses)
            lines.append(
                f"- **{what}** cut the test error by {np.mean(cuts):.0f} % "
                f"(95 % of the mean {span(mean_interval(cuts), 0)}, n = {len(cuts)} seeds; article {article:.0f} %)."
            )
    return "\n".join(lines)
