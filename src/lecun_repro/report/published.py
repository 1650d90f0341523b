"""The article's and the paper's published numbers, as printed and as corrected.

The article's code prints `int(error * n)`, which truncates a float: several printed counts are one too low. The
corrected count is the integer whose share of the digits is the printed percentage. Of the rows on 50,000 digits the
train error was evidently measured on 3,000: it is the one round number for which both printed percentages and counts
fit. (Inference, not stated.) The losses printed for rows with a cross-entropy are those of the last training digit, and
left out here.
"""

from typing import NamedTuple

# The article ----------------------------------------------------------------------------------------------------------

BASELINE, MODERN = "1_baseline", "5_dropout_relu"
BASELINE_50K, MODERN_50K = "6_50k_baseline", "7_50k_modern"
SECONDS = 90  # the baseline on a MacBook Air


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
    train_loss: float | None = None  # where it is that of all digits, and not of the last one trained on
    test_loss: float | None = None


ROWS = [
    Published(BASELINE, "baseline", 0.62, 45, 45, 7291, 4.09, 82, 82, 2007, 4.073383e-3, 2.838382e-2),
    Published("2_softmax", "+ softmax", 0.00, 0, 0, 7291, 4.38, 87, 88),
    Published("3_adamw", "+ AdamW", 0.00, 0, 0, 7291, 3.59, 72, 72),
    Published("4_shift", "+ shifts", 1.70, 123, 124, 7291, 2.19, 43, 44),
    Published(MODERN, "+ dropout, ReLU", 1.47, 106, 107, 7291, 1.59, 32, 32),
    Published(
        BASELINE_50K, "50,000 digits, baseline", 2.03, 60, 61, 3000, 2.74, 54, 55, 2007, 1.305315e-2, 1.943992e-2
    ),
    Published(MODERN_50K, "50,000 digits, all", 1.07, 31, 32, 3000, 1.25, 24, 25),
]
BY_ROW = {published.row: published for published in ROWS}

# What a row is a step from, where that is not the row before it.
STEP_FROM = {BASELINE_50K: BASELINE, MODERN_50K: MODERN}


def title_of(row: str) -> str:
    """The row's title in the article, or its name."""
    return BY_ROW[row].title if row in BY_ROW else row


# The paper, LeCun et al. 1989 -----------------------------------------------------------------------------------------

PAPER_PASSES = 23
PAPER_SECONDS = 3 * 24 * 3600  # three days on a SUN-4/260


class Printed(NamedTuple):
    """What the paper prints of one network, after 23 passes over 7,291 digits, tested on 2,007."""

    train_error: float  # percent
    test_error: float
    rejected: float  # percent of the test digits, for 1 % error on the rest
    train_misses: int | None = None
    test_misses: int | None = None
    train_mse: float | None = None
    test_mse: float | None = None


# The article quotes 102 misses beside 5.00 %; 102 of 2,007 are 5.08 %.
CONVOLUTIONAL = Printed(0.14, 5.00, 12.1, 10, 102, 2.5e-3, 1.8e-2)
FULLY_CONNECTED = Printed(1.6, 8.1, 19.4)  # likely: from a secondary source

# What the configurations of configs/1989 are held against.
BY_CONFIG = {
    "1_article_baseline_on_usps": CONVOLUTIONAL,
    "2_newton": CONVOLUTIONAL,
    "3_paper": CONVOLUTIONAL,
    "4_fully_connected": FULLY_CONNECTED,
    "6_sgd_control": CONVOLUTIONAL,
}
