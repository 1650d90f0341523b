"""Figures of the report on claims: changes of the test misses, and test error against digits, parameters, seconds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from lecun_repro.report.comparisons.answers import FAILS, HOLDS, NOT_DECIDED, UNTESTABLE, Change
from lecun_repro.report.figures import logarithmic_percent, published_points, seeds_and_mean
from lecun_repro.report.statistics import PowerLaw
from lecun_repro.tensorboard.style import BLUE, COLOURS, GREEN, GREY, ORANGE, VERMILION, subplots

FURTHEST = 100  # percent, where an axis of changes ends


class Series(NamedTuple):
    """Test errors over seeds at each size, the law through their means, and the article's own points."""

    name: str
    errors: Mapping[int, Sequence[float]]  # percent, by size
    law: PowerLaw
    article: Mapping[int, float]


def _points(axes: Axes, errors: Mapping[int, Sequence[float]], colour: str, name: str | None = None) -> None:
    """Every seed and the mean at each size, under one name."""
    for number, (size, values) in enumerate(errors.items()):
        seeds_and_mean(axes, size, values, colour, name if number == 0 else None)


COLOUR = {HOLDS: GREEN, FAILS: VERMILION, NOT_DECIDED: GREY}
MARK = {HOLDS: "o", FAILS: "X", NOT_DECIDED: "d", UNTESTABLE: "_"}  # what is not run yet is an empty circle
VERB = {HOLDS: "holds", FAILS: "fails", NOT_DECIDED: "is not decided"}


def _changes(axes: Axes, y: float, change: Change, colour: str) -> None:
    """A change, thick with its interval for these digits, thin with that for new ones; an arrow where it is cut."""
    for interval, width in ((change.these, 3.2), (change.new, 1.2)):
        axes.plot([interval.low, interval.high], [y, y], color=colour, linewidth=width, solid_capstyle="butt")
    axes.plot(change.mean, y, "o", color=colour, markersize=5)
    if change.new.low < -FURTHEST:
        axes.plot(-FURTHEST, y, "<", color=colour, markersize=7, clip_on=False)
    if change.new.high > FURTHEST:
        axes.plot(FURTHEST, y, ">", color=colour, markersize=7, clip_on=False)


def _percent_axis(axes: Axes) -> None:
    """Changes in percent, to the left the gains."""
    low, high = axes.get_xlim()
    axes.set_xlim(max(min(low, -40), -FURTHEST), min(max(high, 20), FURTHEST))
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    axes.set_xlabel("change of the error, %, with its 95 % interval,\nthick for these digits, thin for new ones")
    axes.spines["left"].set_visible(False)


def changes_figure(groups: Mapping[str, Mapping[str, Change]], substantial: float) -> Figure:
    """Every row's change against its base row, in groups with a title; the substantial gain is marked."""
    lines = sum(1 + len(rows) for rows in groups.values())
    figure, (axes,) = subplots(1.2 + 0.27 * lines)
    labels: list[tuple[float, str]] = []
    for title, rows in groups.items():
        labels.append((len(labels), title))
        for row, change in rows.items():
            _changes(axes, len(labels), change, COLOUR.get(change.verdict, BLUE))
            labels.append((len(labels), row))
    axes.set_yticks([y for y, _ in labels], [text for _, text in labels])
    for tick, (_, text) in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if text in groups else "normal")
    axes.set_ylim(-0.6, len(labels) - 0.4)  # a title at the top has nothing drawn beside it
    _percent_axis(axes)
    for margin in (-substantial, substantial):
        axes.axvline(margin, color=GREY, linewidth=1, linestyle="--", zorder=0)
    axes.plot([], [], "--", color=GREY, label="what is substantial")
    for verdict, colour in COLOUR.items():
        axes.plot([], [], "o-", color=colour, markersize=5, label=f"the claim {VERB[verdict]}")
    if any(change.verdict not in COLOUR for rows in groups.values() for change in rows.values()):
        axes.plot([], [], "o-", color=BLUE, markersize=5, label="without a verdict")
    figure.legend(frameon=False, fontsize=8, loc="outside upper center", ncols=5)
    return figure


def _mark(verdict: str) -> dict[str, Any]:
    """How a claim of this verdict is marked."""
    colour = COLOUR.get(verdict, GREY)
    fill = colour if verdict in COLOUR else "none"
    return {"marker": MARK.get(verdict, "o"), "ls": "", "color": colour, "markerfacecolor": fill, "markersize": 7}


