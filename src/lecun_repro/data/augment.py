"""Augmentations: changes to the training digits, drawn anew whenever a digit is presented."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from lecun_repro.data.plan import require_integer, require_number
from lecun_repro.errors import DataError
from lecun_repro.randomness import Stream, pass_generator

ShiftKind = Literal["roll", "pad"]
SIDE = 16
BACKGROUND = -1.0
FRAME = 8  # pixels of background around a digit that is resampled, for a side of 32: its positions are exact in binary
CHUNK = 256  # digits that are resampled at a time: fields and pixels stay in the second-level cache


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


class Distortion(Augmentation):
    """Moves the ink: every pixel takes the value of another position, to which its displacement points.

    Between pixels the value is interpolated bilinearly, and from outside comes background. The displacements of
    neighbours in `data.augment` are added up, so that a digit is resampled, and blurred, but once.
    """

    @abstractmethod
    def field(self, parameters: Tensor) -> Tensor:
        """Rows of the parameters (m, ...) -> the displacements, (m, 2, 16, 16): pixels to the right, then down."""

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return resampled(images, [(self, parameters)])


def resampled(images: Tensor, distortions: Sequence[tuple[Distortion, Tensor]]) -> Tensor:
    """Digits (m, 1, 16, 16), each pixel of which is taken from where the sum of the distortions' fields points."""
    # The last chunk is filled up: a product of other sizes may be rounded otherwise, and the size of blocks may not
    # show in the digits.
    missing = -len(images) % CHUNK
    rows = [pad(parameters, (0, 0) * (parameters.dim() - 1) + (0, missing)) for _, parameters in distortions]
    around = torch.linspace(1 - SIDE, SIDE - 1, SIDE) / (SIDE + 2 * FRAME)  # pixels' centres; -1 and 1 are the edges
    pixels = torch.stack(torch.meshgrid(around, around, indexing="xy"))
    result = torch.empty_like(images)
    for digits, changed, *parts in zip(*(x.split(CHUNK) for x in (images, result, *rows)), strict=True):
        positions = pixels
        for (distortion, _), part in zip(distortions, parts, strict=True):
            positions = positions.add(distortion.field(part), alpha=2 / (SIDE + 2 * FRAME))
        positions = positions[: len(digits)].permute(0, 2, 3, 1)
        framed = pad(digits, (FRAME,) * 4, value=BACKGROUND)
        changed.copy_(grid_sample(framed, positions, padding_mode="border", align_corners=False))
    return result


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


class Erase(Augmentation):
    """Paints a square of background over some digits, anywhere in the field (Zhong et al. 2017).

    Args:
        size: Its side in pixels, 1 to 16.
        probability: Share of the presentations that get one, 0 to 1.

    Raises:
        BadArgument: An argument outside of these.
    """

    def __init__(self, size: int = 4, probability: float = 0.5) -> None:
        require_integer("size", size, 1, SIDE)
        require_number("probability", probability, 1)
        self.size, self.probability = size, probability

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 2) int64: the first row and column of the square; 16, which is outside, for none."""
        corner = torch.randint(SIDE - self.size + 1, (n, 2), generator=generator)
        return corner.masked_fill_(torch.rand(n, 1, generator=generator) >= self.probability, SIDE)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        distance = torch.arange(SIDE) - parameters[..., None]  # (m, 2, 16) from the first row, the first column
        inside = (distance >= 0) & (distance < self.size)
        return images.masked_fill((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], BACKGROUND)


class Augmentations:
    """Several augmentations, each with random numbers of its own and applied to what the one before gives.

    Distortions that follow each other are one resampling.

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

    def apply(self, images: Tensor, drawn: list[Tensor], digits: slice | Tensor) -> Tensor:
        """The images of these digits of a pass, changed by what was drawn for them.

        Raises:
            DataError: An augmentation gives digits of another shape.
        """
        steps = [(step[0], parameters[digits]) for step, parameters in zip(self.steps, drawn, strict=True)]
        for distort, neighbours in groupby(steps, lambda step: isinstance(step[0], Distortion)):
            if distort:
                images = resampled(images, list(neighbours))  # type: ignore[arg-type]
                continue
            for augmentation, parameters in neighbours:
                changed = augmentation.apply(images, parameters)
                if changed.shape != images.shape:
                    shapes = f"{tuple(images.shape)} into {tuple(changed.shape)}"
                    name = type(augmentation).__name__
                    raise DataError(f"data.augment: {name} makes {shapes}; allowed: the same shape")
                images = changed
        return images
