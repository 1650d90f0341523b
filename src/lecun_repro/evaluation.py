"""What is measured on a split after every pass."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import CatMetric, MeanMetric, Metric
from torchmetrics.classification import MulticlassConfusionMatrix


class SplitResult(NamedTuple):
    """One evaluation of one split."""

    n: int
    loss: float  # mean over the digits, as the head defines it
    error: float  # percent
    misses: int
    missed: list[int]  # which digits, counted from 0 in the order of the split
    predicted: list[int]  # what each of them is taken for

    def line(self, split: str) -> str:
        """The article's own format."""
        return f"eval: split {split:5s}. loss {self.loss:.3e}. error {self.error:.2f}%. misses: {self.misses}"


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

    def update(self, loss: Tensor, outputs: Tensor, labels: Tensor) -> None:
        """`loss`: the chunk's mean; `outputs` (n, 10), the largest of which is the prediction; `labels` (n,)."""
        predicted = outputs.argmax(1)
        self.loss.update(loss, weight=len(labels))
        self.confusion.update(predicted, labels)
        self.predicted.update(predicted.float())
        self.labels.update(labels.float())

    def result(self) -> SplitResult:
        """What the chunks add up to; starts anew afterwards."""
        confusion = self.confusion.compute()
        n = int(confusion.sum())
        misses = n - int(confusion.trace())
        predicted = torch.atleast_1d(self.predicted.compute())
        missed = (predicted != torch.atleast_1d(self.labels.compute())).nonzero().flatten()
        taken_for = predicted[missed].int().tolist()
        result = SplitResult(n, float(self.loss.compute()), 100 * misses / n, misses, missed.tolist(), taken_for)
        for metric in (self.loss, self.confusion, self.predicted, self.labels):
            metric.reset()
        return result
