"""The report on a search: what was tried on digits held out, what cannot be told from the best, and what mattered."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from scipy import stats

from lecun_repro.errors import BadArgument
from lecun_repro.files import read_json
from lecun_repro.report.comparison import Comparison
from lecun_repro.report.statistics import LEVEL, SIGNIFICANT, Interval, error_interval
from lecun_repro.report.tables import image, span, spread, table
from lecun_repro.runs.typed_json import record
from lecun_repro.tensorboard.style import BLUE, GREEN, GREY, VERMILION, subplots

MOST_PANELS = 8
EDGE = 0.05  # of a range, from either end


class Fit(NamedTuple):
    """One fit of a trial, after its last pass, on the digits held out."""

    fold: str  # `2/5`, or empty for a holdout
    seed: int
    error: float  # percent
    misses: int
    n: int
    missed: list[int]  # places among the digits held out
    seconds: float
    config_hash: str


class Trial(NamedTuple):
    """A setting that was tried."""

    number: int
    state: str  # complete, pruned, diverged or failed
    settings: dict[str, Any]  # by the names of the space
    error: float | None = None  # percent: the mean over its fits; of a pruned one after its last pass
    fits: list[Fit] = []  # noqa: RUF012 - of a NamedTuple, that nobody changes
    curve: dict[str, float] = {}  # noqa: RUF012 - error by the number of passes over all fits
    note: str = ""  # where it was ended, or why it failed

    @property
    def errors(self) -> list[float]:
        return [fit.error for fit in self.fits]


class Search(NamedTuple):
    """The contents of `results/search/<name>.json`."""

    name: str
    command: str
    config: str
    config_hash: str
    space: dict[str, Any]
    commit: str  # at which configuration and space stood when the search began
    passes: int
    folds: list[str]
    seeds: list[int]
    trials: list[Trial]
    importance: dict[str, float]  # of each key, adding up to 1; empty where there are too few trials
    ranges: dict[str, Any] = {}  # noqa: RUF012 - low, high and whether logarithmic, by name


def find(path: Path) -> Search | None:
    """A search's file; None for another. Raises UserError for a field that is missing or bad."""
    content = read_json(path)
    return record(Search, content, f"{path}: ") if isinstance(content, dict) and "space" in content else None


def tried(search: Search) -> list[Trial]:
    """The settings that were answered in full, each once, the best first; of equal ones the earlier."""
    first: dict[str, Trial] = {}
    for trial in search.trials:
        if trial.state == "complete":
            first.setdefault(json.dumps(trial.settings, sort_keys=True), trial)
    return sorted(first.values(), key=lambda trial: (np.mean(trial.errors), trial.number))


def chosen(search: Search) -> Trial:
    """The best setting. Raises UserError where there is none."""
    settings = tried(search)
    if not settings:
        raise BadArgument("results", f"{search.name}, in which no trial is complete", "a search with one at least")
    return settings[0]


def interval(trial: Trial) -> Interval:
    """95 % of the mean error: Student's t over the fits; of one fit Clopper and Pearson's, of its misses."""
    if len(trial.fits) > 1:
        return error_interval(trial.errors)
    (fit,) = trial.fits
    exact = stats.binomtest(fit.misses, fit.n).proportion_ci(LEVEL)
    return Interval(100 * float(exact.low), 100 * float(exact.high))


class Against(NamedTuple):
    """A setting against the best."""

    difference: float  # misses, mean over seeds, all folds together
    p: float  # for new digits; of a single seed McNemar's, exact
    told: bool  # whether it is worse


def against(trial: Trial, best: Trial) -> Against:
    """A setting against the best, on the same digits, all folds together."""
    ours, theirs = grid_of(trial), grid_of(best)
    difference = float(ours.sum(1).mean() - theirs.sum(1).mean())
    if len(ours) == 1 == len(theirs):
        only_ours, only_theirs = ((one > other).sum() for one, other in ((ours, theirs), (theirs, ours)))
        both = only_ours + only_theirs
        p = float(stats.binomtest(int(only_ours), int(both)).pvalue) if both else 1.0
    else:
        p = Comparison(("the best", "another"), (theirs, ours), "holdout").p
    return Against(difference, p, p < SIGNIFICANT and difference > 0)


