"""Rejection: a digit whose two highest outputs lie too close together is left to a person.

The paper rejects 12.1 % of its test digits for 1 % error on the rest. That its criterion is the difference between the
two highest outputs is likely (a secondary source says so).
"""

from typing import NamedTuple

import torch
from torch import Tensor

SHARES = range(0, 41)  # percent rejected, of a curve's points


def margins(outputs: Tensor) -> Tensor:
    """Outputs of the head (n, 10) -> the difference of each digit's two highest, (n,)."""
    first, second = outputs.topk(2, dim=1).values.unbind(1)
    return first - second


class Rejection(NamedTuple):
    """Every way to reject by a threshold, from none rejected to all.

    Digits of equal margin are rejected together or not at all: no threshold tells them apart.
    """

    rejected: Tensor  # digits below the threshold, ascending: 0 first, n last
    missed: Tensor  # how many of the others are missed

    @property
    def n(self) -> int:
        return int(self.rejected[-1])

    def share_at(self, percent: float) -> float:
        """The smallest share rejected, in percent, that leaves at most so much error on the rest; 100 at worst."""
        accepted = self.n - self.rejected
        good = self.missed * 100 <= percent * accepted
        return 100 * int(self.rejected[good][0]) / self.n

    def errors(self) -> list[float]:
        """The error on the rest, in percent, where at least 0, 1, 2 ... 40 % are rejected (as few more as can be)."""
        wanted = torch.tensor([-(-share * self.n // 100) for share in SHARES])
        places = torch.searchsorted(self.rejected, wanted)
        accepted = (self.n - self.rejected[places]).clamp_min(1)
        return [round(float(e), 4) for e in 100 * self.missed[places] / accepted]


def rejection(margins: Tensor, missed: Tensor) -> Rejection:
    """From every digit's margin and whether it is missed, both (n,)."""
    margins, order = margins.sort()
    first = torch.ones_like(margins, dtype=torch.bool)
    first[1:] = margins[1:] != margins[:-1]  # of those of equal margin
    missed = missed[order].long()
    left = missed.sum() - missed.cumsum(0) + missed  # missed from here on
    none_left = torch.tensor([len(margins)], device=margins.device)
    return Rejection(
        torch.cat([first.nonzero().flatten(), none_left]).cpu(), torch.cat([left[first], 0 * none_left]).cpu()
    )
