"""Averaged weights: what is evaluated in the place of the weights that are trained.

Both kinds are one rule, average <- average + weight * (new - average), with another weight for every update.
"""

import copy
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lecun_repro.errors import BadArgument

Kind = Literal["ema", "swa"]


class Average(nn.Module):
    """A network whose weights follow those of another, update by update.

    `ema`: an exponential moving average; `swa`: the mean of all weights after `start` updates (Izmailov et al. 2018).
    Either begins as a copy of the weights after the first update that it follows. Buffers are not averaged: the
    trained network's are taken, such as batch normalization's running statistics. Both as in torch's `AveragedModel`.

    Raises:
        BadArgument: `average` or `average_decay` outside the below.

    Args:
        network: The network that is trained.
        kind: `ema` or `swa`.
        decay: Of `ema`: what stays of the average in every update, in [0, 1).
        start: Updates before the first that is averaged.

    Attributes:
        network: The network with the averaged weights.
        followed: Updates followed so far.
    """

    def __init__(self, network: nn.Module, kind: Kind, decay: float = 0.999, start: int = 0) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise BadArgument("average", kind, ", ".join(get_args(Kind)))
        if not 0 <= decay < 1:
            raise BadArgument("average_decay", decay, "a number from 0 to below 1")
        self.kind, self.decay, self.start = kind, decay, start
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._average = dict(zip(network.parameters(), self.network.parameters(), strict=True))
        saved = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}  # other buffers are constants
        self._buffers_taken = [name for name, buffer in network.named_buffers() if id(buffer) in saved]
        self._trained = (network,)  # in a tuple, as it is no part of this module
        self.followed: Tensor
        self.register_buffer("followed", torch.tensor(0))

    def weights(self, n: int) -> Tensor:
        """Of the next `n` updates, (n,) float64: how much of the new weights enters the average. Of none, (1,)."""
        done = torch.arange(max(n, 1), dtype=torch.float64) + int(self.followed) - self.start
        later = 1 / (done.clamp_min(0) + 1) if self.kind == "swa" else torch.full_like(done, 1 - self.decay)
        return torch.where(done <= 0, 1.0, later)

    @torch.no_grad()
    def follow(self) -> None:
        """Takes in the weights after one update."""
        weight = self.weights(1).item()
        for p, average in self._average.items():
            average.lerp_(p, weight)
        self._done(1)

    def of(self, params: Sequence[Tensor]) -> list[Tensor]:
        """The averages of some parameters."""
        return [self._average[p].detach() for p in params]  # type: ignore[index]

    @torch.no_grad()
    def put(self, params: Sequence[Tensor], averages: Sequence[Tensor], updates: int) -> None:
        """The averages of some parameters after so many updates that were followed elsewhere."""
        for p, average in zip(params, averages, strict=True):
            self._average[p].copy_(average)  # type: ignore[index]
        self._done(updates)

    def _done(self, updates: int) -> None:
        for name in self._buffers_taken:
            self.network.get_buffer(name).copy_(self._trained[0].get_buffer(name))
        self.followed += updates
