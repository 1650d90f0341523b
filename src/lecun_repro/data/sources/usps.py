"""Source `usps`: the U.S. Postal Service's zip-code digits, 16x16, 7,291 and 2,007 as in the paper.

From AT&T by way of LeCun, as distributed with Hastie, Tibshirani, Friedman: "The Elements of Statistical
Learning" ("ZIP code" data). That they are the paper's own digits, pixel by pixel, is very likely but not
proven. One digit per line of text: the label, then 256 pixels from -1 to 1 with three decimals.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from lecun_repro.data.download import check_digest, obtain
from lecun_repro.data.sources.base import Source
from lecun_repro.data.splits import Split
from lecun_repro.errors import DataError

MIRRORS: tuple[str, ...] = ("https://hastie.su.domains/ElemStatLearn/datasets/",)
LAYOUTS = ("usps", "")  # under the data root; downloads go to the first
FILES = {"train": "zip.train", "test": "zip.test"}
DIGESTS = {  # sha256 of the labels (uint8), then the pixels in thousandths (little-endian int16)
    "zip.train": "bb8c5577af2800d9a092a9516d927235e3eb00a05bf99fe8b76b432f12f748ae",
    "zip.test": "ea677dd5aa43643ea8a81f2fd0f1e24ea2a8bfdd4613a16fc075ae9cf2b4760b",
}
FIELDS = 1 + 16 * 16


class USPS(Source):
    """7,291 and 2,007 digits in two files."""

    counts: ClassVar = {"train": 7_291, "test": 2_007}

    def load(self, part: str, indices: np.ndarray, root: Path) -> Split:
        """The other part's file is not opened; malformed text is named by its line."""
        name, count = FILES[part], self.counts[part]
        labels, thousandths = obtain(name, root, LAYOUTS, MIRRORS, partial(_read, name=name, count=count))
        images = torch.from_numpy((thousandths[indices] / 1000).astype(np.float32)).view(-1, 1, 16, 16)
        return Split(images, torch.from_numpy(labels[indices].astype(np.int64)))


def _read(content: bytes, name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    labels, thousandths = parse_zip(content, count)
    check_digest(content_digest(labels, thousandths), DIGESTS[name])
    return labels, thousandths


def content_digest(labels: np.ndarray, thousandths: np.ndarray) -> str:
    """sha256 of the digits however they are written: `1`, `1.000` and `1.0000` are the same pixel."""
    return hashlib.sha256(labels.astype(np.uint8).tobytes() + thousandths.astype("<i2").tobytes()).hexdigest()


def parse_zip(content: bytes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, (count,) uint8, and pixels in thousandths, (count, 256) int16.

    Raises:
        DataError: with the number of the first bad line, counted from 1, and what is wrong with it.
    """
    if not content:
        raise DataError("the file is empty")
    lines = content.removesuffix(b"\n").split(b"\n")
    table = np.empty((min(len(lines), count), FIELDS))
    for row, line in enumerate(lines[:count]):
        fields = line.split(maxsplit=FIELDS)  # no further: a foreign file may be one endless line
        if len(fields) != FIELDS:
            number = "more" if len(fields) > FIELDS else f"{len(fields)} fields"
            raise DataError(f"line {row + 1}: {number}, expected {FIELDS} (a label and 256 pixels)")
        try:
            table[row] = np.array(fields, dtype=np.float64)
        except ValueError as error:
            raise DataError(f"line {row + 1}: {str(error)[:80]}") from None
    _check(table)
    if len(lines) != count:
        raise DataError(f"{len(lines):,} lines, expected {count:,} (one per digit)")
    return table[:, 0].astype(np.uint8), np.rint(1000 * table[:, 1:]).astype(np.int16)


def _check(table: np.ndarray) -> None:
    """Refuses labels other than 0 to 9 and pixels that are not in [-1, 1], NaN included."""
    good = np.abs(table) <= 1
    good[:, 0] = np.isin(table[:, 0], np.arange(10))
    if not good.all():
        row, field = (int(index[0]) for index in np.nonzero(~good))
        value = f"{table[row, field]:g}"
        if field == 0:
            raise DataError(f"line {row + 1}: label {value}, expected an integer from 0 to 9")
        raise DataError(f"line {row + 1}: pixel {field} is {value}, expected -1 to 1")
