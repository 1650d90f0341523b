"""Comparisons of rows, against formulas written out and against cases with known answers."""

import re

import numpy as np
import pytest
from scipy import stats

from lecun_repro.report.comparison import Comparison, Crossed, Effect, compare, delta, fieller, grids
from lecun_repro.report.results import load
from lecun_repro.runs.results import RunResult


@pytest.fixture
def two() -> tuple[np.ndarray, np.ndarray]:
    """Two rows' grids, of 6 and of 9 runs on the same 300 digits, some of which are harder."""
    rng = np.random.default_rng(3)
    hard = rng.random(300) ** 4
    return (rng.random((6, 300)) < hard).astype(float), (rng.random((9, 300)) < 0.8 * hard).astype(float)


def test_these_digits_are_welch_s(two) -> None:
    before, after = two
    effect = Comparison(("a", "b"), two, "test").difference("these digits")
    welch = stats.ttest_ind(100 * after.mean(1), 100 * before.mean(1), equal_var=False)
    assert effect.p == pytest.approx(welch.pvalue)
    assert effect.df == pytest.approx(welch.df)
    assert effect.interval() == pytest.approx(tuple(welch.confidence_interval(0.95)))


def test_new_digits_are_the_analysis_of_variance_of_crossed_effects(two) -> None:
    """Expected mean squares, written out: E[V] is the variance of a difference of means of seeds and digits."""
    before, after = two
    of_seeds = sum(grid.mean(1).var(ddof=1) / len(grid) for grid in two)
    of_digits = (after.mean(0) - before.mean(0)).var(ddof=1) / 300
    both = 0.0
    for grid in two:
        left = grid - grid.mean(0) - grid.mean(1)[:, None] + grid.mean()
        both += (left**2).sum() / (len(grid) - 1) / 299 / len(grid) / 300
    effect = Crossed([[before], [after]]).effect([[-1], [1]])
    assert effect.estimate == pytest.approx(after.mean() - before.mean())
    assert effect.variance == pytest.approx(of_seeds + of_digits - both)
    assert of_seeds < effect.variance and of_digits < effect.variance
    more = Crossed([[before], [after]]).effect([[-1], [1]], seeds=1e9)
    assert more.variance == pytest.approx(of_digits - both, rel=1e-6)  # what no number of seeds takes away


def test_the_interval_of_a_ratio_is_what_its_test_does_not_reject(two) -> None:
    c = Comparison(("a", "b"), two, "test")
    low, high = c.change_interval()
    assert low < c.change < high
    for end in (low, high):
        assert c.against(1 + end / 100).p == pytest.approx(0.05, abs=1e-6)
    assert c.p_within(low, high) == pytest.approx(0.025, abs=1e-6)
    assert c.p_less(high) == pytest.approx(0.025, abs=1e-6) == c.p_more(low)


def test_a_ratio_to_next_to_nothing_has_an_open_interval() -> None:
    base, row = np.zeros((3, 50)), np.zeros((3, 50))
    base[0, 0], row[:, :5], row[1, 7] = 1, 1, 1
    assert Comparison(("a", "b"), (base, row), "test").change_interval().high == np.inf
    none = Comparison(("a", "b"), (np.zeros((3, 50)), row), "test")
    assert np.isnan(none.change) and np.isnan(none.change_interval().low)


def test_equal_runs_differ_for_sure_or_not_at_all() -> None:
    assert Effect(0, 0, np.nan).p == 1 and Effect(2, 0, np.nan).p == 0
    assert Effect(2, 0, np.nan).p_below(3) == 0 and Effect(2, 0, np.nan).p_below(1) == 1
    assert Effect(2, 0, np.nan).interval() == (2, 2)


def test_a_single_run_has_no_interval() -> None:
    effect = Crossed([[np.eye(1, 50)], [np.ones((4, 50))]]).effect([[-1], [1]])
    assert np.isnan(effect.variance) and np.isnan(effect.p) and np.isnan(effect.interval().low)


def test_sets_of_digits_have_seeds_in_common(two) -> None:
    """The difference between two halves of the digits: what a seed does to both of them cancels."""
    grid = two[0]
    crossed = Crossed([[grid[:, :150], grid[:, 150:]]])
    assert crossed.effect([[0.5, 0.5]], "these digits").variance == pytest.approx(grid.mean(1).var(ddof=1) / 6)
    apart = (grid[:, :150].mean(1) - grid[:, 150:].mean(1)).var(ddof=1) / 6
    assert crossed.effect([[1, -1]], "these digits").variance == pytest.approx(apart)


def test_delta_and_fieller_agree_where_both_hold(two) -> None:
    crossed = Crossed([[np.tile(grid, 4)] for grid in two])
    a, b = crossed.mean[:, 0]
    interval = fieller(crossed, [[0], [1]], [[1], [0]])
    assert delta(crossed, b / a, [[-b / a**2], [1 / a]]).interval() == pytest.approx(interval, abs=0.02)


def test_what_would_decide_a_comparison(two) -> None:
    c = Comparison(("a", "b"), two, "test")
    assert c.p > 0.001
    needed = c.decided_by(lambda other: other.p, 0.001)
    row, base = (int(count.replace(",", "")) for count in re.findall(r"[\d,]+", needed))
    assert needed.endswith("seeds") and row / 9 == pytest.approx(base / 6, rel=0.1)
    count, now, what = base, 6, "seeds"
    assert c.with_more(**{what: count / now * 1.2}).p < 0.001 < c.with_more(**{what: count / now / 1.2}).p
    assert c.decided_by(lambda other: 1.0, 0.05) == "neither more seeds nor more digits alone"


def test_rows_are_compared_on_the_same_digits_alone(split, run, tmp_path) -> None:
    def of(row: str, **more) -> list[RunResult]:
        return [RunResult.read(run(row, seed, split(9, 1), split(40, [seed]), **more), "") for seed in (1, 2)]

    assert list(compare({"a": of("a"), "b": of("b")}, "a", "b")) == ["test"]
    assert list(compare({"a": of("a"), "b": of("b", draw="full")}, "a", "b")) == ["test"]
    assert not compare({"a": of("a"), "b": of("b", draw=7)}, "a", "b")
    assert not compare({"a": of("a"), "b": of("b", source="usps")}, "a", "b")
    assert not compare({"a": of("a")[:1], "b": of("b")}, "a", "b")
    unseen = {"unseen": split(160, [3, 4])}
    found = compare({"a": of("a", **unseen), "b": of("b", **unseen)}, "a", "b")
    assert list(found) == ["unseen", "test", "all"]
    assert found["all"].of_digits == 200
    assert grids(of("a", **unseen))["all"].sum(1).tolist() == [3, 3]
    assert list(compare({"a": of("a", **unseen), "b": of("b")}, "a", "b")) == ["test"]
    assert load(tmp_path / "none.json") == {}
