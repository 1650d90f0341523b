"""Rows against one another: differences in error for these digits and for new ones, tests and what would decide them.

Y(s, d) is 1 where the run with seed s misses digit d. Every run of a row meets every digit, so that seeds and digits
are crossed, and the rows share the digits but not the seeds. For a combination T = sum_r c_r mean(Y_r) of rows' errors:

    V_seeds  = sum_r c_r^2 var_s(mean_d Y_r) / S_r     the variance of T for these digits (Welch)
    V_digits = var_d(sum_r c_r mean_s Y_r) / D
    V_both   = sum_r c_r^2 MS_r / (S_r D)              MS_r: mean square of the interaction of seed and digit
    V        = max(V_seeds + V_digits - V_both, V_seeds, V_digits)     the variance of T for new digits

as V_seeds and V_digits both contain V_both: analysis of variance of crossed random effects, as where several readers
judge the same cases (Gallas 2006, "One-shot estimate of MRMC variance"). Degrees of freedom are Satterthwaite's.
Intervals of ratios are Fieller's: the ratios rho that a test of T = row - rho * base does not reject.

Of 2,000 simulated data sets like ours (5 to 20 seeds a row, 2,007 or 7,993 digits, errors of 1.9 to 4.7 %), nominal
95 % intervals cover 95 % for these digits and 94 to 96 % for new ones, and 4 to 5 % of true nulls are rejected:
`pytest -m "slow or full" tests/report/test_coverage.py`.
"""

import math
from collections.abc import Callable, Sequence
from copy import copy
from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize, special

from lecun_repro.report.results import Rows, evaluated_on
from lecun_repro.report.statistics import LEVEL, Interval
from lecun_repro.runs.results import RunResult

Scope = Literal["these digits", "new digits"]
MOST_SEEDS, MOST_DIGITS = 1_000, 10_000_000  # that are asked for where a comparison is not decided

Weights = Sequence[Sequence[float]] | np.ndarray  # (rows, sets of digits)


class Effect(NamedTuple):
    """An estimate with its variance and degrees of freedom (NaN where there are too few runs)."""

    estimate: float
    variance: float
    df: float

    def interval(self, level: float = LEVEL) -> Interval:
        """Student's t interval."""
        half = float(special.stdtrit(self.df, (1 + level) / 2)) * math.sqrt(self.variance) if self.variance else 0.0
        return Interval(self.estimate - half, self.estimate + half)

    def p_below(self, bound: float) -> float:
        """One-sided p against an effect of at least `bound`."""
        if not self.variance > 0:
            return math.nan if math.isnan(self.variance) else float(self.estimate >= bound)
        return float(special.stdtr(self.df, (self.estimate - bound) / math.sqrt(self.variance)))

    @property
    def p(self) -> float:
        """Two-sided p against no effect."""
        below = self.p_below(0.0)
        if not self.variance > 0:
            return math.nan if math.isnan(below) else float(self.estimate == 0)
        return 2 * min(below, 1 - below)


def missed(results: Sequence[RunResult], split: str) -> np.ndarray:
    """Which digits of a split each run misses: (runs, digits) of 0 and 1."""
    grid = np.zeros((len(results), results[0].splits[split].n))
    for line, result in zip(grid, results, strict=True):
        line[result.splits[split].missed] = 1
    return grid


