"""What the intervals promise, on simulated data sets like ours: errors, hard digits and seeds as in the article's rows.

A run misses a digit where hardness of the digit for the row + luck of the seed + chance is above a limit (a probit). Of
two runs of row 1 each misses 0.58 of what the other misses; the digits' hardness for two rows correlates by 0.85.
"""

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from lecun_repro.report.comparison import Comparison

HARDNESS, LUCK, COMMON = 1.9, 0.06, 0.85


class Found(NamedTuple):
    """Of all data sets."""

    covered: dict[str, float]  # share, by scope
    rejected: float  # share where no difference was, for new digits


def simulated(
    rng: np.random.Generator, seeds: tuple[int, int], errors: tuple[float, float], digits: int = 2007
) -> tuple[list, list[float]]:
    """Two rows' grids on the same digits, and the errors that endless seeds would have on these digits."""
    shared = rng.standard_normal(digits, np.float32)
    grids, on_these = [], []
    for n, error in zip(seeds, errors, strict=True):
        own = rng.standard_normal(digits, np.float32)
        at = stats.norm.ppf(error) * np.sqrt(1 + HARDNESS**2 + LUCK**2)
        hard = at + HARDNESS * (np.sqrt(COMMON) * shared + np.sqrt(1 - COMMON) * own)
        luck = LUCK * rng.standard_normal((n, 1), np.float32)
        grids.append((rng.standard_normal((n, digits), np.float32) < hard + luck).astype(np.float32))
        on_these.append(float(stats.norm.cdf(hard / np.sqrt(1 + LUCK**2)).mean()))
    return grids, on_these


def simulate(sets: int, seeds: tuple[int, int], errors: tuple[float, float], digits: int = 2007) -> Found:
    rng, inside, rejected = np.random.default_rng(17), {"these digits": 0, "new digits": 0}, 0
    for _ in range(sets):
        found, on_these = simulated(rng, seeds, errors, digits)
        comparison = Comparison(("a", "b"), (found[0], found[1]), "test")
        truth = {"these digits": on_these[1] - on_these[0], "new digits": errors[1] - errors[0]}
        for scope in inside:
            inside[scope] += 100 * truth[scope] in comparison.difference(scope).interval()
        rejected += comparison.p < 0.05
    return Found({scope: count / sets for scope, count in inside.items()}, rejected / sets)


@pytest.mark.parametrize(
    "seeds, errors, digits",
    [
        pytest.param((10, 10), (0.045, 0.045), 2007, marks=pytest.mark.slow),
        pytest.param((10, 20), (0.042, 0.042), 7993, marks=pytest.mark.slow),
        pytest.param((20, 20), (0.0465, 0.019), 2007, marks=pytest.mark.full),
        pytest.param((5, 10), (0.027, 0.027), 2007, marks=pytest.mark.full),
    ],
)
def test_intervals_cover_what_they_promise(seeds: tuple[int, int], errors: tuple[float, float], digits: int) -> None:
    found = simulate(2000, seeds, errors, digits)
    assert all(0.93 <= share <= 0.97 for share in found.covered.values()), found
    if errors[0] == errors[1]:
        # At most one in twenty, but for the chance of 2,000 data sets (three standard errors of a true 5 %).
        assert found.rejected <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000), found


@pytest.mark.slow
def test_ratios_and_equivalence_keep_their_promises() -> None:
    """A change of exactly the margin: its interval covers it, and it is seldom called equivalent. 500 data sets."""
    rng, covered, equivalent = np.random.default_rng(5), 0, 0
    for _ in range(500):
        (before, after), _ = simulated(rng, (10, 10), (0.045, 0.036))
        comparison = Comparison(("a", "b"), (before, after), "test")
        covered += -20 in comparison.change_interval()
        equivalent += comparison.p_within(-20, 20) < 0.05
    chance = 3 * np.sqrt(0.05 * 0.95 / 500)
    assert abs(covered / 500 - 0.95) <= chance and equivalent / 500 <= 0.05 + chance


def test_most_intervals_cover() -> None:
    found = simulate(40, (10, 10), (0.045, 0.045))
    assert all(share >= 0.8 for share in found.covered.values())
