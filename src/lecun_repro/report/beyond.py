"""The report on configs/beyond: how far the network of 1989 gets with the recipe of today, on the same digits.

Which error is asked for, and how settings were chosen, is in results/beyond.toml.
"""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lecun_repro.report import tables
from lecun_repro.report.comparison import compare, grids
from lecun_repro.report.figures import SHOWN, missed_digits, missed_figure, seeds_and_mean
from lecun_repro.report.published import BASELINE, BY_ROW, CONVOLUTIONAL, MODERN
from lecun_repro.report.results import Rows, errors, load_tested, read_toml
from lecun_repro.report.statistics import error_interval, holm
from lecun_repro.report.tables import NONE, image, mean_cells, median, p_value, span, spread, table
from lecun_repro.runs.results import RunResult
from lecun_repro.runs.typed_json import record
from lecun_repro.tensorboard.style import BLUE, ORANGE, VERMILION, subplots

NAME = "beyond"
RECIPE = """\
1. Take the network of 1989 as it is, 9,760 parameters, with GELU in the place of tanh and cross-entropy as the loss.
2. Normalise each digit by its moments: upright, in the middle, of about equal size, and 16x16 pixels.
3. Present batches of 64 digits.
4. Use AdamW, and let its rate rise over a twentieth of the updates to 3e-3 and fall to 0 along a cosine.
5. Turn, stretch, slant, move and bend each digit when it is shown: up to 15 degrees, 15 %, 0.3, 1.0 and 0.7 pixels.
6. Evaluate a moving average of the weights.
7. Train two wide convolutional networks on the same digits, 80 passes, with such distortions: the teachers.
8. Have them label 60 distorted copies of every digit: their mean log-probability of each of the ten.
9. Train the small network on these, and not on the labels.
10. Show it 5.2 million digits, each copy twelve times."""
PARAMETERS = 9_760
PLAIN = {"row1": BASELINE, "row5": MODERN}  # what benchmarks/updates.py calls them
# The speed run: rows of the article, and the error of each that is to be reached in as little training as possible.
FAST = {"fast_row_1": (BASELINE, 4.65), "fast_row_5": (MODERN, 1.90)}
FEW_DIGITS = 7_291
TEST = ("test", "unseen")  # which all 10,000 are
# Rows that follow another than the one before them.
AFTER = {"6_50k": "4_frame", "8_normalised": "5_taught", "9_50k_normalised": "7_50k_taught"}


class Reading(NamedTuple):
    """What a person says of a digit."""

    split: str
    place: int
    label: int  # MNIST's
    reading: str


class Tried(NamedTuple):
    """A setting that was tried on digits held out, with its run."""

    config: str
    compared: str  # what differs between it and others: `length`, ...
    flags: str
    presentations: int
    train_error: float  # percent, as are the others
    holdout_error: float
    zip_error: float | None  # None where the zip-code digits cannot be shown likewise
    seconds: float
    note: str = ""


class Bounds(NamedTuple):
    """What was asked of the mean error, in percent of all 10,000 test digits."""

    most: float
    aim: float


class BeyondRules(NamedTuple):
    """What `beyond.toml` says."""

    asked: dict[str, Bounds]  # by the digits trained on: `7,291 digits`
    choice: dict[str, str]  # how settings were chosen, in words, by what it is about


def rules(path: Path) -> BeyondRules:
    """The file that was written before the runs. Raises UserError for one that is no TOML or lacks a key."""
    return record(BeyondRules, read_toml(path, "what was asked"), f"{path}: ")


def plain_seconds(results: Path) -> dict[str, float]:
    """Seconds of a plain loop for the updates of two of the article's rows, as benchmarks/updates.py measured it."""
    article = load_tested(results / "article.json")
    timings = json.loads((results.parent / "benchmarks" / "updates.json").read_text(encoding="utf-8"))
    plain = {each["update"]: each["us_per_update_min"] / 1e6 for each in timings
             if each["how"] == "plain" and each["batch_size"] == 1}  # fmt: skip
    return {row: plain[update] * article[row][0].updates for update, row in PLAIN.items()}


def all_digits(results: Sequence[RunResult]) -> list[float]:
    """Errors on all test digits, in percent: the article's and the unseen ones, where they were evaluated."""
    grid = grids(results)
    return list(100 * grid.get("all", next(iter(grid.values()))).mean(1))


