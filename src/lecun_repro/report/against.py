"""Published numbers, each of a single run, against the runs of ours: which of them could be one more of ours?"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from lecun_repro.report.published import Published
from lecun_repro.report.results import errors, misses
from lecun_repro.report.statistics import LEVEL, holm
from lecun_repro.report.tables import NONE, p_value, spread, table
from lecun_repro.runs.results import RunResult

COMPATIBLE, NOT_COMPATIBLE = "compatible", "not compatible"


class Measure(NamedTuple):
    """A published number, and ours of the same kind, one for each run."""

    name: str  # `test misses`, ...
    published: float
    ours: Sequence[float]
    sampling: float = 0.0  # variance of the published number beyond that of a run's, as it is of a sample of digits

    @property
    def percentile(self) -> float:
        """Percent of our runs below the published number, those that equal it by half."""
        return float(stats.percentileofscore(self.ours, self.published, kind="mean"))

    @property
    def spread(self) -> tuple[float, float]:
        """Standard error and degrees of freedom of the published number less our mean, if it were one of ours."""
        n, variance = len(self.ours), float(np.var(self.ours, ddof=1)) if len(self.ours) > 1 else math.nan
        of_runs = variance * (1 + 1 / n)
        total = of_runs + self.sampling
        return math.sqrt(total), (n - 1) * (total / of_runs) ** 2 if of_runs else math.inf

    @property
    def half_width(self) -> float:
        """Of the 95 % prediction interval: a published number that is not as far from our mean as this says nothing."""
        error, df = self.spread
        return float(stats.t.ppf((1 + LEVEL) / 2, df)) * error if error else 0.0

    @property
    def p_lower(self) -> float:
        """One-sided p: small where the published number lies below ours."""
        error, df = self.spread
        distance = self.published - float(np.mean(self.ours))
        return float(stats.t.cdf(distance / error, df)) if error else float(distance > 0) if distance else 0.5

    @property
    def p(self) -> float:
        """Two-sided p that the published number is one more of ours."""
        return 2 * min(self.p_lower, 1 - self.p_lower)


def incompatible(measures: Sequence[Measure], level: float) -> list[str] | None:
    """The names of the numbers that are not compatible with ours, adjusted for their number; None for a single run."""
    if any(len(measure.ours) < 2 for measure in measures):
        return None
    adjusted = holm([measure.p for measure in measures])
    return [measure.name for measure, p in zip(measures, adjusted, strict=True) if p < level]


def verdict(measures: Sequence[Measure], level: float) -> str:
    """`compatible`, or `not compatible` with the numbers that are not."""
    apart = incompatible(measures, level)
    if apart is None:
        return "one run"
    return f"{NOT_COMPATIBLE} ({', '.join(apart)})" if apart else COMPATIBLE


def joint(measures: Sequence[Measure]) -> tuple[float, float]:
    """Of numbers from different rows together: Stouffer's z, below 0 where the published ones lie lower, and its p."""
    found = stats.combine_pvalues([measure.p_lower for measure in measures], method="stouffer")
    z = -float(found.statistic)
    return z, float(2 * stats.norm.sf(abs(z)))


def of_article(published: Published, results: Sequence[RunResult]) -> list[Measure]:
    """What can be compared of a row of the article's: test misses, train error, and both losses of a squared error.

    The article's train error of rows 6 and 7 is one of 3,000 digits, ours of all that were trained on.
    """
    train = float(np.mean(errors(results, "train")))  # as the published number is taken to be one of ours
    sampled = published.train_n < results[0].train.n
    sampling = train * (100 - train) / published.train_n if sampled else 0.0
    found = [
        Measure("test misses", published.test_misses, misses(results)),
        Measure("train error %", 100 * published.train_misses / published.train_n, errors(results, "train"), sampling),
    ]
    for split, loss in (("train", published.train_loss), ("test", published.test_loss)):
        if loss is not None:
            found.append(Measure(f"{split} loss", loss, [result.splits[split].loss for result in results]))
    return found


def measures_table(measures: Mapping[str, Sequence[Measure]]) -> str:
    """Every number of every row."""
    lines = []
    for row, m in ((row, measure) for row, of_row in measures.items() for measure in of_row):
        digits = 0 if m.name.endswith("misses") else 2 if m.name.endswith("%") else 5
        line = [f"`{row}`", m.name, f"{m.published:.{digits}f}", spread(m.ours, max(digits, 1)), str(len(m.ours))]
        half, p = (NONE, NONE) if len(m.ours) < 2 else (f"{m.half_width:.{max(digits, 1)}f}", p_value(m.p))
        lines.append([*line, f"{m.percentile:.0f}", half, p])
    header = ["row", "number", "published", "ours", "n", "percentile of the published", "half-width", "p, unadjusted"]
    return table(header, lines)