def grid_of(trial: Trial) -> np.ndarray:
    """Which digits held out each seed's fits miss, fold after fold: (seeds, digits) of 0 and 1."""
    folds = sorted({fit.fold for fit in trial.fits})
    found = []
    for seed in dict.fromkeys(fit.seed for fit in trial.fits):
        of_seed = {fit.fold: np.bincount(fit.missed, minlength=fit.n) for fit in trial.fits if fit.seed == seed}
        found.append(np.concatenate([of_seed[fold] for fold in folds]))
    return np.array(found, float)


RULES = f"""\
- Every trial trains one setting with each seed on each fold to its last pass, and is evaluated on the training digits
  that were held out of it. Test digits were not loaded.
- The 95 % interval of a setting's error is Student's t over its fits, cut at 0; of a single fit, Clopper and
  Pearson's of its misses.
- A setting is *worse* than the best if it misses more and p < {SIGNIFICANT}: with several seeds that of the difference
  for new seeds and new digits (both are random, and crossed), else that of McNemar's exact test on the digits held
  out. Otherwise the two *cannot be told apart*. No correction is made for the number of settings.
- The best of many is too good: its error here is lower than the same setting will have on other digits.
"""


def document(search: Search, shown: Sequence[str]) -> str:
    """The whole report as Markdown, with the figures that are shown."""
    settings, best = tried(search), chosen(search)
    lines, alike = [], 0
    for trial in settings:
        compared = against(trial, best)
        alike += trial is not best and not compared.told
        told = "worse" if compared.told else "*cannot be told apart*"
        difference = [f"{compared.difference:+.1f}", f"{compared.p:.2g}", told]
        line = [*cells(trial), str(len(trial.fits)), spread(trial.errors), span(interval(trial))]
        lines.append([*line, *(["", "", "**best**"] if trial is best else difference)])
    held_out = sum({fit.fold: fit.n for fit in best.fits}.values())
    seeds, folds = ", ".join(map(str, search.seeds)), ", ".join(filter(None, search.folds)) or "none"
    n = f"{len(best.fits)} (seeds {seeds}; folds {folds}; {held_out:,} digits held out in all)"
    head = ["trial", "setting", "n", "error %", "95 %", "misses against the best", "p", "verdict"]
    parts = [
        f"# Search: {search.name}",
        "Written by `python cli.py report` from the trials beside it.",
        f"```bash\n{search.command}\n```",
        f"{rules_of(search)}\n\n{RULES}".strip(),
        "## The best setting",
        "\n".join(f"- `{name}`: {value_of(value)}{edge(search, name, value)}" for name, value in best.settings.items()),
        f"Error {spread(best.errors)} % (95 %: {span(interval(best))}), n = {n}. "
        f"Of the {len(settings) - 1} other settings that were tried in full, {alike} cannot be told from it.",
        "## All settings",
        table(head, lines),
        *cut_short(search),
        *(["## What mattered", importance_table(search)] if search.importance else []),
        *map(image, shown),
        "## Runs",
        runs_note(search),
    ]
    return "\n\n".join(parts) + "\n"


def rules_of(search: Search) -> str:
    space = json.dumps(search.space, ensure_ascii=False)
    at = f"stood at commit `{search.commit}`" if search.commit else "were not in a commit"
    return f"`{search.config}`, {search.passes} passes; space `{space}`. Both {at} when the search began."


def edge(search: Search, name: str, value: Any) -> str:
    """Words for a value that lies so near an end of its range that the best may lie beyond it."""
    if name not in search.ranges:
        return ""
    low, high, is_log = search.ranges[name]
    low, at, high = (math.log(number) if is_log else number for number in (low, value, high))
    return ", at an edge of its range" if not EDGE < (at - low) / (high - low) < 1 - EDGE else ""


