"""The report's statistics, all of them SciPy's, and the rules of its verdicts."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95  # of every interval
SIGNIFICANT = 0.05  # of every p-value


class Interval(NamedTuple):
    """A closed interval; NaN where there are too few values for one."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


def sd(values: Sequence[float]) -> float:
    """Standard deviation of a sample (n - 1); NaN for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def mean_interval(values: Sequence[float]) -> Interval:
    """95 % interval of the mean of normally distributed values (Student's t)."""
    return _t_interval(values, 1 / math.sqrt(len(values)))


def prediction_interval(values: Sequence[float]) -> Interval:
    """95 % interval for one new value from the same normal distribution (Student's t)."""
    return _t_interval(values, math.sqrt(1 + 1 / len(values)))


def _t_interval(values: Sequence[float], scale: float) -> Interval:
    if len(values) < 2:
        return Interval(math.nan, math.nan)
    mean, spread = float(np.mean(values)), sd(values) * scale
    if spread == 0:
        return Interval(mean, mean)
    return Interval(*map(float, stats.t.interval(LEVEL, len(values) - 1, loc=mean, scale=spread)))


def mcnemar(missed_before: Collection[int], missed_after: Collection[int]) -> float:
    """Exact McNemar test of two classifiers on the same digits: two-sided p.

    Of the digits that only one of the two misses, as many are expected of the one as of the other.
    """
    before, after = set(missed_before), set(missed_after)
    only_before, only_after = len(before - after), len(after - before)
    if only_before + only_after == 0:
        return 1.0
    return float(stats.binomtest(only_before, only_before + only_after).pvalue)


def reproduced(misses: Sequence[float], published: float) -> str:
    """The verdict on a row: is the published count one that another seed of ours could give?"""
    interval = prediction_interval(misses)
    if math.isnan(interval.low):
        return "one seed"
    if published in interval:
        return "reproduced"
    return "higher" if np.mean(misses) > published else "lower"


def improved(differences: Sequence[float], p_values: Sequence[float]) -> str:
    """The verdict on a step, from the differences in misses (after - before), paired by seed."""
    interval = mean_interval(differences)
    if math.isnan(interval.low) or 0 in interval or float(np.median(p_values)) >= SIGNIFICANT:
        return "not shown"
    return "better" if interval.high < 0 else "worse"
