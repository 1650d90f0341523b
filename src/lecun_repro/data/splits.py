"""What every source gives, digits with their labels, and when a run evaluates which of them."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Split(NamedTuple):
    """Digits in the order of their draw."""

    images: Tensor  # (n, 1, 16, 16) float32, from -1 (background) to 1 (ink)
    labels: Tensor  # (n,) int64, 0 to 9

    def part(self, first: int, last: int) -> "Split":
        """The digits from `first` to before `last`, as views."""
        return Split(self.images[first:last], self.labels[first:last])

    def without(self, first: int, last: int) -> "Split":
        """The digits before `first` and those from `last`."""
        before, after = self.part(0, first), self.part(last, len(self.labels))
        return Split(*(torch.cat(parts) for parts in zip(before, after, strict=True)))


class EvaluatedSplit(NamedTuple):
    """A split that is evaluated, and when."""

    name: str
    when: Literal["every pass", "end"] = "every pass"  # of a fit; `test` evaluates all
