"""Augmentations: changes to the training digits, drawn anew whenever a digit is presented."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from lecun_repro.errors import DataError
from lecun_repro.randomness import Stream, pass_generator

ShiftKind = Literal["roll", "pad"]
SIDE = 16
BACKGROUND = -1.0


class Augmentation(ABC):
    """A change of digits, of which a subclass draws the parameters and applies them.

    A whole pass is drawn at once, on the CPU: the parameters then depend on the seed and the pass, and on neither the
    size of blocks nor the device.
    """

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """The parameters of a pass, (n, ...): a row for each of its digits, in the order of presentation."""

    @abstractmethod
    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Digits (m, 1, 16, 16) in [-1, 1] and their m rows of the parameters -> the changed digits, of that shape."""


class Shift(Augmentation):
    """Moves each digit by dx and dy, independent and uniform over -1, 0 and 1 pixel (article).

    Args:
        kind: `roll` wraps round, as the article's code does; with `pad` background comes in from outside.
    """

    def __init__(self, kind: ShiftKind = "roll") -> None:
        pixels = torch.arange(SIDE * SIDE).view(SIDE, SIDE)
        framed = pad(pixels, (1, 1, 1, 1), value=SIDE * SIDE)  # pixel 256, which `apply` holds at the background
        # (9, 256) int64: for each of the nine shifts, 3 (dy + 1) + dx + 1, the pixel that every pixel is taken from.
        self.table = torch.empty(9, SIDE, SIDE, dtype=torch.int64)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                moved = framed[1 - dy : 1 - dy + SIDE, 1 - dx : 1 - dx + SIDE]
                self.table[3 * (dy + 1) + dx + 1] = moved if kind == "pad" else pixels.roll((dy, dx), (0, 1))
        self.table = self.table.view(9, -1)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,) int64: one of the nine shifts for each digit."""
        return torch.randint(9, (n,), generator=generator)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        pixels = pad(images.flatten(1), (0, 1), value=BACKGROUND)
        return pixels.gather(1, self.table[parameters]).view_as(images)


class Augmentations:
    """Several augmentations, each with random numbers of its own and applied to what the one before gives.

    Args:
        shift: Kind of the article's shifts, which come first, or None.
        others: Those that follow.
        seed: Seed of all.
    """

    def __init__(self, shift: ShiftKind | None = None, others: Sequence[Augmentation] = (), seed: int = 1337) -> None:
        self.seed = seed
        self.steps: list[tuple[Augmentation, Stream, tuple[int, ...]]] = []
        if shift is not None:
            self.steps.append((Shift(shift), "shift", ()))
        self.steps += [(augmentation, "augment", (number,)) for number, augmentation in enumerate(others)]

    def draw(self, n: int, pass_index: int) -> list[Tensor]:
        """The parameters of each for the n digits of a pass."""
        return [
            augmentation.draw(n, pass_generator(self.seed, pass_index, stream, *number))
            for augmentation, stream, number in self.steps
        ]

    def apply(self, images: Tensor, drawn: list[Tensor], digits: slice) -> Tensor:
        """The images of these digits of a pass, changed by what was drawn for them.

        Raises:
            DataError: An augmentation gives digits of another shape.
        """
        for (augmentation, *_), parameters in zip(self.steps, drawn, strict=True):
            changed = augmentation.apply(images, parameters[digits])
            if changed.shape != images.shape:
                shapes = f"{tuple(images.shape)} into {tuple(changed.shape)}"
                raise DataError(f"data.augment: {type(augmentation).__name__} makes {shapes}; allowed: the same shape")
            images = changed
        return images
