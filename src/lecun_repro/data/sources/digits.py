"""Source `digits`: the 1,797 digits of 8x8 pixels that ship with scikit-learn. No files, no network.

Alpaydin, Kaynak: "Optical Recognition of Handwritten Digits" (UCI), its test file.
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from lecun_repro.data.splits import Split

COUNTS = {"train": 1_297, "test": 500}

# The collection has no split of its own, and consecutive digits share a writer: ours is a fixed permutation
# (our choice), of which the first 1,297 are for training and the other 500 for testing.
SPLIT_SEED = 1337


def load(part: str, indices: np.ndarray, root: Path | None = None) -> Split:
    """The digits at `indices` of a part, in that order, doubled bilinearly from 8x8 to 16x16.

    Args:
        part: `train` or `test`.
        indices: (n,) integers into the part's digits.
        root: Not used; the digits come with scikit-learn.
    """
    bunch = load_digits()
    order = np.random.RandomState(SPLIT_SEED).permutation(len(bunch.target))
    chosen = (order[: COUNTS["train"]] if part == "train" else order[COUNTS["train"] :])[indices]
    # The grey levels are counts from 0 to 16.
    small = torch.from_numpy(bunch.images[chosen].astype(np.float32))[:, None] / 8 - 1
    images = interpolate(small, (16, 16), mode="bilinear", align_corners=False)
    return Split(images, torch.from_numpy(bunch.target[chosen].astype(np.int64)))
