"""Source `digits`: the 1,797 digits of 8x8 pixels that ship with scikit-learn. No files, no network.

Alpaydin, Kaynak: "Optical Recognition of Handwritten Digits" (UCI), its test file.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from lecun_repro.data.sources.base import Source
from lecun_repro.data.splits import Split

# The collection has no split of its own, and consecutive digits share a writer: ours is a fixed permutation
# (our choice), of which the first 1,297 are for training and the other 500 for testing.
SPLIT_SEED = 1337


class Digits(Source):
    """1,297 and 500 digits, doubled bilinearly from 8x8 to 16x16."""

    counts: ClassVar = {"train": 1_297, "test": 500}

    def load(self, part: str, indices: np.ndarray, root: Path | None = None) -> Split:
        bunch = load_digits()
        order = np.random.RandomState(SPLIT_SEED).permutation(len(bunch.target))
        first = {"train": 0, "test": self.counts["train"]}[part]
        chosen = order[first : first + self.counts[part]][indices]
        # The grey levels are counts from 0 to 16.
        small = torch.from_numpy(bunch.images[chosen].astype(np.float32))[:, None] / 8 - 1
        images = interpolate(small, (16, 16), mode="bilinear", align_corners=False)
        return Split(images, torch.from_numpy(bunch.target[chosen].astype(np.int64)))
