"""Figures of the article's rows and of the paper's: steps, learning curves, and the digits still missed."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.report.comparison import Crossed, Scope, grids
from lecun_repro.report.published import BY_ROW, title_of
from lecun_repro.report.results import Rows, curve_errors
from lecun_repro.report.statistics import mean_interval
from lecun_repro.report.tables import digits_names
from lecun_repro.runs.results import RunResult
from lecun_repro.tensorboard.style import BLUE, GREEN, LINES, ORANGE, VERMILION, subplots

WIDTHS: dict[Scope, float] = {"these digits": 3.2, "new digits": 1.2}  # of the lines of intervals
SHOWN, COLUMNS = 60, 12  # digits in the grid of errors
ZERO = 0.01  # percent, where a logarithmic axis has an error of 0
FEW, MANY = (ZERO, 0.1, 0.3, 1, 3, 10, 30), (0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50)  # ticks


def seeds_and_mean(axes: Axes, x: float, values: Sequence[float], colour: str = BLUE, label: str | None = None) -> None:
    """Every seed, and the mean with its 95 % interval, which on a logarithmic axis does not reach down to 0."""
    mean, interval = float(np.mean(values)), mean_interval(values)
    axes.plot([x] * len(values), values, "_", color=colour, markersize=8, alpha=0.45)
    if len(values) > 1:
        bars = [[max(0.0, mean - max(interval.low, mean / 10))], [interval.high - mean]]
        axes.errorbar(x, mean, bars, color=colour, capsize=3, linewidth=1.4)
    axes.plot(x, mean, "o", color=colour, markersize=5, label=label)


def published_points(axes: Axes, points: Mapping[Any, float], label: str | None = None) -> None:
    """The article's own numbers, as empty diamonds."""
    sizes, errors = list(points), list(points.values())
    axes.plot(sizes, errors, "D", color=VERMILION, markersize=5.5, markerfacecolor="none", label=label)


def rows_figure(rows: Rows, article: Collection[str] = ()) -> Figure:
    """Error from row to row on every set of digits: means with both intervals, and of `article` rows theirs."""
    figure, (axes,) = subplots(4.2)
    of_rows = {row: grids(results) for row, results in rows.items()}
    names = digits_names((name, grid.shape[1]) for found in of_rows.values() for name, grid in found.items())
    offsets = np.linspace(-0.25, 0.25, 2 * len(names) + 1)[1::2]
    for (name, words), colour, offset in zip(names.items(), (BLUE, ORANGE, GREEN), offsets, strict=False):
        for x, found in enumerate(of_rows.values()):
            if name not in found:
                continue
            crossed = Crossed([[100 * found[name]]])
            mean, at = float(crossed.mean[0, 0]), x + offset
            for scope, width in WIDTHS.items():
                low, high = crossed.effect([[1]], scope).interval()
                axes.plot([at, at], [max(low, 0), high], color=colour, linewidth=width, solid_capstyle="butt")
            axes.plot(at, mean, "o", color=colour, markersize=5)
            if name == next(iter(names)):
                place = {"textcoords": "offset points", "ha": "right", "va": "center", "fontsize": 9}
                axes.annotate(f"{mean:.2f}", (at, mean), (-7, 0), color=colour, **place)
        axes.plot([], [], "o-", color=colour, markersize=5, label=f"ours, {words}")
    points = {x + offsets[0]: BY_ROW[row].test_error for x, row in enumerate(rows) if row in article}
    published_points(axes, points, "the article (one seed)" if points else None)
    titles = [title_of(row) if row in article else row for row in rows]
    axes.set_xticks(range(len(rows)), [title.replace(", ", ",\n") for title in titles], fontsize=9)
    axes.set_xlim(-0.6, len(rows) - 0.5)
    axes.set_ylabel(f"{evaluated(rows)} error, %")
    axes.set_ylim(bottom=0)
    about = "95 %: thick for these digits, thin for new ones"
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=4, title=about, title_fontsize=9)
    return figure


def evaluated(rows: Rows) -> str:
    """What rows were evaluated on: `test`, `holdout`, or both."""
    return " or ".join(sorted({result.evaluation_split for results in rows.values() for result in results}))


def curves_figure(
    rows: Rows, titles: Mapping[str, str] | None = None, paper: dict[str, tuple[int, float]] | None = None
) -> Figure:
    """Train and evaluation error per pass, mean over seeds, all rows.

    `titles` are what rows are called in words, others by their names; `paper` has its pass and error for each split.
    """
    figure, panels = subplots(4.4, columns=2)
    for axes, split in zip(panels, ("train", evaluated(rows)), strict=True):
        for (row, results), line in zip(rows.items(), LINES, strict=False):
            passes, curves = curve_errors(results, "train" if axes is panels[0] else results[0].evaluation_split)
            # Log axis: an error of 0 is drawn at a hundredth of a percent.
            mean = np.maximum(np.mean(curves, axis=0), ZERO)
            marker = "o" if len(passes) == 1 else ""  # of a row that is evaluated after its last pass alone
            label = (titles or {}).get(row, row)
            axes.plot(passes, mean, **line, linewidth=1.3, marker=marker, markersize=4, label=label)
        if paper is not None:
            axes.plot(*paper[split], "k*", markersize=10, label="the paper")
        logarithmic_percent(axes)
        axes.set_xlabel("pass")
        axes.set_title(f"{split} error, %", fontsize=10)
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    return figure


def logarithmic_percent(axes: Axes) -> None:
    """A logarithmic axis of errors, with plain percentages as its ticks; its limits stay."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [tick for tick in (FEW if high > 30 * low else MANY) if low <= tick <= high]
    axes.set_yticks(ticks, ["0" if tick == ZERO else f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())


def missed_digits(results: Sequence[RunResult], *splits: str) -> dict[tuple[str, int], Counter]:
    """What each digit that is missed was taken for, by split and place."""
    taken_for: dict[tuple[str, int], Counter] = {}
    for split in splits:
        for of_split in (result.splits[split] for result in results if split in result.splits):
            for place, digit in zip(of_split.missed, of_split.predicted, strict=True):
                taken_for.setdefault((split, place), Counter())[digit] += 1
    return taken_for


def missed_figure(taken_for: Mapping[tuple[str, int], Counter], seeds: int, title: str, **digits: Any) -> Figure | None:
    """Missed digits by how many of the seeds miss them, the most first; None where they are not at hand.

    `digits` are the arguments of the data module that has them.
    """
    try:
        data = DigitsDataModule(**digits)
        data.setup()
    except ValueError:
        return None
    order = sorted(taken_for, key=lambda key: (-taken_for[key].total(), key))[:SHOWN]
    lines = max(1, -(-len(order) // COLUMNS))
    figure, panels = subplots(1.02 * lines + 0.3, COLUMNS, lines)
    for axes in panels:
        axes.axis("off")
    for axes, (split, place) in zip(panels, order, strict=False):
        counts = taken_for[split, place]
        axes.imshow(-data.splits[split].images[place, 0].numpy(), cmap="gray", vmin=-1, vmax=1)
        label, likeliest = int(data.splits[split].labels[place]), min(counts, key=lambda digit: (-counts[digit], digit))
        axes.set_title(f"{label} → {likeliest}\n{counts.total()}/{seeds}", fontsize=8)
    figure.suptitle(f"true → taken for, seeds that miss it{title}", fontsize=9)
    return figure
