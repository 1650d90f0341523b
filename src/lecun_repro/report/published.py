"""The article's and the paper's published numbers, as printed and as corrected.

The article's code prints `int(error * n)`, which truncates a float: several printed counts are one too low. The
corrected count is the integer whose share of the digits is the printed percentage. Of the rows on 50,000 digits the
train error was evidently measured on 3,000: it is the one round number for which both printed percentages and counts
fit. (Inference, not stated.)
"""

from typing import NamedTuple


class Published(NamedTuple):
    """One row of the article's results."""

    row: str  # the stem of the row's YAML
    title: str
    train_error: float  # percent
    train_printed: int | None  # misses as printed
    train_misses: int  # corrected
    train_n: int
    test_error: float
    test_printed: int
    test_misses: int
    test_n: int = 2007


ROWS = [
    Published("1_baseline", "baseline", 0.62, 45, 45, 7291, 4.09, 82, 82),
    Published("2_softmax", "+ softmax", 0.00, 0, 0, 7291, 4.38, 87, 88),
    Published("3_adamw", "+ AdamW", 0.00, 0, 0, 7291, 3.59, 72, 72),
    Published("4_shift", "+ shifts", 1.70, 123, 124, 7291, 2.19, 43, 44),
    Published("5_dropout_relu", "+ dropout, ReLU", 1.47, 106, 107, 7291, 1.59, 32, 32),
    Published("6_50k_baseline", "50,000 digits, baseline", 2.03, 60, 61, 3000, 2.74, 54, 55),
    Published("7_50k_modern", "50,000 digits, all", 1.07, 31, 32, 3000, 1.25, 24, 25),
]
BY_ROW = {published.row: published for published in ROWS}
PAPER_SECONDS = 3 * 24 * 3600  # the paper: three days on a SUN-4/260
ARTICLE_SECONDS = 90  # the article: the baseline row on a MacBook Air
