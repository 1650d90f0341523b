"""What is measured on a split after every pass."""

from typing import NamedTuple

from torch import Tensor
from torchmetrics import MeanMetric
from torchmetrics.functional.classification import multiclass_confusion_matrix

from lecun_repro.training.rejection import margins, rejection


class SplitResult(NamedTuple):
    """One evaluation of one split."""

    n: int
    loss: float  # mean over the digits, as the head defines it
    error: float  # percent
    misses: int
    missed: list[int]  # which digits, counted from 0 in the order of the split
    predicted: list[int]  # what each of them is taken for
    rejected_at_1_percent: float | None = None  # percent of the digits rejected for 1 % error on the rest
    rejection: list[float] | None = None  # percent of error on the rest where 0, 1, 2 ... 40 % are rejected

    def line(self, split: str, number: int | None = None) -> str:
        """The article's own format, in a fit after the number of the pass."""
        after = "" if number is None else f"pass {number}, "
        return f"eval: {after}split {split:5s}. loss {self.loss:.3e}. error {self.error:.2f}%. misses: {self.misses}"


def evaluated(loss: Tensor, outputs: Tensor, labels: Tensor, activations: Tensor) -> SplitResult:
    """What the network makes of a split, in its order.

    Misses are counted with integers: the article's own code truncates a float, and prints four counts one too low.

    Args:
        loss: The digits' mean.
        outputs: (n, 10), the largest of which is the prediction.
        labels: (n,).
        activations: Outputs of the head (n, 10), for the rejection. Those that saturate are equal where `outputs` still
            differ.
    """
    mean = MeanMetric(nan_strategy="ignore").to(loss.device)
    mean.update(loss, weight=len(labels))
    predicted = outputs.argmax(1)
    wrong = predicted != labels
    missed = wrong.nonzero().flatten()
    confusion = multiclass_confusion_matrix(predicted, labels, num_classes=10, validate_args=False)
    n, misses = int(confusion.sum()), int(confusion.sum() - confusion.trace())
    curve = rejection(margins(activations).float(), wrong)
    return SplitResult(
        n=n,
        loss=float(mean.compute()),
        error=100 * misses / n,
        misses=misses,
        missed=missed.tolist(),
        predicted=predicted[missed].tolist(),
        rejected_at_1_percent=curve.share_at(1),
        rejection=curve.errors(),
    )