def figures(rows: Rows, beside: Path, scaling: Rows) -> dict[str, Figure | None]:
    """By file name: the error from 1989 to now, the digits still missed, and what size and length come to."""
    small = of_1989(rows)
    drawn: dict[str, Figure | None] = {f"{NAME}_story.png": story_figure(small, beside)}
    if best := best_row(small):
        drawn[f"{NAME}_missed.png"] = hardest_figure(small[best])
    if scaling:
        drawn[f"{NAME}_scaling.png"] = scaling_figure(scaling, {best: small[best]} if best else {})
    return drawn


def of_1989(rows: Rows) -> Rows:
    """The steps of the network of 1989, and neither its teachers nor the speed run."""
    steps = {row: results for row, results in rows.items() if row not in FAST}
    return {row: results for row, results in steps.items() if results[0].parameters == PARAMETERS}


def best_row(rows: Rows) -> str | None:
    """The last row on the article's number of digits, which has all that the others have."""
    return max((row for row, results in rows.items() if results[0].train.n == FEW_DIGITS), default=None)


def story_figure(rows: Rows, beside: Path) -> Figure:
    """Test error on one line of time: the paper, the article's rows as ours reproduce them, and these."""
    article = load_tested(beside.with_name("article.json"))
    figure, (axes,) = subplots(4.0)
    axes.plot(0, CONVOLUTIONAL.test_error, "*", color="black", markersize=12, label="the paper, its own digits")
    before = [row for row in article if BASELINE <= row <= MODERN]
    after = sorted(rows, key=lambda row: (rows[row][0].train.n, row))
    for x, row in enumerate(before, start=1):
        axes.plot(x, BY_ROW[row].test_error, "D", color=VERMILION, markersize=6, markerfacecolor="none")
        seeds_and_mean(axes, x, all_digits(article[row]), ORANGE)
    for x, row in enumerate(after, start=1 + len(before)):
        found = all_digits(rows[row])
        seeds_and_mean(axes, x, found, BLUE)
        place = {"textcoords": "offset points", "fontsize": 9, "color": BLUE}
        axes.annotate(f"{np.mean(found):.2f}", (x, np.mean(found)), (9, 4), **place)
    titles = ["1989\nthe paper", *(row.partition("_")[2].replace("_", "\n") for row in [*before, *after])]
    axes.plot([], [], "D", color=VERMILION, markerfacecolor="none", label="2022: the article, one seed, 2,007 digits")
    axes.plot([], [], "o", color=ORANGE, label="its rows, ours: mean, 95 % interval, each seed")
    axes.plot([], [], "o", color=BLUE, label="beyond: the same network; the same digits but for 50k")
    axes.set_xticks(range(len(titles)), titles, fontsize=7)
    axes.set_yscale("log")
    ticks = [0.5, 1, 2, 3, 4, 5]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylim(0.4, 6)  # the interval of two seeds would fill it
    axes.set_ylabel("test error, % (logarithmic)")
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    return figure


def scaling_figure(scaling: Rows, longest: Rows) -> Figure:
    """Error on all test digits by the size of the network, and by how many digits it was shown; `longest` goes on."""
    figure, panels = subplots(3.6, columns=2)
    sizes = same_length(scaling)
    lengths = {**of_1989(scaling), **longest}
    by_size = {float(results[0].parameters): all_digits(results) for results in sizes.values()}
    by_length = {digits_shown(results): all_digits(results) for results in lengths.values()}
    for axes, points in zip(panels, (by_size, by_length), strict=True):
        at = sorted(points)
        spans = [error_interval(points[x]) for x in at]
        axes.vlines(at, [span.low for span in spans], [span.high for span in spans], color=BLUE, linewidth=1.2)
        means = [float(np.mean(points[x])) for x in at]
        axes.plot(at, means, "o-", color=BLUE, markersize=5, label="ours, mean and its 95 % interval")
        axes.axhline(
            BY_ROW[MODERN].test_error, color=VERMILION, linestyle="--", linewidth=1, label="the article's best"
        )
        axes.set_xscale("log")
        apart = [x for before, x in zip([0.0, *at], at, strict=False) if x > 1.25 * before]  # where a number has room
        axes.set_xticks(apart, [f"{x:,.0f}" if x > 100 else f"{x:.1f}" for x in apart], fontsize=8, rotation=30)
        axes.set_xticks([], minor=True)
        axes.set_ylim(bottom=0)
    panels[0].set_xlabel("parameters")
    panels[1].set_xlabel("digits shown, millions")
    panels[0].set_ylabel("error, % of all 10,000")
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower center", ncols=2
    )
    return figure


