"""Statistics on cases with known answers."""

import math

import pytest

from lecun_repro.report.statistics import (
    Interval,
    gained,
    improved,
    mcnemar,
    mean_interval,
    p_of_mean,
    power_law,
    prediction_interval,
    reproduced,
    sd,
)

T4 = 2.7764451052  # the 97.5 % point of Student's t with 4 degrees of freedom, from a table


def test_intervals_of_five_values() -> None:
    values = [1, 2, 3, 4, 5]
    assert sd(values) == pytest.approx(math.sqrt(2.5))
    assert mean_interval(values) == pytest.approx((3 - T4 * math.sqrt(2.5 / 5), 3 + T4 * math.sqrt(2.5 / 5)))
    assert prediction_interval(values) == pytest.approx((3 - T4 * math.sqrt(2.5 * 1.2), 3 + T4 * math.sqrt(2.5 * 1.2)))


def test_one_value_has_no_interval() -> None:
    assert all(map(math.isnan, mean_interval([4])))
    assert math.isnan(sd([4]))
    assert reproduced([82], 82) == "one seed"
    assert improved([-9], [0.001]) == "not shown"


def test_equal_values_have_an_interval_of_one_point() -> None:
    assert prediction_interval([7, 7, 7]) == Interval(7, 7)
    assert reproduced([7, 7, 7], 7) == "reproduced"


def test_mcnemar_is_exact() -> None:
    # 10 digits are missed before alone, 2 after alone: 2 * (C(12,0) + C(12,1) + C(12,2)) / 2**12.
    assert mcnemar(range(10, 22), [20, 21, 1, 2]) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar([1, 2], [1, 2]) == 1
    assert mcnemar([], [1, 2, 3, 4, 5, 6]) == pytest.approx(2 / 2**6)


@pytest.mark.parametrize(
    "differences, verdict",
    [
        ([-20, -22, -18], "yes"),
        ([-12, -11, -13], "yes"),
        ([-2, 0, 3], "no"),
        ([-20, 0, -5], "not shown"),
        ([-30], "not shown"),
    ],
)
def test_a_gain_of_ten_misses(differences: list[int], verdict: str) -> None:
    assert gained(differences, 8) == verdict


def test_p_of_a_mean_is_the_t_test_s() -> None:
    # t = 2 / (1 / sqrt(3)) with 2 degrees of freedom: p = 1 - t / sqrt(2 + t^2).
    t = 2 * 3**0.5
    assert p_of_mean([1, 2, 3]) == pytest.approx(1 - t / (2 + t**2) ** 0.5)
    assert (p_of_mean([0, 0]), p_of_mean([2, 2]), p_of_mean([5])) == (1, 0, 1)


def test_a_power_law_is_found_again() -> None:
    law = power_law([10, 20, 80], [4.0, 2.0, 0.5], unit=20)
    assert (law.scale, law.exponent) == (pytest.approx(2), pytest.approx(1))
    assert law(40) == pytest.approx(1)


@pytest.mark.parametrize("published, verdict", [(82, "reproduced"), (60, "higher"), (120, "lower")])
def test_verdict_on_a_row(published: int, verdict: str) -> None:
    assert reproduced([78, 82, 85, 87, 88], published) == verdict


@pytest.mark.parametrize(
    "differences, p_values, verdict",
    [
        ([-20, -22, -18], [0.001, 0.002, 0.3], "better"),
        ([20, 22, 18], [0.001, 0.002, 0.3], "worse"),
        ([-20, -22, -18], [0.001, 0.06, 0.3], "not shown"),  # no digit-wise evidence in the median seed
        ([-20, 22, -18], [0.001, 0.001, 0.001], "not shown"),  # seeds disagree
    ],
)
def test_verdict_on_a_step(differences: list[int], p_values: list[float], verdict: str) -> None:
    assert improved(differences, p_values) == verdict
