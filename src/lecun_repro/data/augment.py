"""Shifts by at most one pixel each way, drawn anew whenever a digit is presented."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from lecun_repro.randomness import pass_generator

Shift = Literal["roll", "pad"]
SIDE = 16
BACKGROUND = -1.0


def draw_shifts(n: int, seed: int, pass_index: int) -> Tensor:
    """(n,) int64: one of nine shifts, 3 (dy + 1) + dx + 1, for every presentation of a pass.

    dx and dy are independent and uniform over -1, 0, 1. A whole pass is drawn at once, on the CPU: the shifts
    depend on the seed and the pass, and on neither the size of blocks nor the device.
    """
    return torch.randint(9, (n,), generator=pass_generator(seed, pass_index, "shift"))


def shift_table(shift: Shift) -> Tensor:
    """(9, 256) int64: for each of the nine shifts, the pixel that every pixel is taken from.

    `roll` wraps round, as the article's code does; `pad` takes what comes in from outside from pixel 256,
    which `shifted` holds at the background.
    """
    table = torch.empty(9, SIDE, SIDE, dtype=torch.int64)
    pixels = torch.arange(SIDE * SIDE).view(SIDE, SIDE)
    framed = pad(pixels, (1, 1, 1, 1), value=SIDE * SIDE)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            moved = framed[1 - dy : 1 - dy + SIDE, 1 - dx : 1 - dx + SIDE]
            table[3 * (dy + 1) + dx + 1] = moved if shift == "pad" else pixels.roll((dy, dx), (0, 1))
    return table.view(9, -1)


def shifted(images: Tensor, shifts: Tensor, table: Tensor) -> Tensor:
    """(n, 1, 16, 16) images, each moved down by its dy and right by its dx.

    Args:
        images: (n, 1, 16, 16).
        shifts: (n,) int64 from `draw_shifts`.
        table: `shift_table` of the kind of shift.
    """
    pixels = pad(images.flatten(1), (0, 1), value=BACKGROUND)
    return pixels.gather(1, table[shifts]).view_as(images)