class Crossed:
    """Errors of several rows, on one set of digits or more, with the parts of their variance.

    Args:
        rows: For every row its grids, of 0 and 1, (runs, digits): one for each set of digits, in the same order.
    """

    def __init__(self, rows: Sequence[Sequence[np.ndarray]]) -> None:
        self.shape = len(rows), len(rows[0])
        self.runs = np.array([len(row[0]) for row in rows], float)  # S_r
        self.digits = np.array([grid.shape[1] for grid in rows[0]], float)  # D
        self.mean = np.array([[grid.mean() for grid in row] for row in rows])
        # (rows, sets, sets)
        self.of_seeds = np.array([covariance([grid.mean(1) for grid in row]) / len(row[0]) for row in rows])
        self.both = np.array([[interaction(grid) / grid.size for grid in row] for row in rows])
        by_set = [covariance([row[k].mean(0) for row in rows]) for k in range(len(self.digits))]
        self.of_digits = np.array(by_set) / self.digits[:, None, None]  # (sets, rows, rows)

    def effect(self, weights: Weights, scope: Scope = "new digits", seeds: float = 1, digits: float = 1) -> Effect:
        """The errors, weighed, added up, (rows, sets); as it is, or with so many times the seeds or digits."""
        c = np.array(weights, float).reshape(self.shape)
        of_seeds = np.einsum("rk,rkl,rl->r", c, self.of_seeds, c)
        of_digits = np.einsum("rk,krs,sk->k", c, self.of_digits, c)
        both = float((c**2 * self.both).sum())
        runs = (self.runs * seeds).round()
        estimate = float((c * self.mean).sum())
        if scope == "these digits":
            return satterthwaite(estimate, of_seeds / seeds, runs - 1)
        total = (
            max(of_seeds.sum() - both, 0) / seeds + max(of_digits.sum() - both, 0) / digits + both / (seeds * digits)
        )
        if seeds == digits == 1:
            total = max(of_seeds.sum() + of_digits.sum() - both, of_seeds.sum(), of_digits.sum())
        parts = np.concatenate([of_seeds / seeds, of_digits / digits])
        return satterthwaite(estimate, parts, np.concatenate([runs - 1, self.digits * digits - 1]), float(total))


def covariance(samples: Sequence[np.ndarray]) -> np.ndarray:
    """Of several measures of the same things, (measures, measures); NaN of a single thing."""
    if len(samples[0]) < 2:
        return np.full((len(samples), len(samples)), math.nan)
    return np.atleast_2d(np.cov(samples))


def interaction(grid: np.ndarray) -> float:
    """The mean square of what neither the run nor the digit explains."""
    left = grid - grid.mean(0) - grid.mean(1, keepdims=True) + grid.mean()
    return float((left**2).sum() / ((len(grid) - 1) * (grid.shape[1] - 1))) if len(grid) > 1 else math.nan


def satterthwaite(estimate: float, parts: np.ndarray, df: np.ndarray, total: float | None = None) -> Effect:
    """An effect whose variance is the sum of independent parts, or `total` where they have something in common."""
    total = float(parts.sum()) if total is None else total
    if math.isnan(total) or not total > 0:
        return Effect(estimate, total, math.nan)
    kept = df > 0
    return Effect(estimate, total, float(total**2 / (parts[kept] ** 2 / df[kept]).sum()))


def fieller(crossed: Crossed, above: Weights, below: Weights, scope: Scope = "new digits") -> Interval:
    """The ratios of two weighed sums of errors that are not rejected; open where the lower one is hardly above 0."""
    over, under = np.array(above, float), np.array(below, float)
    divisor = crossed.effect(under).estimate
    if not divisor:
        return Interval(math.nan, math.nan)

    def beyond(ratio: float) -> float:
        interval = crossed.effect(over - ratio * under, scope).interval()
        return max(interval.low, -interval.high)

    at = crossed.effect(over).estimate / divisor
    if crossed.effect(over - at * under, scope).variance == 0:
        return Interval(at, at)
    if math.isnan(beyond(at)):
        return Interval(math.nan, math.nan)
    ends = []
    for sign in (-1, 1):
        steps = (at + sign * step for step in 2.0 ** np.arange(-3, 12))
        far = next((end for end in steps if beyond(end) > 0), None)
        ends.append(sign * math.inf if far is None else float(optimize.brentq(beyond, *sorted((at, far)), xtol=1e-6)))
    return Interval(*ends)


def delta(crossed: Crossed, estimate: float, gradient: Weights, scope: Scope = "new digits") -> Effect:
    """A smooth function of the errors, to first order: its value, and its derivatives by them, (rows, sets)."""
    return crossed.effect(gradient, scope)._replace(estimate=estimate)


