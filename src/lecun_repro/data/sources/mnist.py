"""Source `mnist`: 28x28 digits of the NIST collections, reduced to 16x16 as the article's code does.

LeCun, Cortes, Burges: "The MNIST database of handwritten digits", four files in the IDX format.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from lecun_repro.data.download import check_digest, obtain
from lecun_repro.data.draws import ARTICLE_SEED, Draw, DrawName, permuted
from lecun_repro.data.sources.base import FrameName, Source
from lecun_repro.data.splits import Split
from lecun_repro.errors import DataError

# Kept by the PyTorch project and by Google; the original site answers 403 or 404.
MIRRORS: tuple[str, ...] = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
LAYOUTS = ("mnist", "", "MNIST/raw")  # under the data root; downloads go to the first
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
DIGESTS = {  # sha256 of the decompressed files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MARGINS: dict[FrameName, int] = {"article": 0, "paper": 2, "normalised": 2}  # pixels left out on each side of the 28
WIDTH, HEIGHT = 5.0, 7.0  # pixels of 28: standard deviations of the ink; few digits have more, once they are upright
LEAST = 0.25  # square pixels: of a variance of ink, so that a point does not become a disc
CHUNK = 4096  # digits converted at a time
ARTICLE_SIZES = {"train": 7_291, "test": 2_007}  # as many as the paper had
FULL = 50_000  # the article's "50k": which 50,000 it leaves unsaid; the first are our choice


class MNIST(Source):
    """70,000 digits in four files, of which the article's draws take fewer.

    `article` is the article's exact draw of 7,291 and 2,007; an integer draws by the same procedure from another seed;
    `full` is the first 50,000 of the train file in file order, with the article's test digits.
    """

    counts: ClassVar = {"train": 60_000, "test": 10_000}
    frames: ClassVar = tuple(MARGINS)

    def sizes(self, draw: DrawName | int) -> Mapping[str, int]:
        return ARTICLE_SIZES | ({"train": FULL} if draw == "full" else {})

    def order(self, draw: DrawName | int) -> Draw:
        drawn = permuted(self.counts, draw if isinstance(draw, int) else ARTICLE_SEED)
        return drawn._replace(train=np.arange(self.counts["train"])) if draw == "full" else drawn

    def load(self, part: str, indices: np.ndarray, root: Path) -> Split:
        """No other file is opened than those of the part."""
        count, (images_name, labels_name) = self.counts[part], FILES[part]
        labels = _obtain(labels_name, root, (count,))
        images = _obtain(images_name, root, (count, 28, 28))
        return Split(to_16x16(images[indices], self.frame), torch.from_numpy(labels[indices].astype(np.int64)))


def _obtain(name: str, root: Path, shape: tuple[int, ...]) -> np.ndarray:
    def read(content: bytes) -> np.ndarray:
        items = parse_idx(content, shape)
        check_digest(hashlib.sha256(content).hexdigest(), DIGESTS[name])
        return items

    return obtain(name, root, LAYOUTS, MIRRORS, read)


def read_idx(name: str, root: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The bytes of an IDX file under `root`, gzip or unpacked, whatever they are. Raises DataError, see `parse_idx`."""
    return obtain(name, root, ("",), (), lambda content: parse_idx(content, shape))


def parse_idx(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The array of this shape in an IDX file of unsigned bytes, as a view of the content.

    The format: two zeros, 8 for the type, the number of dimensions, each size as a big-endian 32-bit integer,
    then the bytes in row-major order.

    Raises:
        DataError: It holds something else.
    """
    header = bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()
    if not content:
        raise DataError("the file is empty")
    if not content.startswith(header):
        begins = f"it begins with {content[: len(header)]!r}, not {header!r}"
        raise DataError(f"no {' x '.join(map(str, shape))} bytes in the IDX format: {begins}")
    expected = len(header) + math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{len(content):,} bytes, expected {expected:,}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def to_16x16(images: np.ndarray, frame: FrameName = "article") -> Tensor:
    """(n, 28, 28) uint8 to (n, 1, 16, 16) float32 in [-1, 1].

    As the article's code does it: divided by 127.5, minus 1, then bilinear without antialiasing. In the frame `paper`
    likewise of the middle 24x24, MNIST's box of 20x20 with 2 pixels around it: the digit fills the field, as the
    paper's do. MNIST centres digits by their mass, so that 12 in 100 reach beyond; of all ink 0.24 % is left out. In
    the frame `normalised` each digit is upright, in the middle and of about equal size, see `normalised_grid`.
    """
    margin = MARGINS[frame]
    small = torch.empty(len(images), 1, 16, 16)
    for first in range(0, len(images), CHUNK):
        chunk = torch.from_numpy(images[first : first + CHUNK].astype(np.float32))[:, None]
        if frame == "normalised":
            shown = grid_sample(chunk, normalised_grid(chunk[:, 0], margin), align_corners=False) / 127.5 - 1
        else:
            middle = chunk[:, :, margin : 28 - margin, margin : 28 - margin]
            shown = interpolate(middle / 127.5 - 1, (16, 16), mode="bilinear", align_corners=False)
        small[first : first + CHUNK] = shown
    return small


def normalised_grid(ink: Tensor, margin: int) -> Tensor:
    """Where each of 16x16 pixels lies in an image whose digit is normalised by its moments (Casey 1970).

    Lines are moved until the digit is upright, the mean of its columns the same in all rows; its standard deviations
    in width and height then go half of the way, in logarithms, to WIDTH and HEIGHT. No label has a part in it.

    Args:
        ink: (n, 28, 28), 0 where there is none.
        margin: Pixels left out on each side of the 28 of a digit that is upright, and of this width and height.

    Returns:
        (n, 16, 16, 2), x and y as `grid_sample` has them.
    """
    ink = ink.double()
    mass = ink.sum((1, 2)).clamp(min=1)
    at = torch.arange(28, dtype=torch.float64)
    y, x = at[:, None], at[None, :]

    def mean(values: Tensor) -> Tensor:
        return (ink * values).sum((1, 2)) / mass

    mean_x, mean_y = mean(x), mean(y)
    height = (mean(y * y) - mean_y**2).clamp(min=LEAST)  # variances
    slant = (mean(x * y) - mean_x * mean_y) / height
    width = (mean(x * x) - mean_x**2 - slant**2 * height).clamp(min=LEAST)
    wider, taller = (width.sqrt() / WIDTH).sqrt(), (height.sqrt() / HEIGHT).sqrt()

    centre = ((torch.arange(16, dtype=torch.float64) + 0.5) / 16 - 0.5) * (28 - 2 * margin)
    right, down = wider[:, None, None] * centre, taller[:, None, None] * centre[:, None]
    mean_x, mean_y, slant = (v[:, None, None] for v in (mean_x, mean_y, slant))
    source = torch.stack(torch.broadcast_tensors(mean_x + right + slant * down, mean_y + down), dim=-1)
    return ((source + 0.5) / 14 - 1).float()