def same_length(scaling: Rows) -> Rows:
    """Those that were shown as many digits as the most of them were."""
    counts = Counter(digits_shown(results) for results in scaling.values())
    return {row: r for row, r in scaling.items() if digits_shown(r) == counts.most_common(1)[0][0]}


def digits_shown(results: Sequence[RunResult]) -> float:
    """In training, in millions."""
    return results[0].passes * results[0].train.n / 1e6


def how_far_down(scaling: Rows) -> str:
    """The smallest network that is as good as the article's best."""
    best = BY_ROW[MODERN].test_error
    fits = {r[0].parameters: all_digits(r) for r in same_length(scaling).values() if np.mean(all_digits(r)) <= best}
    if not fits:
        return f"No network here reaches the article's {best} % in the mean."
    smallest = min(fits)
    return (
        f"The smallest network here that reaches the article's {best} % in the mean has {smallest:,} parameters: "
        f"{spread(fits[smallest])} % of all 10,000 ({len(fits[smallest])} seeds)."
    )


def hardest_figure(results: Sequence[RunResult]) -> Figure | None:
    """The test digits that the most seeds miss; None where the digits are not at hand."""
    taken_for = missed_digits(results, *TEST)
    always = sum(counts.total() == len(results) for counts in taken_for.values())
    title = (
        f"; {always} of 10,000 are missed by all seeds, {len(taken_for)} by some ({min(len(taken_for), SHOWN)} shown)"
    )
    return missed_figure(taken_for, len(results), title, source="mnist", draw=results[0].draw, frame="paper")


def document(
    name: str,
    rows: Rows,
    file: BeyondRules,
    tried: Sequence[Tried],
    shown: Sequence[str],
    plain: dict[str, float],
    readings: Sequence[Reading] = (),
    scaling: Rows | None = None,
) -> str:
    """The whole report as Markdown, with the figures that are shown and the seconds of a plain loop by row."""
    small = of_1989(rows)
    choice = "\n".join(f"- **{key}**: {text}" for key, text in file.choice.items())
    parts = [f"Rules written down before the runs (results/{name}.toml):\n\n{choice}", "## What was asked"]
    parts += [asked_table(small, file.asked), "## Rows", rows_table(rows), "## Steps", steps_table(small)]
    parts += [*map(image, shown), "## The recipe in ten lines", RECIPE]
    parts += ["## How far down, and how long", how_far_down(scaling), rows_table(scaling)] if scaling else []
    if fast := {row: results for row, results in rows.items() if row in FAST}:
        parts += ["## The speed run", fast_table(fast, plain)]
    if readings and (best := best_row(small)):
        parts += ["## The digits still missed", missed_table(small[best], readings)]
    parts += ["## What was tried", tried_table(tried)] if tried else []
    parts += ["## What limits", limits(best, small[best])] if (best := best_row(small)) else []
    return tables.document(name, parts, rows)


def asked_table(rows: Rows, asked: dict[str, Bounds]) -> str:
    """The error that was asked for, and that of the best row."""
    lines = []
    for digits, bounds in asked.items():
        of_size = [row for row, results in rows.items() if f"{results[0].train.n:,} digits" == digits]
        line = [digits, f"{bounds.most:.2f}", f"{bounds.aim:.2f}"]
        if of_size:
            found = all_digits(rows[max(of_size)])
            mean = np.mean(found)
            verdict = "not reached" if mean > bounds.most else "reached" if mean > bounds.aim else "aim reached"
            line += [f"`{max(of_size)}`", str(len(found)), *mean_cells(found), f"*{verdict}*"]
        lines.append(line)
    header = ["trained on", "asked for, % at most", "aim", "row", "seeds", "error %, all 10,000", "95 % of the mean"]
    return table([*header, ""], lines)


def rows_table(rows: Rows) -> str:
    """Per row: the seeds, training error, and the error on the article's digits, on the others and on all."""
    lines = []
    for row, results in rows.items():
        unseen = spread(errors(results, "unseen")) if all("unseen" in r.splits for r in results) else NONE
        found, seconds = all_digits(results), [r.fit_seconds for r in results]
        line = [f"`{row}`", f"{results[0].parameters:,}", str(len(results)), spread(errors(results, "train"))]
        line += [spread(errors(results, "test")), unseen, *mean_cells(found)]
        lines.append([*line, f"{digits_shown(results):.1f}", median(seconds)])
    header = ["row", "parameters", "seeds", "train error %", "the article's 2,007, %", "the other 7,993, %"]
    header += ["all 10,000, %", "95 % of the mean", "digits shown, millions", "seconds"]
    notes = "Intervals are Student's t over seeds, cut at 0. Seconds: whole fits beside others, median (least to most)."
    return f"{table(header, lines)}\n\n{notes}"


