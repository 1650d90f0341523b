"""How digits are served: to the training in blocks of updates, to the evaluation in chunks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from lecun_repro.data.augment import Augmentations
from lecun_repro.data.splits import Split

EVAL_CHUNK = 512  # digits evaluated at a time: what they activate fits the second-level cache


class Block(NamedTuple):
    """Consecutive updates' worth of digits, in the order of presentation."""

    images: Tensor  # (updates, batch, 1, 16, 16) float32
    labels: Tensor  # (updates, batch) int64


@dataclass(eq=False, repr=False)
class Blocks:
    """The updates of a pass over the training digits, in blocks.

    All updates of a block have the same number of digits; where that number does not divide the digits, the
    rest of them is the pass's last block, of one update. The digits are views unless they are augmented.

    Args:
        train: The digits, presented in this order on every pass.
        batch: Digits per update.
        block_size: Digits per block, rounded down to whole updates, but at least one update.
        updates: Updates served in a pass, counted from its start.
        limit: What Lightning is going to cut the number of blocks by: an integer number or a fraction.
        augmentations: What changes the digits, drawn anew for every pass.
        pass_index: Gives the number of the current pass, from 0.
    """

    train: Split
    batch: int
    block_size: int
    updates: int
    limit: int | float
    augmentations: Augmentations
    pass_index: Callable[[], int]

    def __post_init__(self) -> None:
        whole = min(self.updates, len(self.train.labels) // self.batch)  # updates of `batch` digits
        step = max(1, self.block_size // self.batch)
        # First update, and update after the last, of every block.
        self.bounds = [(first, min(first + step, whole)) for first in range(0, whole, step)]
        if self.updates > whole:
            self.bounds.append((whole, whole + 1))

    def __len__(self) -> int:
        """The number of blocks, given such that Lightning's own limit cuts none of them off.

        Lightning takes the trainer's limit for one on blocks. An integer cannot do harm, as there are no more
        blocks than updates. Of this number it takes a fraction; so under a fraction, this is the number of
        which that fraction is all blocks.
        """
        blocks = len(self.bounds)
        if isinstance(self.limit, int) or self.limit == 1.0 or not blocks:
            return blocks
        length = int(blocks / self.limit)
        while int(length * self.limit) < blocks:
            length += 1
        return length

    def __iter__(self) -> Iterator[Block]:
        n = len(self.train.labels)
        # A generator asks for the pass when its first block is fetched, and not when it is made: for a
        # resumed run Lightning makes it before it has counted the pass that the checkpoint ends.
        drawn = self.augmentations.draw(n, self.pass_index())
        for first, last in self.bounds:
            digits = slice(first * self.batch, min(last * self.batch, n))
            images = self.augmentations.apply(self.train.images[digits], drawn, digits)
            labels = self.train.labels[digits]
            yield Block(images.reshape(last - first, -1, 1, 16, 16), labels.view(last - first, -1))


class Chunks:
    """A split as `(images (b, 1, 16, 16), labels (b,))` chunks for evaluation."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return -(-len(self.split.labels) // EVAL_CHUNK)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        images, labels = self.split
        return iter(zip(images.split(EVAL_CHUNK), labels.split(EVAL_CHUNK), strict=True))
