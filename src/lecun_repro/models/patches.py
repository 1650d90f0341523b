"""The convolutional network's layers as products of gathered patches, for a few digits at a time.

Derived from `convnet.ConvNet1989`, which says what is computed; a test holds the two equal.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lecun_repro.models.base import BACKGROUND

if TYPE_CHECKING:
    from lecun_repro.models.convnet import ConvNet1989

# From so many digits at a time on, the convolution library is faster than gathered patches, and needs less memory.
CONVOLVE_FROM = 1024

# From so many on, digits lie innermost.
DIGITS_INNERMOST = 8


class Gather(nn.Module):
    """Picks rows of a matrix by constant indices: (rows, c) -> (len(index), c). An index of `rows` gives `fill`.

    Autograd's own backward pass of an index is a scattered addition, which is slow for one digit and does not
    vectorise; as the indices never change it can be turned round beforehand, into a gather as well.
    """

    def __init__(self, index: Tensor, rows: int, fill: float) -> None:
        super().__init__()
        self.fill = fill
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("inverse", invert(index, rows), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        return _Gather.apply(rows, self.index, self.inverse, self.fill)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor, index: Tensor, inverse: Tensor, fill: float) -> Tensor:
        ctx.save_for_backward(inverse)
        return F.embedding(index, F.pad(rows, (0, 0, 0, 1), value=fill))

    @staticmethod
    def backward(ctx, grad: Tensor):
        (inverse,) = ctx.saved_tensors
        return F.embedding(inverse, F.pad(grad, (0, 0, 0, 1))).sum(0), None, None, None


def invert(index: Tensor, rows: int) -> Tensor:
    """The places that each of `rows` rows goes to under `index` (n,): (most places of a row, rows), padded with n."""
    places: list[list[int]] = [[] for _ in range(rows + 1)]
    for place, row in enumerate(index.tolist()):
        places[row].append(place)
    most = max(map(len, places[:rows]))
    return torch.tensor([taken + [len(index)] * (most - len(taken)) for taken in places[:rows]]).t().contiguous()


def patch_index(size: int) -> Tensor:
    """5x5 patches at stride 2 with a border of 2: (positions * 25) indices into a (size * size) map.

    An index of size * size stands for the background outside the map.
    """
    rows = 2 * torch.arange(size // 2)[:, None] + torch.arange(5) - 2  # (position, kernel)
    inside = (rows >= 0) & (rows < size)
    index = rows[:, None, :, None] * size + rows[None, :, None, :]  # (y, x, ky, kx)
    return torch.where(inside[:, None, :, None] & inside[None, :, None, :], index, size * size).flatten()


def connection_index(table: list[list[int]], maps: int) -> Tensor:
    """For every (map of H2, map of H1) the place of its kernel among H2's kernels, or their count where it has none."""
    reads = len(table[0])
    index = torch.full((len(table), maps), len(table) * reads)
    for out, row in enumerate(table):
        index[out, row] = out * reads + torch.arange(reads)
    return index.flatten()


class Patches(nn.Module):
    """H1 and H2 of a `ConvNet1989` as two matrix products, one side of each gathered patches.

    For one digit a convolution costs its library's overhead and next to nothing else. From `DIGITS_INNERMOST` digits on
    they lie innermost in memory, where they fill the processor's vectors.

    Args:
        table: Which maps of H1 each map of H2 reads.
        maps: Maps in H1 and in H2.
    """

    def __init__(self, table: list[list[int]], maps: int) -> None:
        super().__init__()
        of_map = patch_index(8).view(16, 1, 25)  # position of H2 and kernel element -> position of H1, or 64
        of_maps = torch.where(of_map == 64, maps * 64, torch.arange(maps)[:, None] * 64 + of_map)
        self.index: Tensor
        self.register_buffer("index", patch_index(16), persistent=False)
        self.of_rows = Gather(of_map.flatten(), rows=64, fill=BACKGROUND)
        self.of_digits = Gather(of_maps.permute(2, 1, 0).flatten(), rows=maps * 64, fill=BACKGROUND)
        self.connections = Gather(connection_index(table, maps), rows=maps * len(table[0]), fill=0.0)

    def of_images(self, images: Tensor) -> Tensor:
        """Digits (updates, n, 1, 16, 16) -> the patches they show H1, (updates, n, 64, 25) or (updates, 25, 64, n)."""
        updates, n = images.shape[:2]
        if n < DIGITS_INNERMOST:
            pixels = F.pad(images.reshape(-1, 256), (0, 1), value=BACKGROUND)  # a matrix: four times as fast to index
            return pixels.index_select(1, self.index).view(updates, n, 64, 25)
        pixels = F.pad(images.reshape(updates, n, 256).transpose(1, 2), (0, 0, 0, 1), value=BACKGROUND)
        return pixels.index_select(1, self.index.view(64, 25).t().flatten()).view(updates, 25, 64, n)

    def h2(self, network: "ConvNet1989", patches: Tensor) -> Tensor:
        """Patches as of `of_images`, of one update -> H2's units (n, 16 * maps), map by map."""
        few = patches.shape[1:] == (64, 25)
        return self._h2_by_rows(network, patches) if few else self._h2_by_digits(network, patches)

    def _h2_by_rows(self, network: "ConvNet1989", patches: Tensor) -> Tensor:
        n, maps = len(patches), network.maps
        # Positions come first and maps last: a position of H1 is then a row, and a patch of rows is copied row by row.
        x = patches.transpose(0, 1) @ network.H1w.view(maps, 25).t()  # (64, n, maps)
        x = network.activation(x + network.H1b.permute(1, 2, 0).reshape(64, 1, maps))
        x = self.of_rows(x.reshape(64, n * maps))
        x = x.view(16, 25, n, maps).transpose(1, 2).reshape(16 * n, 25 * maps)
        x = (x @ network.dense_H2w().view(maps, 25 * maps).t()).view(16, n, maps)
        x = network.activation(x + network.H2b.permute(1, 2, 0).reshape(16, 1, maps))
        return x.permute(1, 2, 0).reshape(n, 16 * maps)

    def _h2_by_digits(self, network: "ConvNet1989", patches: Tensor) -> Tensor:
        n, maps = patches.shape[-1], network.maps
        x = network.H1w.view(maps, 25) @ patches.reshape(25, 64 * n)
        x = network.activation(x.view(maps, 64, n) + network.H1b.reshape(maps, 64, 1))
        x = self.of_digits(x.reshape(maps * 64, n)).view(25 * maps, 16 * n)
        x = (network.dense_H2w().view(maps, 25 * maps) @ x).view(maps, 16, n)
        x = network.activation(x + network.H2b.reshape(maps, 16, 1))
        return x.reshape(maps * 16, n).t()
