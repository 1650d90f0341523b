"""What every source gives: digits and their labels, in memory."""

from typing import NamedTuple

from torch import Tensor


class Split(NamedTuple):
    """Digits in the order of their draw."""

    images: Tensor
    """(n, 1, 16, 16) float32, from -1 (background) to 1 (ink)."""

    labels: Tensor
    """(n,) int64, 0 to 9."""

    def part(self, first: int, last: int) -> "Split":
        """The digits from `first` to before `last`, as views."""
        return Split(self.images[first:last], self.labels[first:last])
