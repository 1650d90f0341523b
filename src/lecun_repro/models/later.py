"""The network of 1989 with what came later and, the article says, matters in much larger models alone."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lecun_repro.models.base import LayerSize
from lecun_repro.models.convnet import PAPER_PARAMETERS, ConvNet1989


class LaterConvNet(ConvNet1989):
    """`ConvNet1989` with a residual connection, layer normalization or batch normalization.

    It is computed by convolutions, whatever the number of digits: for single digits slower than `ConvNet1989` by far.

    Args:
        residual: Add H1 at every other position, 4x4 of its 8x8, to H2, map by map: the one pair of layers of a kind.
        layer_norm: Before each hidden activation, normalise a digit's units of the layer to mean 0 and variance 1
            (Ba et al. 2016, without its gains and biases).
        batch_norm: Before each hidden activation, normalise every map of H1 and H2, and every unit of H3, over the
            digits of an update (Ioffe and Szegedy 2015, with its gains and biases: torch's modules as they are). With
            12 maps that is 108 parameters more.
        network: The arguments of `ConvNet1989`.
    """

    def __init__(
        self, residual: bool = False, layer_norm: bool = False, batch_norm: bool = False, **network: Any
    ) -> None:
        super().__init__(**network)
        self.residual, self.layer_norm = residual, layer_norm
        self.norms = nn.ModuleDict()
        if batch_norm:
            self.norms = nn.ModuleDict({layer: nn.BatchNorm2d(self.maps) for layer in ("H1", "H2")})
            self.norms["H3"] = nn.BatchNorm1d(len(self.H3b))
            count = sum(p.numel() for p in self.parameters())
            self.note = f"with batch normalization: {count:,} parameters, the paper has {PAPER_PARAMETERS:,}"

    def hidden(self, layer: str, sums: Tensor) -> Tensor:
        if self.layer_norm:
            sums = F.layer_norm(sums, sums.shape[1:])
        if layer in self.norms:
            sums = self.norms[layer](sums)
        return super().hidden(layer, sums)

    def h2(self, h1: Tensor) -> Tensor:
        return super().h2(h1) + h1[:, :, ::2, ::2] if self.residual else super().h2(h1)

    def prepare(self, images: Tensor) -> Tensor:
        return images

    def sizes(self) -> list[LayerSize]:
        more = {layer: sum(p.numel() for p in norm.parameters()) for layer, norm in self.norms.items()}
        return [size._replace(parameters=size.parameters + more.get(size.layer, 0)) for size in super().sizes()]