class Comparison:
    """A row against its base row on the same digits, in percent of error.

    Args:
        names: Of the base row and the row.
        grids: Theirs, of 0 and 1, (runs, digits).
        digits: What the digits are called.
    """

    def __init__(self, names: tuple[str, str], grids: tuple[np.ndarray, np.ndarray], digits: str) -> None:
        self.base, self.row = names
        self.digits = digits
        self.grids = grids
        self.crossed = Crossed([[100 * grid] for grid in grids])
        self.n = len(grids[0]), len(grids[1])
        self.of_digits = grids[0].shape[1]
        self.seeds_factor = self.digits_factor = 1.0

    def difference(self, scope: Scope = "new digits") -> Effect:
        """In points of error: row - base."""
        return self.crossed.effect([[-1], [1]], scope)

    def against(self, ratio: float, scope: Scope = "new digits") -> Effect:
        """Row - ratio * base: above 0 where the row's error is more than so many times the base row's."""
        return self.crossed.effect([[-ratio], [1]], scope, self.seeds_factor, self.digits_factor)

    @property
    def change(self) -> float:
        """Percent of the base row's error."""
        base, row = self.crossed.mean[:, 0]
        return 100 * (row / base - 1) if base else math.nan

    @property
    def change_of_medians(self) -> float:
        """Percent of the base row's median error: far from `change` where few runs make a row's mean."""
        base, row = (float(np.median(grid.mean(1))) for grid in self.grids)
        return 100 * (row / base - 1) if base else math.nan

    def change_interval(self, scope: Scope = "new digits") -> Interval:
        """Of the change; open where the base row's error is hardly above 0."""
        low, high = fieller(self.crossed, [[0], [1]], [[1], [0]], scope)
        return Interval(100 * (max(low, 0.0) - 1), 100 * (high - 1))

    def p_less(self, percent: float) -> float:
        """One-sided p that shows the change to be below `percent`, for new digits."""
        return self.against(1 + percent / 100).p_below(0)

    def p_more(self, percent: float) -> float:
        """One-sided p that shows the change to be above `percent`, for new digits."""
        return 1 - self.p_less(percent)

    def p_within(self, low: float, high: float) -> float:
        """TOST: p that shows the change to lie between two percentages, for new digits."""
        return max(self.p_more(low), self.p_less(high))

    @property
    def p(self) -> float:
        """Two-sided p of the difference, for new digits."""
        return self.against(1).p

    def with_more(self, seeds: float = 1, digits: float = 1) -> "Comparison":
        """The same estimates, had they come from so many times the seeds or the digits."""
        other = copy(self)
        other.seeds_factor, other.digits_factor = seeds, digits
        return other

    def decided_by(self, p_of: Callable[["Comparison"], float], level: float) -> str:
        """What would bring a p-value below a level at unchanged estimates: so many seeds a row, or else digits."""
        return decided_by(lambda *more: p_of(self.with_more(*more)), self.n[::-1], self.of_digits, level)


def decided_by(p_of: Callable[[float, float], float], runs: Sequence[int], digits: int, level: float) -> str:
    """What would bring a p-value below a level at unchanged estimates: more seeds of every row, or else more digits.

    Args:
        p_of: The p-value with so many times the seeds, and so many times the digits.
        runs: How many seeds each row has; what is told has as many numbers as these have.
        digits: How many digits there are.
        level: Of the test.
    """
    different = list(dict.fromkeys(runs))
    for factor in np.geomspace(1, max(MOST_SEEDS / min(runs), 1), 400):
        if p_of(float(factor), 1) < level:
            return f"about {' and '.join(f'{math.ceil(n * factor):,}' for n in different)} seeds"
    for factor in np.geomspace(1, max(MOST_DIGITS / digits, 1), 400):
        if p_of(1, float(factor)) < level:
            return f"about {round(math.ceil(digits * factor), -2):,} digits"
    return "neither more seeds nor more digits alone"


def grids(results: Sequence[RunResult]) -> dict[str, np.ndarray]:
    """A row's grids by the name of the digits: what it was evaluated on; the unseen ones and all, where all runs do."""
    split = results[0].evaluation_split
    found = {split: missed(results, split)}
    if split == "test" and all("unseen" in result.splits for result in results):
        found["unseen"] = missed(results, "unseen")
        found["all"] = np.concatenate([found["test"], found["unseen"]], axis=1)
    return found


def compare(rows: Rows, base: str, row: str) -> dict[str, Comparison]:
    """By the name of the digits, the judged ones first; none unless both have two runs, all on the same digits."""
    if min(len(rows.get(name, [])) for name in (base, row)) < 2:
        return {}
    if len({evaluated_on(result) for name in (base, row) for result in rows[name]}) > 1:
        return {}
    before, after = grids(rows[base]), grids(rows[row])
    order = [name for name in ("unseen", "test", "holdout", "all") if name in before and name in after]
    return {name: Comparison((base, row), (before[name], after[name]), name) for name in order}
