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


def title_of(row: str) -> str:
    """The row's title in the article, or that of another configuration, or its name."""
    return BY_ROW[row].title if row in BY_ROW else TITLES.get(row, row)


def words_of(row: str) -> str:
    """The article's rows by their numbers, others by their titles."""
    return f"row {row[0]}" if row in BY_ROW else title_of(row)


def against(row: str, base: str) -> str:
    """What the change from a base row to a row is called in a figure."""
    return f"{words_of(row)}, against {words_of(base)}"


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

# The configurations of configs/1989 and configs/claims in words, for figures.
TITLES = {
    "1_article_baseline_on_usps": "the article's baseline",
    "2_newton": "diagonal Newton",
    "2_newton_target_1": "Newton, target 1",
    "2_newton_article_range": "Newton, article's range",
    "2_newton_article_range_target_1": "Newton, article's range, target 1",
    "3_paper": "closest to the paper",
    "4_fully_connected": "fully connected",
    "5_modern": "the article's row 5",
    "6_sgd_control": "SGD, as a control of Newton",
    "6_sgd_target_1": "SGD, target 1",
    "6_sgd_article_range": "SGD, article's range",
    "1_60_passes": "60 passes",
    "1_100_passes": "100 passes",
    "1_relu": "ReLU",
    "1_gelu": "GELU",
    "1_silu": "SiLU",
    "1_scaled_tanh": "normalized tanh",
    "1_scaled_tanh_skip": "normalized tanh with a skip connection",
    "1_init_paper": "smaller initial weights",
    "1_init_wide": "larger initial weights",
    "2_init_paper": "row 2, smaller initial weights",
    "2_init_wide": "row 2, larger initial weights",
    "3_no_decay": "no weight decay",
    "3_adam": "Adam",
    "3_rate_1e-3": "three times the rate",
    "3_rate_1e-4": "a third of the rate",
    "3_tuned_sgd": "finely tuned SGD",
    "4_23_passes": "row 4, 23 passes",
    "5_60_passes": "row 5, 60 passes",
    "5_without_dropout": "no dropout",
    "5_without_relu": "no ReLU",
    "5_weight_norm": "weight normalization",
    "5_micro_vit": "micro-ViT",
    "5_searched": "row 5, searched for as well",
    "5_no_decay": "no weight decay",
    "5_adam": "Adam",
    "5_batch_64": "row 5, batches of 64",
    "5_batch_64_residual": "residual connection",
    "5_batch_64_layer_norm": "layer normalization",
    "5_batch_64_batch_norm": "batch normalization",
    "5_6_maps": "6 maps",
    "5_24_maps": "24 maps",
    "5_48_maps": "48 maps",
    "6_23_passes": "row 6, 23 passes",
    "7_23_passes": "row 7, 23 passes",
}

# What the configurations of configs/1989 are held against.
BY_CONFIG = {
    "1_article_baseline_on_usps": CONVOLUTIONAL,
    "2_newton": CONVOLUTIONAL,
    "2_newton_target_1": CONVOLUTIONAL,
    "3_paper": CONVOLUTIONAL,
    "4_fully_connected": FULLY_CONNECTED,
    "6_sgd_control": CONVOLUTIONAL,
}
