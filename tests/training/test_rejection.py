"""Rejection with known answers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lecun_repro.training.rejection import margins, rejection


def of(margin: list[float], missed: list[int]):
    return rejection(torch.tensor(margin), torch.tensor(missed, dtype=torch.bool))


def test_margins_are_between_the_two_highest_outputs() -> None:
    outputs = torch.full((2, 10), -1.0)
    outputs[0, 3], outputs[0, 7], outputs[1, 0] = 0.75, 0.5, 1.0
    assert margins(outputs).tolist() == [0.25, 2.0]


def test_the_least_certain_go_first() -> None:
    # 200 digits; the miss of least margin is the 3rd to go, the next the 50th: 1 % of the 197 left is one miss.
    missed = [0] * 200
    missed[2] = missed[49] = missed[59] = 1
    curve = of(list(range(200)), missed)
    assert curve.n == 200
    assert curve.share_at(1) == 100 * 50 / 200  # one miss in 150
    assert curve.share_at(0) == 100 * 60 / 200
    assert curve.share_at(1.5) == 0  # three misses in 200 are 1.5 % exactly
    assert curve.errors()[:3] == [1.5, pytest.approx(300 / 198, abs=1e-4), pytest.approx(200 / 196, abs=1e-4)]
    assert curve.errors()[30] == 0


def test_an_error_of_one_percent_exactly_is_good_enough() -> None:
    assert of([0.0] + [1.0] * 99, [0] * 99 + [1]).share_at(1) == 0
    assert of([0.0] + [1.0] * 99, [1] + [0] * 99).share_at(1) == 0


def test_digits_of_equal_margin_are_rejected_together() -> None:
    assert of([0.0, 0.0, 0.0, 1.0], [1, 0, 0, 0]).share_at(1) == 75
    assert of([0.0, 0.0, 0.0, 0.0], [1, 0, 0, 0]).share_at(1) == 100
    assert of([0.0, 0.0, 0.0, 1.0], [1, 0, 0, 0]).errors()[1] == 0


def test_without_a_miss_nothing_is_rejected() -> None:
    assert of([0.5, 0.1], [0, 0]).share_at(1) == 0
    assert of([0.5], [1]).share_at(1) == 100


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40))
def test_equals_trying_every_threshold(digits: list[tuple[int, bool]]) -> None:
    curve = of([float(margin) for margin, _ in digits], [int(missed) for _, missed in digits])
    shares = []
    for threshold in range(8):
        accepted = [missed for margin, missed in digits if margin >= threshold]
        if 100 * sum(accepted) <= 10 * len(accepted):
            shares.append(100 * (len(digits) - len(accepted)) / len(digits))
    assert curve.share_at(10) == min(shares)
