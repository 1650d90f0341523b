"""What every network is made from: the base class, activations and the range of the initial weights."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import torch
from jsonargparse.typing import restricted_number_type
from torch import Tensor, nn
from torch.nn import functional as F

from lecun_repro.errors import BadArgument

BACKGROUND = -1.0  # paper: what lies outside the 16x16 field; it stays -1 with every activation (article)
Dropout = restricted_number_type("Dropout", float, [(">=", 0), ("<", 1)])
SCALED_TANH_LIMIT = 1.7159


def scaled_tanh(x: Tensor) -> Tensor:
    """1.7159 tanh(2x/3), which is 1 at 1 and most curved there.

    The paper says "a scaled hyperbolic tangent"; the constants are from LeCun's other report of 1989 and from
    "Efficient BackProp" (inference for this paper).
    """
    return SCALED_TANH_LIMIT * torch.tanh(2 / 3 * x)


def scaled_tanh_skip(x: Tensor) -> Tensor:
    """The scaled tanh with a skip connection, 1.7159 tanh(2x/3) + 0.05 x: some gradient in the flat tails.

    The article suspects one in the paper; how far it was scaled down neither says: 0.05 is our guess.
    """
    return scaled_tanh(x) + 0.05 * x


ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "scaled_tanh": scaled_tanh,
    "scaled_tanh_skip": scaled_tanh_skip,
}
Activation: TypeAlias = Literal[tuple(ACTIVATIONS)]  # type: ignore[valid-type]
Init = Literal["article", "paper", "wide"]
# Weights start in +-2.4 / fan-in^power; the paper prints no root; `wide`, ours, starts with units that are saturated.
FAN_IN_POWER = {"article": 0.5, "paper": 1.0, "wide": 0.25}


def hidden_activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function behind a hidden activation's name; BadArgument for an unknown one."""
    if name not in ACTIVATIONS:
        raise BadArgument("activation", name, ", ".join(ACTIVATIONS))
    return ACTIVATIONS[name]


class LayerSize(NamedTuple):
    """What one layer costs per digit."""

    layer: str
    shape: str
    parameters: int
    macs: int  # multiply-accumulates, biases not counted
    activations: int


class Network(nn.Module):
    """What the training step and the updates ask of a network. Any other module is made one by `as_network`.

    A subclass defines `forward`. Where preparing the digits pays, because it needs no parameters and can be done once
    for a whole block of updates, it defines `prepare` and `outputs` as well: an update's forward pass is
    `outputs(prepare(images)[update], keep)`. `keep` is the dropout mask, drawn outside the network so that a run's
    randomness does not depend on how its updates are computed.
    """

    dropout: float = 0.0
    dropout_units: int = 0
    note: str = ""  # one line to print with the sizes

    @property
    def own(self) -> nn.Module:
        """What was configured: this network, or the plain module that it stands for."""
        return self

    def set_dropout(self, share: float, units: int) -> None:
        """Has `share` of so many units dropped in training; BadArgument for a share outside of [0, 1)."""
        if not 0 <= share < 1:
            raise BadArgument("dropout", share, "a number from 0 to below 1")
        self.dropout, self.dropout_units = float(share), units

    def drop(self, units: Tensor, keep: Tensor | None) -> Tensor:
        """Units (n, ...) -> (n, dropout_units), of which those that stay are scaled up by what `keep` drops."""
        units = units.flatten(1)
        return units if keep is None else units * (keep.to(units.dtype) / (1 - self.dropout))

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Digits (n, 1, 16, 16) in [-1, 1] -> outputs before the head's squashing, (n, 10).

        `keep` (n, dropout_units) is 1 where a unit stays and 0 where it is dropped; None drops nothing.
        """
        if type(self).outputs is Network.outputs:
            raise NotImplementedError(f"{type(self).__name__} defines no forward")
        return self.outputs(self.prepare(images[None])[0], keep)

    def prepare(self, images: Tensor) -> Tensor:
        """Digits (updates, n, 1, 16, 16) -> what `outputs` reads, (updates, n, ...), without the parameters' help."""
        return images

    def outputs(self, prepared: Tensor, keep: Tensor | None = None) -> Tensor:
        """Prepared digits (n, ...) -> what `forward` gives for them, (n, 10)."""
        return self(prepared) if keep is None else self(prepared, keep)

    def sizes(self) -> list[LayerSize]:
        """Parameters, multiply-accumulates and activations, layer by layer; none where a network does not count."""
        return []

    def layers(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """The layers by name, for pictures: digits (n, 1, 16, 16) go into the first, and each one's result,
        (n, maps, height, width) or (n, units), into the next, down to the outputs, (n, 10). None by default.
        """
        return {}

    def kernels(self) -> dict[str, Tensor]:
        """Weights that can be drawn as pictures, by their layer, (kernels, height, width); none by default."""
        return {}


def initial_weights(
    shape: tuple[int, ...], fan_in: int, init: Init = "article", generator: torch.Generator | None = None
) -> nn.Parameter:
    """Weights drawn evenly from +-2.4 / fan-in^power: a half (article), 1 (paper) or a quarter (wide).

    Raises:
        BadArgument: another `init`.
    """
    if init not in FAN_IN_POWER:
        raise BadArgument("init", init, ", ".join(FAN_IN_POWER))
    return nn.Parameter((torch.rand(shape, generator=generator) - 0.5) * 2 * 2.4 / fan_in ** FAN_IN_POWER[init])
