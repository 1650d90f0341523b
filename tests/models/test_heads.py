import pytest
import torch
from torch.nn import functional as F

from lecun_repro.models.heads import CrossEntropy, Head, TanhMSE

GENERATOR = torch.Generator().manual_seed(0)
OUTPUTS = 3 * torch.randn((5, 10), generator=GENERATOR, dtype=torch.float64)
LABELS = torch.tensor([3, 0, 9, 3, 7])


def test_mse_is_the_mean_over_patterns_and_outputs_on_targets_of_plus_and_minus_one() -> None:
    total = 0.0
    for outputs, label in zip(OUTPUTS.tolist(), LABELS.tolist(), strict=True):
        for digit, output in enumerate(outputs):
            target = 1.0 if digit == label else -1.0
            total += (torch.tanh(torch.tensor(output, dtype=torch.float64)).item() - target) ** 2
    assert TanhMSE().loss(OUTPUTS, LABELS).item() == pytest.approx(total / 50, rel=1e-12)


def test_mse_of_right_and_of_undecided_outputs() -> None:
    right = torch.full((1, 10), -50.0)
    right[0, 4] = 50.0
    assert TanhMSE().loss(right, torch.tensor([4])) == 0
    assert TanhMSE().loss(torch.zeros(1, 10), torch.tensor([4])) == 1


def test_cross_entropy_is_the_mean_negative_log_probability_of_the_label() -> None:
    logs = OUTPUTS.log_softmax(1)
    expected = -sum(logs[row, label] for row, label in enumerate(LABELS.tolist())) / 5
    torch.testing.assert_close(CrossEntropy().loss(OUTPUTS, LABELS), expected)
    assert torch.equal(CrossEntropy().activation(OUTPUTS), OUTPUTS)


@pytest.mark.parametrize("head", [TanhMSE(), CrossEntropy()], ids=lambda head: type(head).__name__)
def test_probabilities_sum_to_one_and_keep_the_order_of_the_outputs(head: Head) -> None:
    probabilities = head.probabilities(OUTPUTS)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(5, dtype=torch.float64))
    assert (probabilities >= 0).all()
    assert torch.equal(probabilities.argsort(1), OUTPUTS.argsort(1))
    assert torch.equal(head.activation(OUTPUTS).argmax(1), OUTPUTS.argmax(1))


@pytest.mark.parametrize("head", [TanhMSE(), CrossEntropy()], ids=lambda head: type(head).__name__)
def test_probabilities_are_finite_even_where_the_outputs_are_extreme(head: Head) -> None:
    # With tanh, ten outputs that all round to -1 leave no shares to normalise.
    for outputs in (torch.full((1, 10), -50.0), torch.full((1, 10), 50.0)):
        torch.testing.assert_close(head.probabilities(outputs), torch.full((1, 10), 0.1))


@pytest.mark.parametrize("head", [TanhMSE(), CrossEntropy()], ids=lambda head: type(head).__name__)
def test_gradient_equals_finite_differences(head: Head) -> None:
    outputs = (OUTPUTS / 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: head.loss(x, LABELS), outputs)


def test_heads_keep_float32() -> None:
    for head in (TanhMSE(), CrossEntropy()):
        assert head.loss(OUTPUTS.float(), LABELS).dtype == torch.float32
        assert head.loss(OUTPUTS, LABELS).item() == pytest.approx(head.loss(OUTPUTS.float(), LABELS).item(), rel=1e-5)


def test_mse_is_what_torch_computes_from_one_hot_targets() -> None:
    targets = F.one_hot(LABELS, 10) * 2.0 - 1
    torch.testing.assert_close(TanhMSE().loss(OUTPUTS, LABELS), (torch.tanh(OUTPUTS) - targets).square().mean())


def test_scaled_tanh_and_another_target() -> None:
    head = TanhMSE("scaled_tanh", 0.8)
    targets = 0.8 * (F.one_hot(LABELS, 10) * 2.0 - 1)
    activations = 1.7159 * torch.tanh(OUTPUTS * 2 / 3)
    torch.testing.assert_close(head.activation(OUTPUTS), activations)
    torch.testing.assert_close(head.loss(OUTPUTS, LABELS), (activations - targets).square().mean())
    torch.testing.assert_close(head.probabilities(OUTPUTS).sum(1), torch.ones(5, dtype=torch.float64))
    assert torch.equal(head.probabilities(OUTPUTS).argsort(1), OUTPUTS.argsort(1))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_labels_are_trained_as_torch_smooths_them_and_not_reported(smoothing: float) -> None:
    head = CrossEntropy(smoothing)
    targets = (1 - smoothing) * F.one_hot(LABELS, 10) + smoothing / 10
    expected = -(targets * OUTPUTS.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(head.training_loss(OUTPUTS, LABELS), expected)
    assert torch.equal(head.training_loss(OUTPUTS, LABELS), F.cross_entropy(OUTPUTS, LABELS, label_smoothing=smoothing))
    assert torch.equal(head.loss(OUTPUTS, LABELS), F.cross_entropy(OUTPUTS, LABELS))


def test_other_heads_train_what_they_report() -> None:
    assert torch.equal(TanhMSE().training_loss(OUTPUTS, LABELS), TanhMSE().loss(OUTPUTS, LABELS))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_refuses_other_shares_of_smoothing(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"smoothing: .*; allowed: a number from 0 to below 1"):
        CrossEntropy(smoothing)


@pytest.mark.parametrize("given", [("tanh", 1.1), ("tanh", 0.0), ("tanh", -1.0), ("scaled_tanh", 1.8)])
def test_refuses_a_target_that_cannot_be_reached(given: tuple) -> None:
    with pytest.raises(ValueError, match=r"target: .*; allowed: a number above 0, at most 1"):
        TanhMSE(*given)


def test_refuses_other_activations() -> None:
    with pytest.raises(ValueError, match="activation: relu; allowed: tanh, scaled_tanh"):
        TanhMSE("relu")  # type: ignore[arg-type]
