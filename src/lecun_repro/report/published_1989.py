"""The numbers of the paper (LeCun et al. 1989), per configuration of configs/1989 that is held against them."""

from typing import NamedTuple


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
BY_CONFIG = {
    "1_article_baseline_on_usps": CONVOLUTIONAL,
    "2_newton": CONVOLUTIONAL,
    "3_paper": CONVOLUTIONAL,
    "4_fully_connected": FULLY_CONNECTED,
    "6_sgd_control": CONVOLUTIONAL,
}
PASSES = 23
