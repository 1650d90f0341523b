"""Distortions of digits: affine ones, and elastic ones on a coarse grid."""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lecun_repro.data.augment import SIDE, Distortion
from lecun_repro.data.plan import require_integer, require_number


class Affine(Distortion):
    """Stretches, slants, turns and moves each digit about its centre, by amounts uniform in a range around none.

    Args:
        rotation: Turned by up to so many degrees either way, at most 180.
        scale: Width and height, independently, times a factor from 1 - scale to 1 + scale; at most 0.9.
        shear: Rows moved sideways by up to so many pixels per pixel of height, at most 2.
        translation: Moved by up to so many pixels in each direction, at most 16; not only by whole ones.

    Raises:
        BadArgument: An argument below 0 or above its bound.
    """

    def __init__(self, rotation: float = 0.0, scale: float = 0.0, shear: float = 0.0, translation: float = 0.0) -> None:
        require_number("rotation", rotation, 180)
        require_number("scale", scale, 0.9)
        require_number("shear", shear, 2)
        require_number("translation", translation, 16)
        self.ranges = torch.tensor([[math.radians(rotation), scale, scale, shear, translation, translation]])

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 2, 3): see `affine`."""
        turn, wide, high, shear, right, down = ((2 * torch.rand(n, 6, generator=generator) - 1) * self.ranges).unbind(1)
        return affine(turn, 1 + wide, 1 + high, shear, right, down)

    def field(self, parameters: Tensor) -> Tensor:
        return combined(parameters, LINEAR)


def affine(rotation: Tensor, width: Tensor, height: Tensor, shear: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """How the displacement of each pixel, right and down, follows from its x, its y (from the centre) and 1, (n, 2, 3).

    Args:
        rotation: (n,) radians, counter-clockwise as one sees it.
        width: (n,) factor of the width; applied first, with that of the height.
        height: (n,) factor of the height.
        shear: (n,) pixels to the right per pixel down, applied before the rotation.
        right: (n,) pixels, applied last.
        down: (n,) pixels.
    """
    cos, sin = rotation.cos(), rotation.sin()
    # A pixel is taken from where the inverse leads: the movement, rotation, shear and factors undone in this order.
    across = (cos - shear * sin) / width, (-sin - shear * cos) / width
    along = sin / height, cos / height
    from_x = torch.stack([across[0] - 1, along[0]], 1)
    from_y = torch.stack([across[1], along[1] - 1], 1)
    moved = -torch.stack([across[0] * right + across[1] * down, along[0] * right + along[1] * down], 1)
    return torch.stack([from_x, from_y, moved], 2)


class Elastic(Distortion):
    """Bends each digit: the knots of a coarse grid are moved, each on its own, and what is between follows smoothly.

    After Simard, Steinkraus, Platt (2003), with a coarse grid for their smoothed noise.

    Args:
        grid: Knots on each side, 2 to 16, the outer ones in the corners of the field.
        strength: How far a knot is moved in each direction, uniform up to so many pixels; at most 16.

    Raises:
        BadArgument: An argument outside of these.
    """

    def __init__(self, grid: int = 4, strength: float = 0.7) -> None:
        require_integer("grid", grid, 2, SIDE)
        require_number("strength", strength, SIDE)
        self.grid, self.strength = grid, strength
        knots = torch.eye(grid * grid).view(-1, 1, grid, grid)
        # (knots, 256): what each knot contributes to each pixel.
        self.shares = interpolate(knots, (SIDE, SIDE), mode="bicubic", align_corners=True).flatten(1)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 2, knots): pixels that each knot is displaced to the right, and down."""
        return (2 * torch.rand(n, 2, self.grid**2, generator=generator) - 1) * self.strength

    def field(self, parameters: Tensor) -> Tensor:
        return combined(parameters, self.shares)


CENTRED = torch.arange(SIDE) - (SIDE - 1) / 2
LINEAR = torch.stack([*torch.meshgrid(CENTRED, CENTRED, indexing="xy"), torch.ones(SIDE, SIDE)]).flatten(1)


def combined(parameters: Tensor, functions: Tensor) -> Tensor:
    """Displacements (m, 2, 16, 16) that combine functions of the pixel, (k, 256), by the parameters (m, 2, k)."""
    return (parameters.flatten(0, 1) @ functions).view(-1, 2, SIDE, SIDE)
