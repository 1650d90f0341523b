"""What is measured on a split after every pass."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import CatMetric, MeanMetric, Metric
from torchmetrics.classification import MulticlassConfusionMatrix

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


class Evaluation(torch.nn.Module):
    """Accumulates chunks of a split, in its order, with torchmetrics.

    Misses are counted with integers: the article's own code truncates a float, and prints four counts one too low.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loss: Metric = MeanMetric()
        self.confusion: Metric = MulticlassConfusionMatrix(num_classes=10, validate_args=False)
        self.predicted: Metric = CatMetric()
        self.labels: Metric = CatMetric()
        self.margins: Metric = CatMetric()

    def update(self, loss: Tensor, outputs: Tensor, labels: Tensor, activations: Tensor | None = None) -> None:
        """One chunk.

        Args:
            loss: Its mean.
            outputs: (n, 10), the largest of which is the prediction.
            labels: (n,).
            activations: Outputs of the head (n, 10), for the rejection, by default `outputs`. Those that saturate are
                equal where `outputs` still differ.
        """
        predicted = outputs.argmax(1)
        self.loss.update(loss, weight=len(labels))
        self.confusion.update(predicted, labels)
        self.predicted.update(predicted.float())
        self.labels.update(labels.float())
        self.margins.update(margins(outputs if activations is None else activations))

    def result(self) -> SplitResult:
        """What the chunks add up to; starts anew afterwards."""
        confusion = self.confusion.compute()
        n = int(confusion.sum())
        misses = n - int(confusion.trace())
        predicted = torch.atleast_1d(self.predicted.compute())
        wrong = predicted != torch.atleast_1d(self.labels.compute())
        missed = wrong.nonzero().flatten()
        curve = rejection(torch.atleast_1d(self.margins.compute()), wrong)
        result = SplitResult(
            n,
            float(self.loss.compute()),
            100 * misses / n,
            misses,
            missed.tolist(),
            predicted[missed].int().tolist(),
            curve.share_at(1),
            curve.errors(),
        )
        for metric in self.children():
            metric.reset()  # type: ignore[operator]
        return result
