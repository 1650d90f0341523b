"""A wide convolutional network of today, with batch normalization: what the small network of 1989 is taught by."""

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from lecun_repro.errors import BadArgument
from lecun_repro.models.base import Activation, Dropout, LayerSize, Network, hidden_activation

SIDES = (16, 16, 8, 8, 4)  # of the maps of the five convolutions; a pooling halves them twice


class WideConvNet(Network):
    """Five 3x3 convolutions with batch normalization, pooled to half the side after the second and the fourth.

    The last maps, of 4x4, are read by the ten outputs. A modern recipe; nothing of it is the paper's or the article's.

    Args:
        widths: Maps of each of the five convolutions.
        activation: Hidden activation, as of `ConvNet1989`.
        dropout: Share of the last maps' units that are dropped in training, in [0, 1).
        seed: Seed of the initial weights, which are torch's own; null draws them from torch's global generator.

    Raises:
        BadArgument: other than five widths, or an activation or dropout outside the above.
    """

    def __init__(
        self,
        widths: list[PositiveInt] | None = None,  # type: ignore[valid-type]
        activation: Activation = "relu",
        dropout: Dropout = 0.3,  # type: ignore[valid-type]
        seed: NonNegativeInt | None = None,  # type: ignore[valid-type]
    ) -> None:
        super().__init__()
        widths = [24, 24, 48, 48, 64] if widths is None else list(widths)
        if len(widths) != len(SIDES) or min(widths) < 1:
            raise BadArgument("widths", widths, f"{len(SIDES)} integers from 1")
        self.widths = [int(width) for width in widths]
        self.activation = hidden_activation(activation)
        self.set_dropout(dropout, widths[-1] * SIDES[-1] ** 2)
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            pairs = zip([1, *widths], widths, strict=False)
            self.convolutions = nn.ModuleList(nn.Conv2d(read, maps, 3, padding=1, bias=False) for read, maps in pairs)
            self.norms = nn.ModuleList(map(nn.BatchNorm2d, widths))
            self.out = nn.Linear(self.dropout_units, 10)
        # Maps innermost, which a processor's vectors are filled with: a third faster.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """What is dropped are units of the last maps: `keep` is (n, 16 times the last width)."""
        x = images.to(memory_format=torch.channels_last)
        for side, convolution, norm in zip(SIDES, self.convolutions, self.norms, strict=True):
            if side < x.shape[-1]:
                x = nn.functional.max_pool2d(x, 2)
            x = self.activation(norm(convolution(x)))  # (n, width, side, side)
        return self.out(self.drop(x, keep))

    def sizes(self) -> list[LayerSize]:
        rows, read = [], 1
        for number, (side, maps) in enumerate(zip(SIDES, self.widths, strict=True), 1):
            weights = 9 * read * maps
            counts = weights + 2 * maps, weights * side**2, maps * side**2  # a factor and a shift for each map
            rows.append(LayerSize(f"C{number}", f"{maps}x{side}x{side}", *counts))
            read = maps
        return [*rows, LayerSize("output", "10", 10 * self.dropout_units + 10, 10 * self.dropout_units, 10)]
