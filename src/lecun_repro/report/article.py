"""The report on the article's rows."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lecun_repro.report.published import ARTICLE_SECONDS, BY_ROW, PAPER_SECONDS
from lecun_repro.report.results import Rows, paired, runs_note, test_errors, test_misses
from lecun_repro.report.statistics import improved, mcnemar, mean_interval, reproduced, sd
from lecun_repro.report.tables import NONE, span, spread, table

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


def document(name: str, rows: Rows, draws: Rows, figures: Sequence[str]) -> str:
    """The whole report as Markdown."""
    parts = [f"# Results: {name}", "Written by `python cli.py report` from the raw results beside it.", RULES.strip()]
    parts += ["## Rows", rows_table(rows), "## Steps", steps_table(rows)]
    parts += [f"![{figure}]({figure})" for figure in figures]
    if draws:
        parts += ["## Other draws of the digits", draws_table(draws, rows)]
    if story := story_in_numbers(rows):
        parts += ["## The story in numbers", story]
    parts += ["## Runs", runs_note({**rows, **{f"{row} (other draws)": r for row, r in draws.items()}})]
    return "\n\n".join(parts) + "\n"


def rows_table(rows: Rows) -> str:
    """Per row: the seeds, train and test error, the article's number, the verdict."""
    header = ["row", "seeds", "train error %", "test error %", "95 % of the mean", "test misses (range)"]
    header += ["article, test %", "article, misses (printed)", "verdict"]
    lines = []
    for row, results in rows.items():
        misses, published = test_misses(results), BY_ROW.get(row)
        line = [f"`{row}`", str(len(results)), spread([r["train"]["error"] for r in results])]
        line += [spread(test_errors(results)), span(mean_interval(test_errors(results)))]
        line += [f"{spread(misses, 1)} ({min(misses)} to {max(misses)})"]
        if published is None or any(r["test"]["n"] != published.test_n for r in results):
            line += [NONE, NONE, NONE]
        else:
            line += [f"{published.test_error:.2f}", f"{published.test_misses} ({published.test_printed})"]
            line += [f"*{reproduced(misses, published.test_misses)}*"]
        lines.append(line)
    return table(header, lines)


def steps_table(rows: Rows) -> str:
    """What each step buys: consecutive rows, then what 50,000 digits buy."""
    steps = [*pairwise(rows), ("1_baseline", "6_50k_baseline"), ("5_dropout_relu", "7_50k_modern")]
    lines = []
    for before, after in dict.fromkeys(steps):
        pairs = paired(rows.get(before, []), rows.get(after, []))
        if not pairs:
            continue
        differences = [b["test"]["misses"] - a["test"]["misses"] for a, b in pairs]
        p_values = [mcnemar(a["test"]["missed"], b["test"]["missed"]) for a, b in pairs]
        published = ""
        if before in BY_ROW and after in BY_ROW:
            published = f"{BY_ROW[after].test_misses - BY_ROW[before].test_misses:+d}"
        significant = sum(p < 0.05 for p in p_values)
        line = [f"`{before}` → `{after}`", str(len(pairs)), f"{np.mean(differences):+.1f}"]
        line += [span(mean_interval(differences), 1), f"{np.median(p_values):.2g}", f"{significant} of {len(pairs)}"]
        lines.append([*line, published, f"*{improved(differences, p_values)}*"])
    header = ["step", "seeds", "misses, mean difference", "95 %", "McNemar p, median", "p < 0.05", "article", "verdict"]
    return table(header, lines)


def draws_table(draws: Rows, rows: Rows) -> str:
    """How much of the spread is the draw: draw and seed vary together here, the seed alone in the table above."""
    lines = []
    for row, results in draws.items():
        line = [f"`{row}`", str(len(results)), spread(test_errors(results)), span(mean_interval(test_errors(results)))]
        if row in rows:
            line += [f"{spread(test_errors(rows[row]))} ({len(rows[row])})"]
            of_draw = sd(test_errors(results)) ** 2 - sd(test_errors(rows[row])) ** 2
            line += [f"{max(of_draw, 0) ** 0.5:.2f}" if len(results) > 1 and len(rows[row]) > 1 else NONE]
        lines.append(line + [NONE] * (6 - len(line)))
    header = ["row", "draws", "test error %, draw and seed vary", "95 % of the mean"]
    header += ["test error %, seed alone varies (seeds)", "sd of the draw (variances subtracted)"]
    return table(header, lines)


def story_in_numbers(rows: Rows) -> str:
    """The article's own comparisons, computed from the runs."""
    lines = []
    if baseline := rows.get("1_baseline"):
        seconds = [r["fit_seconds"] for r in baseline]
        lines.append(
            f"- **Time.** The paper trained for 3 days, the article's baseline for {ARTICLE_SECONDS} seconds "
            f"({PAPER_SECONDS / ARTICLE_SECONDS:,.0f} times faster). Here the same {baseline[0]['updates']:,} updates "
            f"with their {2 * baseline[0]['passes']} evaluations take {spread(seconds, 1)} s on one core "
            f"(n = {len(seconds)}, runs side by side on a shared machine): "
            f"{PAPER_SECONDS / np.mean(seconds):,.0f} times faster than 1989."
        )
    if len(rows) > 1:
        each = ", ".join(f"`{row}` {spread([r['fit_seconds'] for r in results], 0)} s" for row, results in rows.items())
        lines.append(f"- **Time per row**, whole fits: {each}.")
    for before, after, what in (
        ("1_baseline", "5_dropout_relu", "Row 1 to row 5, on 7,291 digits"),
        ("1_baseline", "6_50k_baseline", "50,000 digits alone"),
        ("5_dropout_relu", "7_50k_modern", "50,000 digits on top of everything"),
        ("1_baseline", "7_50k_modern", "Everything and 50,000 digits"),
    ):
        pairs = paired(rows.get(before, []), rows.get(after, []))
        if pairs:
            cuts = [100 * (1 - b["test"]["misses"] / a["test"]["misses"]) for a, b in pairs]
            article = 100 * (1 - BY_ROW[after].test_misses / BY_ROW[before].test_misses)
            lines.append(
                f"- **{what}** cut the test error by {np.mean(cuts):.0f} % "
                f"(95 % of the mean {span(mean_interval(cuts), 0)}, n = {len(cuts)} seeds; article {article:.0f} %)."
            )
    return "\n".join(lines)
