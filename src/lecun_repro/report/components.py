"""Where a row's test error varies: over seeds, over draws of the digits, and over test digits."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from lecun_repro.report.comparison import Crossed, grids
from lecun_repro.report.results import Rows, errors
from lecun_repro.report.statistics import LEVEL
from lecun_repro.report.tables import NONE, table
from lecun_repro.runs.results import RunResult

DRAWS = 200_000  # of generalized variances


def variance_of(values: Sequence[float]) -> tuple[float, float]:
    """A sample's variance and its degrees of freedom."""
    return float(np.var(values, ddof=1)), len(values) - 1


def of_test_digits(results: Sequence[RunResult]) -> tuple[float, float]:
    """The variance of a row's error, in percent, over the digits that it was evaluated on, without that of the seeds.

    Its degrees of freedom are those of a normal sample whose variance would be known as well (by the kurtosis).
    """
    grid = 100 * next(iter(grids(results).values()))
    crossed = Crossed([[grid]])
    share = grid.mean(0)
    kurtosis = float(stats.kurtosis(share, fisher=False))
    return float(crossed.of_digits[0, 0, 0] - crossed.both[0, 0]), 2 * len(share) / max(kurtosis - 1, 1e-9)


def deviation(parts: Sequence[tuple[float, float]]) -> str:
    """The root of a variance less others, each with its degrees of freedom, and its 95 % interval.

    Where others are taken away the interval is Tsui and Weerahandi's (1989), of the generalized variances
    v * df / chi-square(df). An estimate that is not above 0 is only bounded.
    """
    rng = np.random.default_rng(0)
    (first, df), *others = parts
    drawn = first * df / rng.chisquare(df, DRAWS)
    for variance, of in others:
        drawn = drawn - variance * of / rng.chisquare(of, DRAWS)
    low, high = np.sqrt(np.maximum(np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]), 0))
    estimate = first - sum(variance for variance, _ in others)
    if estimate <= 0 < high:
        return f"below {high:.2f}"
    return f"{math.sqrt(estimate):.2f} ({low:.2f} to {high:.2f})"


def components_table(rows: Rows, draws: Rows) -> str:
    """For every row with draws of its own the standard deviations, in points of error, on as many digits as it has."""
    lines = []
    for row, results in draws.items():
        if len(results) < 2 or len(of_seeds := rows.get(row, [])) < 2:
            continue
        of_digits = of_test_digits(of_seeds)
        line = [f"`{row}`", str(len(of_seeds)), deviation([variance_of(errors(of_seeds))]), deviation([of_digits])]
        whole = all("unseen" in result.splits for result in [*results, *of_seeds])
        both, seeds = (
            variance_of([error_on_all(r) for r in each] if whole else errors(each)) for each in (results, of_seeds)
        )
        line += [str(len(results)), deviation([variance_of(errors(results))])]
        line += [deviation([both, seeds] if whole else [both, seeds, of_digits]), "10,000" if whole else "own"]
        lines.append(line)
    header = ["row", "seeds", "sd over seeds", "sd over test digits", "draws", "sd over draws, seeds and test digits"]
    return table([*header, "sd over draws of training digits", "from test digits"], lines) if lines else NONE


def error_on_all(result: RunResult) -> float:
    """In percent, of the test digits and the unseen ones together."""
    splits = [result.splits[name] for name in ("test", "unseen")]
    return 100 * sum(split.misses for split in splits) / sum(split.n for split in splits)