def verdicts_figure(verdicts: Sequence[tuple[str, str]]) -> Figure:
    """Which claims hold, at a glance: their names in order, each with a mark of its verdict."""
    columns = 3
    lines = -(-len(verdicts) // columns)
    figure, (axes,) = subplots(0.6 + 0.24 * lines)
    axes.axis("off")
    for number, (name, verdict) in enumerate(verdicts):
        x, y = (0, 1.09, 2.1)[number // lines], -(number % lines)
        axes.plot(x, y, **_mark(verdict))
        axes.annotate(name, (x, y), (9, 0), textcoords="offset points", va="center", fontsize=8.5)
    counts = Counter(verdict for _, verdict in verdicts)
    for verdict, count in counts.items():
        axes.plot([], [], **_mark(verdict), label=f"{verdict}: {count}")
    axes.set_xlim(-0.05, columns - 0.05)
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(counts))
    return figure


def shares_figure(changes: Mapping[str, tuple[Change | None, ...]]) -> Figure:
    """Every ingredient's change when added first and when added last."""
    figure, (axes,) = subplots(1.3 + 0.42 * len(changes))
    for y, both in enumerate(changes.values()):
        for change, colour, offset in zip(both, (BLUE, ORANGE), (-0.14, 0.14), strict=True):
            if change is not None:
                _changes(axes, y + offset, change, colour)
    for colour, label in ((BLUE, "added alone to the first row"), (ORANGE, "added last to the last row")):
        axes.plot([], [], "o-", color=colour, markersize=5, label=label)
    axes.set_yticks(range(len(changes)), list(changes))
    axes.margins(y=0.08)
    _percent_axis(axes)
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure


def _at_sizes(axes: Axes, sizes: Sequence[int], label: str) -> None:
    """A logarithmic axis of sizes, with the sizes themselves as its ticks."""
    axes.set_xscale("log")
    axes.set_xticks(sorted(sizes), [f"{x:,}" for x in sorted(sizes)], fontsize=8, rotation=45)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)


def sizes_figure(panels: Mapping[str, Sequence[Series]]) -> Figure:
    """Test error against digits, a panel per title: each series' seeds, means and law, and the article's points."""
    figure, grid = subplots(4.6, len(panels))
    for axes, (title, series) in zip(grid, panels.items(), strict=True):
        for one, colour in zip(series, (BLUE, ORANGE), strict=False):
            _points(axes, one.errors, colour, f"{one.name}: mean, 95 % interval")
            x = np.geomspace(min(one.errors), max(one.errors), 50)
            axes.plot(x, one.law(x), color=colour, linewidth=1, linestyle="--")
            published_points(axes, one.article)
        published_points(axes, {}, "the article (one seed)")
        axes.plot([], [], "_", color=GREY, label="each seed")
        axes.plot([], [], "--", color=GREY, label="power law")
        axes.set_title(title, fontsize=10)
        _at_sizes(axes, sorted({size for one in series for size in one.errors}), "training digits")
        logarithmic_percent(axes)
    figure.legend(*grid[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=5)
    grid[0].set_ylabel("test error, %")
    return figure


class Progress(NamedTuple):
    """Test error as training goes on, medians over seeds."""

    seconds: Sequence[float]  # in updates
    errors: Sequence[float]  # percent


def times_figure(panels: Mapping[str, tuple[Sequence[float], Mapping[str, Progress]]]) -> Figure:
    """Test error against the seconds spent in updates, a panel per title, with the errors to be reached."""
    figure, grid = subplots(4.5, len(panels))
    for axes, (title, (goals, progress)) in zip(grid, panels.items(), strict=True):
        for (label, curve), colour in zip(progress.items(), COLOURS, strict=False):
            name = "all digits in a batch" if label == "full" else f"batches of {label}"
            axes.plot(curve.seconds, curve.errors, color=colour, linewidth=1.4, label=name)
        for goal in goals:
            axes.axhline(goal, color=GREY, linewidth=0.9, linestyle="--")
            place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            axes.annotate(f"{goal:.2f} %", (0, goal), (3, 3), color=GREY, fontsize=8, **place)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_ylim(0.75 * min(goals), max(4 * min(goals), 8))
        logarithmic_percent(axes)
        axes.set_xlabel("seconds in updates, one CPU core")
        axes.set_title(title, fontsize=10)
    grid[0].set_ylabel("test error, %, median over seeds")
    grid[0].plot([], [], "--", color=GREY, label="error to be reached")
    figure.legend(*grid[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=6)
    return figure


def parameters_figure(errors: Mapping[int, Sequence[float]], labels: Mapping[int, str]) -> Figure:
    """Test error against parameters, with the name of each network beside its mean."""
    figure, (axes,) = subplots(3.6)
    _points(axes, errors, BLUE)
    for size, values in errors.items():
        axes.annotate(
            labels[size], (size, float(np.mean(values))), (8, 6), textcoords="offset points", fontsize=8, color=BLUE
        )
    axes.margins(x=0.12)
    _at_sizes(axes, list(errors), "parameters")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("test error, %")
    return figure
