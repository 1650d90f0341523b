"""A micro-ViT: patches of a digit as tokens, a transformer block or two, ten outputs, at the 1989 network's size.

The article tried one "that roughly matches the number of parameters and flops" and shows none of it. All below is our
guess, after Dosovitskiy et al. 2020 (arXiv 2010.11929): normalisation before each half of a block, GELU, learned
positions. The outputs read all tokens, where a larger one has a token for the class or a mean over tokens.
"""

import math

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lecun_repro.errors import BadArgument
from lecun_repro.models.base import Dropout, LayerSize, Network

SIDE = 16  # pixels of a digit


class Linear(nn.Module):
    """x @ weight + bias over rows: (rows, a) -> (rows, b). Starts in +-1 / sqrt(a), as torch's own does."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter((torch.rand(inputs, outputs) * 2 - 1) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, rows: Tensor) -> Tensor:
        return rows @ self.weight + self.bias


class Block(nn.Module):
    """Attention, then a perceptron at every token; each adds to what it reads, normalised."""

    def __init__(self, tokens: int, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.tokens, self.width, self.heads = tokens, width, heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.merge = Linear(width, 3 * width), Linear(width, width)
        self.hidden, self.back = Linear(width, hidden), Linear(hidden, width)

    def forward(self, rows: Tensor) -> Tensor:
        """(digits * tokens, width) -> the same."""
        rows = rows + self.merge(self.attention(self.qkv(self.norm1(rows))))
        return rows + self.back(F.gelu(self.hidden(self.norm2(rows))))

    def attention(self, rows: Tensor) -> Tensor:
        """Queries, keys and values (digits * tokens, 3 * width) -> what the tokens gather, (digits * tokens, width)."""
        each = self.width // self.heads
        parts = rows.view(-1, self.tokens, 3, self.heads, each).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.reshape(3, -1, self.tokens, each).unbind()  # each (digits * heads, tokens, each)
        weights = (queries @ keys.transpose(1, 2) / each**0.5).softmax(-1)
        gathered = (weights @ values).view(-1, self.heads, self.tokens, each).transpose(1, 2)
        return gathered.reshape(-1, self.width)

    def macs(self) -> int:
        """Multiply-accumulates of a digit: the products with weights, and the two among tokens."""
        weights = (self.qkv, self.merge, self.hidden, self.back)
        return self.tokens * sum(part.weight.numel() for part in weights) + 2 * self.tokens**2 * self.width


class MicroViT(Network):
    """A vision transformer of about 9,760 parameters and 64 thousand multiply-accumulates.

    Args:
        patch: Height and width of a patch in pixels, each a divisor of 16; a patch is a token.
        width: Numbers that a token is made of.
        heads: Attention heads, a divisor of `width`.
        blocks: Transformer blocks, one after the other.
        hidden: Hidden units of the perceptron at every token.
        dropout: Share of the last block's numbers dropped before the outputs in training, in [0, 1).
        seed: Seed of the initial weights; null draws them from torch's global generator.

    Raises:
        BadArgument: a patch, number of heads or dropout outside the above.
    """

    def __init__(
        self,
        patch: list[int] | None = None,
        width: PositiveInt = 24,  # type: ignore[valid-type]
        heads: PositiveInt = 2,  # type: ignore[valid-type]
        blocks: PositiveInt = 1,  # type: ignore[valid-type]
        hidden: PositiveInt = 88,  # type: ignore[valid-type]
        dropout: Dropout = 0.0,  # type: ignore[valid-type]
        seed: NonNegativeInt | None = None,  # type: ignore[valid-type]
    ) -> None:
        super().__init__()
        self.patch = [4, 8] if patch is None else [int(side) for side in patch]
        if len(self.patch) != 2 or any(side < 1 or SIDE % side for side in self.patch):
            raise BadArgument("patch", patch, f"[height, width], each a divisor of {SIDE}")
        if width % heads:
            raise BadArgument("heads", heads, f"a divisor of the width, {width}")
        pixels = math.prod(self.patch)
        self.tokens, self.width = SIDE * SIDE // pixels, int(width)
        self.set_dropout(dropout, self.tokens * self.width)
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            self.embed = Linear(pixels, self.width)
            self.positions = nn.Parameter(0.02 * torch.randn(self.tokens, self.width))
            self.blocks = nn.ModuleList(
                Block(self.tokens, self.width, int(heads), int(hidden)) for _ in range(int(blocks))
            )
            self.norm = nn.LayerNorm(self.width)
            self.out = Linear(self.tokens * self.width, 10)

    def prepare(self, images: Tensor) -> Tensor:
        """Digits (updates, n, 1, 16, 16) -> their patches, (updates, n, tokens, pixels of a patch)."""
        height, width = self.patch
        cut = images.reshape(*images.shape[:2], SIDE // height, height, SIDE // width, width)
        return cut.transpose(3, 4).reshape(*images.shape[:2], self.tokens, height * width)

    def outputs(self, prepared: Tensor, keep: Tensor | None = None) -> Tensor:
        """Patches (n, tokens, pixels) -> outputs before the head's squashing, (n, 10).

        `keep` (n, tokens * width) is 1 where a number of the last block stays and 0 where it is dropped.
        """
        n = len(prepared)
        x = self.embed(prepared.reshape(n * self.tokens, -1)).view(n, self.tokens, self.width) + self.positions
        x = x.reshape(n * self.tokens, self.width)
        for block in self.blocks:
            x = block(x)
        return self.out(self.drop(self.norm(x).reshape(n, self.tokens * self.width), keep))

    def sizes(self) -> list[LayerSize]:
        """Parameters, multiply-accumulates (attention's products included) and tokens' numbers, layer by layer."""

        def trained(*parts: nn.Module) -> int:
            return sum(p.numel() for part in parts for p in part.parameters())

        shape, units = f"{self.tokens}x{self.width}", self.tokens * self.width
        embed = trained(self.embed) + self.positions.numel()
        sizes = [LayerSize("patches", shape, embed, self.tokens * self.embed.weight.numel(), units)]
        for number, block in enumerate(self.blocks, 1):
            sizes.append(LayerSize(f"block {number}", shape, trained(block), block.macs(), units))  # type: ignore[operator]
        return [*sizes, LayerSize("output", "10", trained(self.norm, self.out), self.out.weight.numel(), 10)]
