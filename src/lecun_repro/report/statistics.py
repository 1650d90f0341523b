"""Means and intervals of a sample, Holm's adjustment, and power laws; SciPy's where it has them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

LEVEL = 0.95  # of every interval
SIGNIFICANT = 0.05  # of every p-value, where a file of rules says nothing else


class Interval(NamedTuple):
    """A closed interval; NaN where there are too few values for one."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


def sd(values: Sequence[float] | np.ndarray) -> float:
    """Standard deviation of a sample (n - 1); NaN for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def mean_interval(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> Interval:
    """Interval, by default of 95 %, of the mean of normally distributed values (Student's t)."""
    return _t_interval(values, 1 / math.sqrt(len(values)), level)


def prediction_interval(values: Sequence[float]) -> Interval:
    """95 % interval for one new value from the same normal distribution (Student's t)."""
    return _t_interval(values, math.sqrt(1 + 1 / len(values)))


def error_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """95 % interval of a mean error, in percent (Student's t, cut by `of_error`)."""
    return of_error(mean_interval(values))


def of_error(interval: Interval) -> Interval:
    """What of an interval an error can be, in percent: that of two or three seeds may reach below 0."""
    return Interval(*map(float, np.clip(interval, 0, 100)))


def _t_interval(values: Sequence[float] | np.ndarray, scale: float, level: float = LEVEL) -> Interval:
    if len(values) < 2:
        return Interval(math.nan, math.nan)
    mean, spread = float(np.mean(values)), sd(values) * scale
    if spread == 0:
        return Interval(mean, mean)
    return Interval(*map(float, stats.t.interval(level, len(values) - 1, loc=mean, scale=spread)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment for a family of tests: each p that stays below a level does so for all of them together."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, least = [math.nan] * len(p_values), 0.0
    for rank, place in enumerate(order):
        least = adjusted[place] = max(least, min(1.0, (len(order) - rank) * p_values[place]))
    return adjusted


class PowerLaw(NamedTuple):
    """scale * (n / unit) ^ -exponent."""

    scale: float
    exponent: float
    unit: float

    def __call__(self, n: Any) -> Any:
        """A number, or an array of them."""
        return self.scale * (n / self.unit) ** -self.exponent


def power_law(sizes: Sequence[float], values: Sequence[float], unit: float) -> PowerLaw:
    """The power law through positive values, each weighing the same relative to itself."""
    start = (float(np.mean(values)), 0.1)
    ratios = np.asarray(sizes) / unit
    (scale, exponent), _ = optimize.curve_fit(lambda x, a, b: a * x**-b, ratios, values, start, sigma=values)
    return PowerLaw(float(scale), float(exponent), unit)
