"""Statistics on cases with known answers."""

import math

import pytest

from lecun_repro.report.statistics import (
    Interval,
    error_interval,
    holm,
    mean_interval,
    power_law,
    prediction_interval,
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
    assert all(map(math.isnan, error_interval([4])))
    assert math.isnan(sd([4]))


def test_no_part_of_an_interval_of_an_error_is_below_0_percent_or_above_100() -> None:
    assert error_interval([1, 2]) == pytest.approx((0, 1.5 + 12.7062047362 * 0.5))
    assert error_interval([1, 2])[0] == 0 > mean_interval([1, 2])[0]
    assert error_interval([99, 100])[1] == 100


def test_equal_values_have_an_interval_of_one_point() -> None:
    assert prediction_interval([7, 7, 7]) == Interval(7, 7)


def test_holm_adjusts_the_smallest_p_the_most() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.001]) == pytest.approx([0.6, 0.002])
    assert holm([0.9, 0.8]) == [1, 1] and holm([]) == []


def test_a_power_law_is_found_again() -> None:
    law = power_law([10, 20, 80], [4.0, 2.0, 0.5], unit=20)
    assert (law.scale, law.exponent) == (pytest.approx(2), pytest.approx(1))
    assert law(40) == pytest.approx(1)
