"""The paper's other network of 1989, without convolution: 256 pixels -> 40 hidden units -> 10 outputs.

That the paper compares its network with one of 40 hidden units and 10,690 parameters is known here from a secondary
source; 256 * 40 + 40 + 40 * 10 + 10 is that very count.
"""

from collections.abc import Callable

import torch
from jsonargparse.typing import NonNegativeInt
from torch import Tensor, nn

from lecun_repro.models.base import Activation, Init, LayerSize, Network, hidden_activation, initial_weights


class FullyConnected1989(Network):
    """256 pixels, 40 hidden units, 10 outputs: 10,690 parameters.

    Args:
        activation: Hidden activation, as of `ConvNet1989`.
        output_bias: Where the ten output biases start.
        seed: Seed of the initial weights; null draws them from torch's global generator.
        init: Range of the initial weights: `article`, 2.4 over the root of the fan-in, `paper`, 2.4 over the fan-in, or
            `wide`, 2.4 over its fourth root.

    Raises:
        BadArgument: an activation or init outside the above.
    """

    def __init__(
        self,
        activation: Activation = "tanh",
        output_bias: float = 0.0,
        seed: NonNegativeInt | None = None,  # type: ignore[valid-type]
        init: Init = "article",
    ) -> None:
        super().__init__()
        self.activation = hidden_activation(activation)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.hiddenw = initial_weights((256, 40), 256, init, generator)
        self.hiddenb = nn.Parameter(torch.zeros(40))
        self.outw = initial_weights((40, 10), 40, init, generator)
        self.outb = nn.Parameter(torch.full((10,), float(output_bias)))

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Nothing is dropped in this network."""
        return self.output(self.hidden(images))

    def hidden(self, images: Tensor) -> Tensor:
        return self.activation(images.flatten(1) @ self.hiddenw + self.hiddenb)

    def output(self, hidden: Tensor) -> Tensor:
        return hidden @ self.outw + self.outb

    def sizes(self) -> list[LayerSize]:
        layers = [("hidden", "40", self.hiddenw, self.hiddenb), ("output", "10", self.outw, self.outb)]
        return [LayerSize(name, shape, w.numel() + b.numel(), w.numel(), b.numel()) for name, shape, w, b in layers]

    def layers(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """The hidden units (n, 40) and the output (n, 10)."""
        return {"hidden": self.hidden, "output": self.output}

    def kernels(self) -> dict[str, Tensor]:
        """What each hidden unit weighs the pixels with, (40, 16, 16)."""
        return {"hidden": self.hiddenw.t().unflatten(1, (16, 16))}
