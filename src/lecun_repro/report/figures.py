"""Figures, drawn with matplotlib: legible at the README's width, colour-blind safe (Okabe and Ito's colours)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.errors import DataError
from lecun_repro.report.published import BY_ROW
from lecun_repro.report.statistics import mean_interval
from lecun_repro.tensorboard.style import BLUE, COLOURS, GREEN, GREY, ORANGE, WIDTH, _axes

matplotlib.use("Agg")  # files only: no screen is needed, none is opened
Results = dict[str, Any]
Rows = dict[str, list[Results]]
SHOWN = 60  # digits in the grid of errors

# What a row is a step from, where that is not the row before it.
STEP_FROM = {"6_50k_baseline": "1_baseline", "7_50k_modern": "5_dropout_relu"}


def title_of(row: str) -> str:
    """The row's title in the article, or its name."""
    return BY_ROW[row].title if row in BY_ROW else row


def waterfall_figure(rows: Rows) -> Figure:
    """Test error from row to row: ours, with the 95 % interval of the mean and every seed, and the article's."""
    figure, axes = _axes(4.2)
    means: dict[str, float] = {}
    for x, (row, results) in enumerate(rows.items()):
        errors = [r["test"]["error"] for r in results]
        mean, interval = float(np.mean(errors)), mean_interval(errors)
        before = STEP_FROM.get(row) or next(reversed(means), row)
        start = means.get(before, mean)
        axes.bar(x, mean - start, bottom=start, width=0.5, color=GREEN if mean < start else ORANGE, alpha=0.45)
        if means and before == next(reversed(means)):
            axes.plot([x - 1, x], [start, start], color=GREY, linewidth=0.8)
        axes.plot([x] * len(errors), errors, "_", color=BLUE, markersize=9, alpha=0.5)
        if len(errors) > 1:
            axes.errorbar(
                x, mean, [[mean - interval.low], [interval.high - mean]], color=BLUE, capsize=4, linewidth=1.6
            )
        axes.plot(x, mean, "o", color=BLUE, markersize=6)
        axes.annotate(
            f"{mean:.2f}", (x, mean), (-20, 0), textcoords="offset points", ha="right", va="center", color=BLUE
        )
        if row in BY_ROW:
            axes.plot(x, BY_ROW[row].test_error, "D", color="#D55E00", markersize=5, markerfacecolor="none")
        means[row] = mean
    axes.plot([], [], "o", color=BLUE, label="ours: mean over seeds, 95 % interval, each seed")
    if any(row in BY_ROW for row in rows):
        axes.plot([], [], "D", color="#D55E00", markerfacecolor="none", label="the article (one seed)")
    axes.set_xticks(range(len(rows)), [title_of(row).replace(", ", ",\n") for row in rows], fontsize=9)
    axes.set_ylabel("test error, %")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="upper right")  # matplotlib warns where it has looked for the best for a second
    plt.close(figure)
    return figure


def curves_figure(rows: Rows, paper: dict[str, tuple[int, float]] | None = None) -> Figure:
    """Train and test error per pass, mean over seeds, all rows; per split the pass and error of the paper, if given."""
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.8), layout="constrained", sharey=True)
    for axes, split in zip(panels, ("train", "test"), strict=True):
        for (row, results), colour in zip(rows.items(), COLOURS * 4, strict=False):
            curves = [[entry[split]["error"] for entry in r["curve"] if split in entry] for r in results]
            length = min(map(len, curves))
            passes = [entry["pass"] for entry in results[0]["curve"][:length]]
            mean = np.mean([c[:length] for c in curves], axis=0)
            # Log axis: an error of 0 is drawn at a hundredth of a percent.
            axes.plot(passes, np.maximum(mean, 0.01), color=colour, linewidth=1.3, label=title_of(row))
        if paper is not None:
            axes.plot(*paper[split], "k*", markersize=10, label="the paper")
        axes.set_yscale("log")
        axes.set_yticks([0.01, 0.1, 1, 10], ["0", "0.1", "1", "10"])
        axes.set_xlabel("pass")
        axes.set_title(f"{split} error, %", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[1].legend(frameon=False, fontsize=8, loc="lower left")
    plt.close(figure)
    return figure


def missed_figure(results: Sequence[Results]) -> Figure | None:
    """The test digits still missed, by how many seeds miss them; None where the digits are not at hand."""
    first = results[0]
    try:
        data = DigitsDataModule(source=first["source"], draw=first["draw"], test_size=first["test"]["n"])
        data.setup()
    except DataError:
        return None
    seeds = Counter(index for r in results for index in r["test"]["missed"])
    taken_for: dict[int, Counter] = {index: Counter() for index in seeds}
    for r in results:
        for index, digit in zip(r["test"]["missed"], r["test"]["predicted"], strict=True):
            taken_for[index][digit] += 1
    order = sorted(seeds, key=lambda index: (-seeds[index], index))[:SHOWN]
    columns = 12
    lines = max(1, -(-len(order) // columns))
    figure, panels = plt.subplots(
        lines, columns, figsize=(WIDTH, 1.02 * lines + 0.3), layout="constrained", squeeze=False
    )
    for axes in panels.flat:
        axes.axis("off")
    for axes, index in zip(panels.flat, order, strict=False):
        axes.imshow(-data.splits["test"].images[index, 0].numpy(), cmap="gray", vmin=-1, vmax=1)
        label, predicted = (
            int(data.splits["test"].labels[index]),
            min(taken_for[index], key=lambda d: (-taken_for[index][d], d)),
        )
        axes.set_title(f"{label} → {predicted}\n{seeds[index]}/{len(results)}", fontsize=8)
    figure.suptitle(f"true → taken for, seeds that miss it ({len(order)} of {len(seeds)})", fontsize=9)
    plt.close(figure)
    return figure
