"""The 1989 network: 16x16 digit -> H1 -> H2 -> H3 -> 10 outputs, in 9,760 parameters.

Sources: LeCun et al. 1989, "Backpropagation Applied to Handwritten Zip Code Recognition" (the paper), and
Karpathy 2022, "Deep Neural Nets: 33 years ago and 33 years from now" (the article), whose code fills in what the
paper leaves out: which 8 of H1's 12 maps each map of H2 reads, and the square root in the initialisation.
"""

from collections.abc import Callable

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from lecun_repro.errors import BadArgument
from lecun_repro.models.base import (
    BACKGROUND,
    Activation,
    Dropout,
    Init,
    LayerSize,
    Network,
    hidden_activation,
    initial_weights,
)
from lecun_repro.models.patches import CONVOLVE_FROM, Patches

PAPER_PARAMETERS = 9_760
MAPS = 12  # in H1 and in H2 (paper)
UNITS = 30  # in H3 (paper)


def article_table(maps: int) -> list[list[int]]:
    """The article's connections: maps 0-3 of H2 read H1's 0-7, maps 4-7 read 4-11, maps 8-11 read 0-3 and 8-11.

    So each map of H1 is read 8 times. With another number of maps, thirds of them (our guess).
    """
    first, second, last = (list(range(i * maps // 3, (i + 1) * maps // 3)) for i in range(3))
    return [first + second] * len(first) + [second + last] * len(first) + [first + last] * len(first)


class ConvNet1989(Network):
    """The sparse convolutional network of 1989.

    H1: 12 maps of 8x8, 5x5 kernels, stride 2. H2: 12 maps of 4x4, 5x5 kernels, stride 2, each reading 8 of H1's maps.
    H3: 30 units. Output: 10 units. One bias per unit (paper), not per map. With the defaults, after
    `torch.manual_seed(1337)`, the weights start at the article's own values.

    Args:
        activation: Hidden activation, by its name in `lecun_repro.models.base.ACTIVATIONS`: `tanh` (article),
            `scaled_tanh` (paper; its constants are an inference), `relu` (article's last row) or another there.
        dropout: Share of H2's 192 units dropped before H3 in training, in [0, 1). The article's last row has 0.25.
        output_bias: Where the ten output biases start: -1 in the article's baseline, 0 in all its later rows.
        table: Which maps of H1 each map of H2 reads: `article` (the default), `cyclic` (map i reads the 8 from i on,
            the last followed by the first), `random:SEED` (8 drawn for each map), `full` (all 12, which breaks the
            paper's count of 9,760 parameters), or 12 lists of maps, all of one length. The paper leaves it out. With
            other `maps`, two thirds of them take the place of 8.
        seed: Seed of the initial weights; null draws them from torch's global generator, which `seed_everything` (or
            `torch.manual_seed`) has seeded.
        init: Range of the initial weights: `article`, 2.4 over the root of the fan-in, `paper`, 2.4 over the fan-in, or
            `wide`, 2.4 over its fourth root, with which the units start saturated.
        maps: Maps in H1 and in H2, a multiple of 3, as the article's table is made of thirds. The paper has 12.
        weight_norm: Train the length and the direction of every unit's weights (of a map's, in H1 and H2) apart:
            torch's `weight_norm` (Salimans and Kingma 2016). It starts as the same function, and has a parameter more
            for each of these units.
        units: Units in H3. The paper has 30.
        last_bit: Move every initial weight to the float next to it, up or down at random (from torch's global
            generator): with `seed` set, what rounding alone makes of one run.

    Raises:
        BadArgument: an activation, dropout, connection table, init or number of maps outside the above.
    """

    def __init__(
        self,
        activation: Activation = "tanh",
        dropout: Dropout = 0.0,  # type: ignore[valid-type]
        output_bias: float = -1.0,
        table: list[list[int]] | str | None = None,
        seed: NonNegativeInt | None = None,  # type: ignore[valid-type]
        init: Init = "article",
        maps: PositiveInt = MAPS,  # type: ignore[valid-type]
        weight_norm: bool = False,
        last_bit: bool = False,
        units: PositiveInt = UNITS,  # type: ignore[valid-type]
    ) -> None:
        super().__init__()
        self.activation = hidden_activation(activation)
        if maps < 3 or maps % 3:
            raise BadArgument("maps", maps, "a multiple of 3, as the article's table is made of thirds")
        table = connection_table("article" if table is None else table, maps)
        self.maps = maps = int(maps)
        self.set_dropout(dropout, maps * 16)
        self.table = [list(row) for row in table]
        reads = len(table[0])

        # One generator, drawn from in the article's order: H1, H2, H3, output. No device but the CPU gives its numbers.
        generator = None if seed is None else torch.Generator().manual_seed(seed)

        def weights(*shape: int, fan_in: int) -> nn.Parameter:
            drawn = initial_weights(shape, fan_in, init, generator)
            if last_bit:
                drawn.data = drawn.data.nextafter(torch.where(torch.rand(shape) < 0.5, -torch.inf, torch.inf))
            return drawn

        self.H1w = weights(maps, 1, 5, 5, fan_in=25)
        self.H1b = nn.Parameter(torch.zeros(8, 8, maps).permute(2, 0, 1))
        self.H2w = weights(maps, reads, 5, 5, fan_in=reads * 25)
        self.H2b = nn.Parameter(torch.zeros(4, 4, maps).permute(2, 0, 1))
        self.H3w = weights(maps * 16, units, fan_in=maps * 16)
        self.H3b = nn.Parameter(torch.zeros(units))
        self.outw = weights(units, 10, fan_in=units)
        self.outb = nn.Parameter(torch.full((10,), float(output_bias)))
        if weight_norm:
            for name, units in (("H1w", 0), ("H2w", 0), ("H3w", 1), ("outw", 1)):  # the dimension of the units
                parametrizations.weight_norm(self, name, dim=units)
        if (count := sum(p.numel() for p in self.parameters())) != PAPER_PARAMETERS:
            self.note = (
                f"each map of H2 reads {reads} of H1's {maps}{', with weight normalization' if weight_norm else ''}: "
                f"{count:,} parameters, the paper has {PAPER_PARAMETERS:,}"
            )

        self.patches = Patches(self.table, maps)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """What is dropped are units of H2: `keep` is (n, 192), 16 for each map."""
        x = self.h1(images)  # (n, 12, 8, 8)
        x = self.h2(x)  # (n, 12, 4, 4)
        x = self.drop(x, keep)  # (n, 192); before H3, as in the article
        x = self.h3(x)  # (n, 30)
        return self.output(x)  # (n, 10)

    def h1(self, images: Tensor) -> Tensor:
        """Twelve 5x5 kernels at every other pixel; outside the field lies background."""
        framed = F.pad(images, (2, 2, 2, 2), value=BACKGROUND)
        return self.hidden("H1", F.conv2d(framed, self.H1w, stride=2) + self.H1b)

    def h2(self, h1: Tensor) -> Tensor:
        """The same once more, each map reading eight of H1's."""
        framed = F.pad(h1, (2, 2, 2, 2), value=BACKGROUND)
        kernels = self.dense_H2w().permute(0, 2, 1).unflatten(2, (5, 5))  # (12, 12, 5, 5)
        return self.hidden("H2", F.conv2d(framed, kernels, stride=2) + self.H2b)

    def h3(self, h2: Tensor) -> Tensor:
        return self.hidden("H3", h2.flatten(1) @ self.H3w + self.H3b)

    def hidden(self, layer: str, sums: Tensor) -> Tensor:
        """What a hidden layer, H1, H2 or H3, makes of its units' weighted sums, with their biases.

        Few digits at a time do without it (see `patches`): who changes it has `prepare` return the digits as they are.
        """
        return self.activation(sums)

    def output(self, h3: Tensor) -> Tensor:
        return h3 @ self.outw + self.outb

    def dense_H2w(self) -> Tensor:
        """H2's kernels as if every map read all of H1, with zeros for the connections that are not there.

        (map of H2, kernel element, map of H1) = (maps, 25, maps).
        """
        kernels = self.patches.connections(self.H2w.view(-1, 25)).view(self.maps, self.maps, 25)
        return kernels.transpose(1, 2).contiguous()

    # The same for few digits at a time, as the updates ask for it; see `patches`.

    def prepare(self, images: Tensor) -> Tensor:
        """Digits (updates, n, 1, 16, 16) -> for few of them the patches they show H1, (updates, n, 64, 25)."""
        return images if images.shape[1] >= CONVOLVE_FROM else self.patches.of_images(images)

    def outputs(self, prepared: Tensor, keep: Tensor | None = None) -> Tensor:
        """Patches (n, 64, 25) or digits (n, 1, 16, 16) -> what `forward` gives for these digits, (n, 10)."""
        if prepared.dim() == 4:
            return self(prepared, keep)
        return self.output(self.h3(self.drop(self.patches.h2(self, prepared), keep)))

    def sizes(self) -> list[LayerSize]:
        layers = [
            ("H1", f"{self.maps}x8x8", "H1w", self.H1b, 64),
            ("H2", f"{self.maps}x4x4", "H2w", self.H2b, 16),
            ("H3", str(len(self.H3b)), "H3w", self.H3b, 1),
            ("output", "10", "outw", self.outb, 1),
        ]
        return [
            LayerSize(layer, shape, self._trained(name) + b.numel(), getattr(self, name).numel() * n, b.numel())
            for layer, shape, name, b, n in layers
        ]

    def layers(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """H1 (n, maps, 8, 8), H2 (n, maps, 4, 4), H3 (n, units) and the output (n, 10)."""
        return {"H1": self.h1, "H2": self.h2, "H3": self.h3, "output": self.output}

    def kernels(self) -> dict[str, Tensor]:
        """H1's, (maps, 5, 5)."""
        return {"H1": self.H1w.squeeze(1)}

    def _trained(self, name: str) -> int:
        """Parameters behind the weights `name`: themselves, or their lengths and directions."""
        return sum(p.numel() for key, p in self.named_parameters() if name in key.split("."))


def connection_table(given: list[list[int]] | str, maps: int = MAPS) -> list[list[int]]:
    """The connection table that `given` names or is, for so many maps.

    Raises:
        BadArgument: another name, or lists that are no table.
    """
    if not isinstance(given, str):
        check_table(given, maps)
        return given
    reads = 2 * maps // 3
    if given == "article":
        return article_table(maps)
    if given == "cyclic":
        return [[(first + i) % maps for i in range(reads)] for first in range(maps)]
    if given == "full":
        return [list(range(maps))] * maps
    name, _, seed = given.partition(":")
    if name == "random" and seed.isascii() and seed.isdecimal() and int(seed) < 2**32:
        generator = torch.Generator().manual_seed(int(seed))
        return [sorted(torch.randperm(maps, generator=generator)[:reads].tolist()) for _ in range(maps)]
    allowed = f"article, cyclic, full, random:SEED (0 to 4294967295), or {maps} lists of maps"
    raise BadArgument("table", given, allowed)


def check_table(table: list[list[int]], maps: int) -> None:
    """Raises BadArgument unless `table` has `maps` rows of one length, each of different maps below `maps`."""
    if len(table) != maps or len({len(row) for row in table}) != 1 or not table[0]:
        raise BadArgument("table", f"rows of {[len(row) for row in table]} maps", f"{maps} rows of one length")
    for number, row in enumerate(table):
        if len(set(row)) != len(row) or not all(0 <= m < maps for m in row):
            raise BadArgument("table", f"row {number} is {row}", f"different numbers from 0 to {maps - 1}")
