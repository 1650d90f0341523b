import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lecun_repro.training.evaluation import SplitResult, evaluated


def result_of(loss: float, predicted: list[int], labels: list[int]) -> SplitResult:
    outputs = torch.eye(10)[torch.tensor(predicted)]
    return evaluated(torch.tensor(loss), outputs, torch.tensor(labels), outputs)


def test_prints_the_articles_lines() -> None:
    train = SplitResult(7291, 3.849e-3, 100 * 43 / 7291, 43, [], [])
    test = SplitResult(2007, 2.789e-2, 100 * 81 / 2007, 81, [], [])
    assert train.line("train") == "eval: split train. loss 3.849e-03. error 0.59%. misses: 43"
    assert test.line("test") == "eval: split test . loss 2.789e-02. error 4.04%. misses: 81"
    assert test.line("test", 23) == "eval: pass 23, split test . loss 2.789e-02. error 4.04%. misses: 81"


@pytest.mark.parametrize("label, missed", [(7, []), (3, [0])])
def test_a_split_of_one_digit(label: int, missed: list[int]) -> None:
    taken_for = [7] * len(missed)
    result = result_of(0.5, [7], [label])
    assert result[:6] == (1, 0.5, 100.0 * len(missed), len(missed), missed, taken_for)
    assert result.rejected_at_1_percent == 100.0 * len(missed)


def test_where_all_margins_are_equal_all_or_none_are_rejected() -> None:
    result = result_of(1.0, [1, 2], [1, 3])
    assert result == (2, 1.0, 50.0, 1, [1], [2], 100.0, [50.0] + [0.0] * 40)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=32))
def test_misses_are_counted_in_the_order_of_the_split(pairs: list[tuple[int, int]]) -> None:
    result = result_of(0.0, [predicted for predicted, _ in pairs], [label for _, label in pairs])
    missed = [index for index, (predicted, label) in enumerate(pairs) if predicted != label]
    assert (result.n, result.missed, result.misses) == (len(pairs), missed, len(missed))
    assert result.predicted == [pairs[index][0] for index in missed]
    assert all(type(number) is int for number in (result.n, result.misses, *result.missed, *result.predicted))
    assert result.error == pytest.approx(100 * len(missed) / len(pairs))


def test_every_miss_counts_whatever_its_share_rounds_to() -> None:
    # The article's code prints int(error * n): 43 for 44 of 2,007, as 44 / 2007 is a little less in float32.
    for misses in range(0, 200):
        assert result_of(0.0, [1] * misses + [0] * (2007 - misses), [0] * 2007).misses == misses


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_no_numbers_have_a_result_whose_loss_is_none(value: float) -> None:
    outputs, labels = torch.full((3, 10), value), torch.tensor([0, 1, 2])
    result = evaluated(torch.nn.functional.cross_entropy(outputs, labels), outputs, labels, outputs)
    assert (result.n, result.misses) == (3, 2) and result.loss != result.loss
