"""In which order a source's digits are presented, and how many of them there are: the draws."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

ARTICLE_SEED = 1337
DrawName = Literal["article", "full"]


class Draw(NamedTuple):
    """Indices (n,) int64 into a source's train and test files, in the order of presentation."""

    train: np.ndarray
    test: np.ndarray


def in_file_order(counts: Mapping[str, int]) -> Draw:
    """All digits as they lie in their files."""
    return Draw(np.arange(counts["train"]), np.arange(counts["test"]))


def permuted(counts: Mapping[str, int], seed: int) -> Draw:
    """All digits in the order that the article's procedure gives with this seed; train and test files never mix."""
    rng = np.random.RandomState(seed)
    # Test first, then train. The article's code leaves the order to chance (it loops over a set); this one is
    # the one behind its published numbers.
    test = rng.permutation(counts["test"])
    return Draw(rng.permutation(counts["train"]), test)
