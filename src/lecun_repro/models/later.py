"""The network of 1989 with what came later and, the article says, matters in much larger models alone."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from lecun_repro.models.convnet import ConvNet1989


class LaterConvNet(ConvNet1989):
    """`ConvNet1989` with a residual connection or layer normalization, neither of which adds parameters.

    It is computed by convolutions, whatever the number of digits: for single digits slower than `ConvNet1989` by far.

    Args:
        residual: Add H1 at every other position, 4x4 of its 8x8, to H2, map by map: the one pair of layers of a kind.
        layer_norm: Before each hidden activation, normalise a digit's units of the layer to mean 0 and variance 1
            (Ba et al. 2016, without its gains and biases).
        network: The arguments of `ConvNet1989`.
    """

    def __init__(self, residual: bool = False, layer_norm: bool = False, **network: Any) -> None:
        super().__init__(**network)
        self.residual = residual
        if layer_norm:
            activation = self.activation
            self.activation = lambda x: activation(F.layer_norm(x, x.shape[1:]))

    def h2(self, h1: Tensor) -> Tensor:
        return super().h2(h1) + h1[:, :, ::2, ::2] if self.residual else super().h2(h1)

    def prepare(self, images: Tensor) -> Tensor:
        return images
