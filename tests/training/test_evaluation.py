import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lecun_repro.training.evaluation import Evaluation, SplitResult


def outputs_for(predicted: list[int]) -> torch.Tensor:
    return torch.eye(10)[torch.tensor(predicted)]


def evaluate(chunks: list[tuple[float, list[int], list[int]]]) -> SplitResult:
    """Chunks of (mean loss, predictions, labels)."""
    evaluation = Evaluation()
    for loss, predicted, labels in chunks:
        evaluation.update(torch.tensor(loss), outputs_for(predicted), torch.tensor(labels))
    return evaluation.result()


def test_prints_the_articles_lines() -> None:
    train = SplitResult(7291, 3.849e-3, 100 * 43 / 7291, 43, [], [])
    test = SplitResult(2007, 2.789e-2, 100 * 81 / 2007, 81, [], [])
    assert train.line("train") == "eval: split train. loss 3.849e-03. error 0.59%. misses: 43"
    assert test.line("test") == "eval: split test . loss 2.789e-02. error 4.04%. misses: 81"
    assert test.line("test", 23) == "eval: pass 23, split test . loss 2.789e-02. error 4.04%. misses: 81"


def test_uneven_chunks_weigh_as_many_digits_as_they_have() -> None:
    result = evaluate([(1.0, [0, 1, 2], [0, 1, 3]), (5.0, [4], [5])])
    assert result.loss == 2.0
    assert result[:6] == SplitResult(n=4, loss=2.0, error=50.0, misses=2, missed=[2, 3], predicted=[2, 4])[:6]


@pytest.mark.parametrize("label, missed", [(7, []), (3, [0])])
def test_a_split_of_one_digit(label: int, missed: list[int]) -> None:
    taken_for = [7] * len(missed)
    result = evaluate([(0.5, [7], [label])])
    assert result[:6] == (1, 0.5, 100.0 * len(missed), len(missed), missed, taken_for)
    assert result.rejected_at_1_percent == 100.0 * len(missed)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8), min_size=1, max_size=4)
)
def test_misses_are_counted_in_the_order_of_the_split(chunks: list[list[tuple[int, int]]]) -> None:
    result = evaluate([(0.0, [p for p, _ in chunk], [label for _, label in chunk]) for chunk in chunks])
    pairs = [pair for chunk in chunks for pair in chunk]
    missed = [index for index, (predicted, label) in enumerate(pairs) if predicted != label]
    assert (result.n, result.missed, result.misses) == (len(pairs), missed, len(missed))
    assert result.predicted == [pairs[index][0] for index in missed]
    assert all(type(number) is int for number in (result.n, result.misses, *result.missed, *result.predicted))
    assert result.error == pytest.approx(100 * len(missed) / len(pairs))


def test_every_miss_counts_whatever_its_share_rounds_to() -> None:
    # The article's code prints int(error * n): 43 for 44 of 2,007, as 44 / 2007 is a little less in float32.
    labels = [0] * 2007
    for misses in range(0, 200):
        predicted = [1] * misses + [0] * (2007 - misses)
        assert evaluate([(0.0, predicted, labels)]).misses == misses


def test_starts_anew_after_a_result() -> None:
    evaluation = Evaluation()
    for _ in range(2):
        evaluation.update(torch.tensor(1.0), outputs_for([1, 2]), torch.tensor([1, 3]))
        result = evaluation.result()
        assert result[:6] == (2, 1.0, 50.0, 1, [1], [2])
        assert result.rejected_at_1_percent == 100  # both margins are equal
        assert result.rejection == [50.0] + [0.0] * 40


def test_leaves_nothing_in_a_checkpoint() -> None:
    assert Evaluation().state_dict() == {}