def cells(trial: Trial) -> list[str]:
    return [str(trial.number), "<br>".join(f"`{short(name)}` {value_of(v)}" for name, v in trial.settings.items())]


def short(name: str) -> str:
    """A name without what goes without saying: `optimizer.init_args.lr` is `optimizer.lr`."""
    return name.replace(".init_args.", ".")


def value_of(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def cut_short(search: Search) -> list[str]:
    """What was not answered in full."""
    others = [trial for trial in search.trials if trial.state != "complete"]
    lines = [[*cells(trial), trial.state, trial.note] for trial in others]
    return ["## Not answered in full", table(["trial", "setting", "", "where"], lines)] if lines else []


def importance_table(search: Search) -> str:
    lines = [[f"`{short(name)}`", f"{share:.2f}"] for name, share in search.importance.items()]
    why = "The share of each key in how good a complete trial was, by PED-ANOVA; of few trials a hint at most."
    return f"{why}\n\n{table(['key', 'share'], lines)}"


def runs_note(search: Search) -> str:
    states = [trial.state for trial in search.trials]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    hours = sum(fit.seconds for trial in search.trials for fit in trial.fits) / 3600
    return f"{len(states)} trials: {counted}; {hours:.2f} hours of fits that were not ended early, one after the other."


def figures(search: Search) -> dict[str, Figure | None]:
    """By file name: the best error so far, and the error against the values of each key.

    Raises UserError where no trial is complete.
    """
    chosen(search)
    return {f"{search.name}_best.png": best_figure(search), f"{search.name}_settings.png": settings_figure(search)}


def best_figure(search: Search) -> Figure:
    """Every trial's error, and the best so far."""
    figure, (axes,) = subplots(3.2)
    done, ended = (
        [(t.number, t.error) for t in search.trials if t.state == state and t.error is not None]
        for state in ("complete", "pruned")
    )
    numbers, errors = zip(*done, strict=True)
    axes.plot(numbers, errors, "o", color=BLUE, markersize=4, label="complete")
    if ended:
        label = "ended early, error where it was"
        axes.plot(*zip(*ended, strict=True), "x", color=GREY, markersize=5, label=label)
    best = np.minimum.accumulate(errors)
    last = max(trial.number for trial in search.trials)
    axes.step([*numbers, last], [*best, best[-1]], where="post", color=GREEN, linewidth=1.6, label="best so far")
    of_errors(axes, errors)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel("error on digits held out, %")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return figure


def settings_figure(search: Search) -> Figure | None:
    """The error of every complete trial against the values of each key, the most important first."""
    done = tried(search)
    names = dict.fromkeys([*search.importance, *(name for trial in done for name in trial.settings)])
    panels = [name for name in names if any(name in trial.settings for trial in done)][:MOST_PANELS]
    if len(done) < 2:
        return None
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure, grid = subplots(2.7 * rows, columns, rows, sharey=True)
    errors = [float(np.mean(trial.errors)) for trial in done]
    for axes, name in zip(grid, panels, strict=False):
        points = [
            (trial.settings[name], error) for trial, error in zip(done, errors, strict=True) if name in trial.settings
        ]
        axes.plot(*zip(*points, strict=True), "o", color=BLUE, markersize=4, alpha=0.8)
        if name in done[0].settings:
            axes.plot(done[0].settings[name], errors[0], "o", color=VERMILION, markersize=7, markerfacecolor="none")
        values = [value for value, _ in points]
        if all(isinstance(value, int | float) and value > 0 for value in values) and max(values) > 20 * min(values):
            axes.set_xscale("log")
        axes.set_xlabel(short(name), fontsize=8)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[::columns]:
        axes.set_ylabel("error held out, %")
    grid[0].set_title("circle: the best", fontsize=8, loc="left", color=VERMILION)
    of_errors(grid[0], errors)
    return figure


def of_errors(axes: Axes, errors: Sequence[float]) -> None:
    """Makes the axis logarithmic, so that the best are told apart beside settings that learn nothing."""
    if min(errors) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
