"""A convolution as a product of gathered patches: faster than the convolution library for a few digits at a time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# From so many digits at a time on, the convolution library is faster than gathered patches.
CONVOLVE_FROM = 32


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
    """For every (map of H2, kernel element, map of H1) its place among H2's weights, or their count where absent."""
    reads, kernel = len(table[0]), torch.arange(25)
    index = torch.full((len(table), 25, maps), len(table) * reads * 25)
    for out, row in enumerate(table):
        for slot, source in enumerate(row):
            index[out, :, source] = (out * reads + slot) * 25 + kernel
    return index.flatten()