def steps_table(rows: Rows) -> str:
    """What each step buys, on all test digits."""
    compared = [compare(rows, AFTER.get(after, before), after) for before, after in pairwise(rows)]
    found = [of_pair.get("all", next(iter(of_pair.values()))) for of_pair in compared if of_pair]
    lines = []
    for each, p in zip(found, holm([each.p for each in found]), strict=True):
        line = [f"`{each.base}` → `{each.row}`", f"{each.n[0]}, {each.n[1]}"]
        line += [f"{each.difference().estimate:+.2f}", span(each.difference("these digits").interval())]
        lines.append([*line, span(each.difference().interval()), f"{each.change:+.0f} %", p_value(p)])
    header = ["step", "seeds", "points of error", "95 %, these digits", "95 %, new digits", "change", "p (Holm)"]
    return table(header, lines)


def missed_table(results: Sequence[RunResult], readings: Sequence[Reading]) -> str:
    """The digits that all seeds miss: MNIST's label, what they are taken for, and what a person says."""
    said = {(each.split, each.place): each for each in readings}
    lines = []
    for key, counts in sorted(missed_digits(results, *TEST).items()):
        if counts.total() == len(results):
            taken = ", ".join(f"{digit} ({n})" if len(counts) > 1 else f"{digit}" for digit, n in counts.most_common())
            label, reading = (str(said[key].label), said[key].reading) if key in said else (NONE, NONE)
            lines.append([f"{key[0]} {key[1]}", label, taken, reading])
    words = (
        f"All {len(results)} seeds miss {len(lines)} of the 10,000. Read from enlarged pictures, with the label known."
    )
    return f"{words}\n\n{table(['digit', 'label', 'taken for (seeds)', 'what one sees'], lines)}"


def fast_table(rows: Rows, plain: dict[str, float]) -> str:
    """How long the errors of the article's rows take with today's recipe, and what a plain loop takes for the rows."""
    lines = []
    for row, results in rows.items():
        (of_article, aim), found = FAST[row], all_digits(results)
        seconds = [r.updates * r.us_per_update / 1e6 for r in results]
        line = [f"`{row}`", str(len(results)), f"{results[0].passes}", *mean_cells(found)]
        line += [f"{aim:.2f}", "*reached*" if np.mean(found) <= aim else "*not reached*", spread(seconds, 2)]
        line += [spread([r.fit_seconds for r in results], 1), f"`{of_article}`: {plain[of_article]:,.0f}"]
        lines.append(line)
    header = ["row", "seeds", "passes", "error %, all 10,000", "95 % of the mean", "at most", "", "updates, seconds"]
    notes = (
        "Updates are those of a run on one core, their compiled package being in the cache. A whole fit, from a cold "
        "process but after its imports, adds distortions, reading, evaluating and writing. A plain loop's seconds are "
        "those of single-digit updates of the article's row, by the least of five timings (benchmarks/updates.json)."
    )
    return f"{table([*header, 'whole fit, seconds', 'a plain loop, seconds'], lines)}\n\n{notes}"


def limits(row: str, results: Sequence[RunResult]) -> str:
    """What the training error of the best row says of capacity."""
    return (
        f"`{row}` misses {spread(errors(results, 'train'))} % of the digits that it was trained on, undistorted, and "
        f"{spread(all_digits(results))} % of the test digits ({len(results)} seeds). The first it was shown in many "
        "shapes and misses still: that is capacity. The rest is what so few digits do not tell, to its teachers, whose "
        "errors stand above among the rows, and so to it."
    )


def tried_table(tried: Sequence[Tried]) -> str:
    """Every setting tried, in its order."""
    lines = []
    for each in tried:
        line = [f"`{each.config}`", each.compared, f"`{each.flags}`" if each.flags else ""]
        line += [f"{each.presentations / 1e6:.1f}"]
        read = (each.train_error, each.holdout_error, each.zip_error)
        line += [NONE if error is None else f"{error:.2f}" for error in read]
        lines.append([*line, f"{each.seconds:.0f}"])
    header = ["config", "compared", "flags", "digits shown, millions", "train error %", "error % on 52,709 held out"]
    notes = "".join(f"\n\n{each.note}" for each in tried if each.note)
    return table([*header, "zip-code digits, error %", "CPU seconds"], lines) + notes
