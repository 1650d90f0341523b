import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lecun_repro.models.heads import CrossEntropy, Head, TanhMSE

GENERATOR = torch.Generator().manual_seed(0)
OUTPUTS = 3 * torch.randn((5, 10), generator=GENERATOR, dtype=torch.float64)
LABELS = torch.tensor([3, 0, 9, 3, 7])
SCALED = TanhMSE("scaled_tanh", 0.8)
each_head = pytest.mark.parametrize("head", [TanhMSE(), SCALED, CrossEntropy()], ids=["mse", "scaled", "ce"])


@pytest.mark.parametrize(
    "head, activations, target",
    [(TanhMSE(), torch.tanh(OUTPUTS), 1.0), (SCALED, 1.7159 * torch.tanh(OUTPUTS * 2 / 3), 0.8)],
)
def test_mse_is_the_mean_over_patterns_and_outputs_on_targets_of_plus_and_minus_one_level(
    head: TanhMSE, activations: Tensor, target: float
) -> None:
    targets = target * (F.one_hot(LABELS, 10).double() * 2 - 1)
    torch.testing.assert_close(head.activation(OUTPUTS), activations)
    torch.testing.assert_close(
        head.loss(OUTPUTS, LABELS), (activations - targets).square().sum() / 50, rtol=1e-12, atol=0
    )


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


@each_head
def test_probabilities_sum_to_one_and_keep_the_order_of_the_outputs(head: Head) -> None:
    probabilities = head.probabilities(OUTPUTS)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(5, dtype=torch.float64))
    assert (probabilities >= 0).all()
    assert torch.equal(probabilities.argsort(1), OUTPUTS.argsort(1))
    assert torch.equal(head.activation(OUTPUTS).argmax(1), OUTPUTS.argmax(1))


@each_head
def test_probabilities_are_finite_even_where_the_outputs_are_extreme(head: Head) -> None:
    # With tanh, ten outputs that all round to -1 leave no shares to normalise.
    for outputs in (torch.full((1, 10), -50.0), torch.full((1, 10), 50.0)):
        torch.testing.assert_close(head.probabilities(outputs), torch.full((1, 10), 0.1))


@each_head
def test_gradient_equals_finite_differences(head: Head) -> None:
    outputs = (OUTPUTS / 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: head.loss(x, LABELS), outputs)


@each_head
def test_heads_keep_float32(head: Head) -> None:
    assert head.loss(OUTPUTS.float(), LABELS).dtype == torch.float32
    assert head.loss(OUTPUTS, LABELS).item() == pytest.approx(head.loss(OUTPUTS.float(), LABELS).item(), rel=1e-5)


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


@pytest.mark.parametrize("kind, given, fault", [
    *((CrossEntropy, (share,), "smoothing: .*; allowed: a number from 0 to b") for share in (-0.1, 1.0, float("nan"))),
    *((TanhMSE, ("tanh", target), "target: .*; allowed: a number above 0, at most 1.0") for target in (1.1, 0.0, -1.0)),
    (TanhMSE, ("scaled_tanh", 1.8), "target: 1.8; allowed: a number above 0, at most 1.7159"),
    (TanhMSE, ("relu",), "activation: relu; allowed: tanh, scaled_tanh"),
])  # fmt: skip
def test_refuses_other_arguments(kind: type[Head], given: tuple, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        kind(*given)
