"""Times augmentations, µs per digit: a plain loop over the digits, and this package, a block at a time.

    python benchmarks/augment.py --json benchmarks/augment.json --readme

One process and one thread. Both apply the same parameters, and have to give the same digits before anything is timed;
ours are timed with the drawing of these parameters. All take turns, again and again; what is reported are medians and,
as a shared machine is seldom idle, the least.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch
from torch import Tensor
from torch.nn import functional as F

from lecun_repro import Affine, Augmentation, Elastic, Erase, Shift
from lecun_repro.data.augment import Augmentations
from lecun_repro.data.datamodule import DigitsDataModule
from readme import machine, publish, table

BLOCK = 2_048  # digits, as many as the updates are handed at a time
AFFINE = Affine(rotation=11.5, scale=0.12, shear=0.2, translation=1.6)
ELASTIC = Elastic(grid=4, strength=0.7)
CASES: dict[str, list[Augmentation]] = {
    "Shift": [Shift("pad")],
    "Erase": [Erase()],
    "Affine": [AFFINE],
    "Elastic": [ELASTIC],
    "Affine and Elastic": [AFFINE, ELASTIC],
}


# ---------------------------------------------------------------------------------------------------------------------
# The plain loop


def plain(steps: list[Augmentation], images: Tensor, drawn: list[Tensor]) -> Tensor:
    """Digit by digit as anyone would write it, with torch's own functions."""
    return torch.cat([one(steps, images[n : n + 1], [rows[n] for rows in drawn]) for n in range(len(images))])


def one(steps: list[Augmentation], image: Tensor, rows: list[Tensor]) -> Tensor:
    """One digit (1, 1, 16, 16), changed by its parameters."""
    grid = None
    for augmentation, row in zip(steps, rows, strict=True):
        if isinstance(augmentation, Shift):
            code = int(row)
            framed = F.pad(image, (1, 1, 1, 1), value=-1.0)
            image = framed.roll((code // 3 - 1, code % 3 - 1), (2, 3))[:, :, 1:17, 1:17]
        elif isinstance(augmentation, Erase):
            top, left = row.tolist()
            image = image.clone()
            image[:, :, top : top + augmentation.size, left : left + augmentation.size] = -1.0
        elif isinstance(augmentation, Affine):
            matrix = torch.cat([row[:, :2] + torch.eye(2), row[:, 2:] / 8], 1)
            grid = F.affine_grid(matrix[None], [1, 1, 16, 16], align_corners=False)
        elif isinstance(augmentation, Elastic):
            if grid is None:
                grid = F.affine_grid(torch.eye(2, 3)[None], [1, 1, 16, 16], align_corners=False)
            knots = row.view(1, 2, augmentation.grid, augmentation.grid)
            grid = grid + F.interpolate(knots, (16, 16), mode="bicubic", align_corners=True).permute(0, 2, 3, 1) / 8
    return image if grid is None else F.grid_sample(image + 1, grid, align_corners=False) - 1


# ---------------------------------------------------------------------------------------------------------------------
# Measuring


def measure(images: Tensor, rounds: int) -> list[dict[str, Any]]:
    """One object for each case and each way, in µs per digit."""
    ways: dict[tuple[str, str], Callable[[], Any]] = {}
    for name, steps in CASES.items():
        ours = Augmentations(None, steps)
        drawn = ours.draw(len(images), 0)
        if not torch.allclose(plain(steps, images, drawn), ours.apply(images, drawn, slice(None)), atol=1e-4):
            raise SystemExit(f"{name}: the plain loop gives other digits; nothing was timed")
        ways[name, "plain"] = lambda steps=steps, drawn=drawn: plain(steps, images, drawn)
        ways[name, "ours"] = lambda ours=ours: [
            ours.apply(images, ours.draw(len(images), 0), slice(None)) for _ in range(10)
        ]
    samples: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            started = time.perf_counter()
            run()
            calls = 10 if way[1] == "ours" else 1
            samples[way].append(1e6 * (time.perf_counter() - started) / calls / len(images))
    return [
        {
            "augmentation": name,
            "how": how,
            "us_per_digit": round(statistics.median(times), 2),
            "us_per_digit_min": round(min(times), 2),
        }
        for (name, how), times in samples.items()
    ]


def markdown(results: list[dict[str, Any]]) -> str:
    """The results as a table."""
    rows = []
    for loop, ours in zip(results[::2], results[1::2], strict=True):
        times = loop["us_per_digit_min"] / ours["us_per_digit_min"]
        cells = [f"{way[key]:.2f}" for way in (loop, ours) for key in ("us_per_digit", "us_per_digit_min")]
        rows.append([ours["augmentation"], *cells, f"{times:.0f}x"])
    return table(["µs per digit", "plain loop", "min", "ours", "min", "times plain"], rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=20, help="timings of each, in turn")
    parser.add_argument("--digits", type=int, default=BLOCK, help="digits in a block")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as an object")
    parser.add_argument("--readme", action="store_true", help="put table and machine into benchmarks/README.md")
    return parser.parse_args()


def main() -> None:
    given = parse_arguments()
    described = machine()
    torch.set_num_threads(1)
    data = DigitsDataModule("digits")
    data.setup()
    images = data.train.images[torch.arange(given.digits) % data.n_train]
    results = measure(images, given.rounds)
    text = f"{described}\n\n{markdown(results)}"
    whole = {"machine": described, "digits": given.digits, "rounds": given.rounds, "measurements": results}
    publish("augment", text, whole, given.json, given.readme)


if __name__ == "__main__":
    main()
