"""Which of a source's digits are trained and tested on, and in which order they are presented."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from lecun_repro.errors import DataError

ARTICLE_SEED = 1337
ARTICLE_COUNTS = {"train": 7_291, "test": 2_007}  # as many as the paper had
MNIST_FULL = 50_000  # the article's "50k": which 50,000 it leaves unsaid; the first are our choice
DrawName = Literal["article", "full"]


class Draw(NamedTuple):
    """Indices into a source's train and test files, in the order of presentation."""

    train: np.ndarray
    """(n,) int64."""

    test: np.ndarray
    """(n,) int64."""


def draw_indices(
    source: str,
    draw: DrawName | int,
    counts: Mapping[str, int],
    train_size: int | None = None,
    test_size: int | None = None,
) -> Draw:
    """The draw of digits; train and test files never mix.

    MNIST: `article` is the article's exact draw of 7,291 and 2,007; an integer draws by the same procedure
    from another seed; `full` is the first 50,000 of the train file in file order, with the article's test
    digits. Other sources: `article` and `full` are the source's own split as it is; an integer permutes
    either part.

    Args:
        source: The source's name.
        draw: `article`, `full` or a seed from 0 to 2**32 - 1.
        counts: Digits that the source has, for `train` and `test`.
        train_size: Training digits wanted; the first of the draw's order.
        test_size: Test digits wanted; the first of the draw's order.

    Raises:
        DataError: More digits are wanted than the source has.
    """
    sizes = {"train": train_size, "test": test_size}
    for part, has in counts.items():
        wanted = sizes[part]
        if wanted is not None and wanted > has:
            raise DataError(f"{part}_size is {wanted:,}, but source {source} has {has:,} {part} digits")

    rng = np.random.RandomState(draw if isinstance(draw, int) else ARTICLE_SEED)
    # Test first, then train. The article's code leaves the order to chance (it loops over a set); this one is
    # the one behind its published numbers.
    test = rng.permutation(counts["test"])
    train = rng.permutation(counts["train"])
    defaults = dict(counts)
    if source == "mnist":
        defaults = dict(ARTICLE_COUNTS)
        if draw == "full":
            train = np.arange(counts["train"])
            defaults["train"] = MNIST_FULL
    elif not isinstance(draw, int):
        test, train = np.arange(counts["test"]), np.arange(counts["train"])
    return Draw(train[: train_size or defaults["train"]], test[: test_size or defaults["test"]])
