"""The kinds of comparison that a claim may name: a claim and the rows in, an answer with a verdict out."""

from collections.abc import Callable

from lecun_repro.report.comparisons.answers import Answer, Claim, Terms
from lecun_repro.report.comparisons.curves import curve_over_sizes, error_against_parameters
from lecun_repro.report.comparisons.gains import (
    about,
    better,
    equivalent,
    no_substantial_gain,
    of_rows,
    substantial_gain,
    worse,
)
from lecun_repro.report.comparisons.numbers import arithmetic, compatible, fits_every_digit, not_testable
from lecun_repro.report.comparisons.shares import interaction, share_of_gain, shares
from lecun_repro.report.comparisons.times import inference, time_to_an_error
from lecun_repro.report.results import Rows

KINDS: dict[str, Callable[[Claim, Rows, Terms], Answer]] = {
    "no substantial gain": of_rows(no_substantial_gain),
    "substantial gain": of_rows(substantial_gain),
    "better": of_rows(better),
    "worse": of_rows(worse),
    "equivalent": of_rows(equivalent),
    "about": about,
    "interaction": interaction,
    "share of a gain": share_of_gain,
    "shares": shares,
    "curve over sizes": curve_over_sizes,
    "error against parameters": error_against_parameters,
    "time to an error": time_to_an_error,
    "inference": inference,
    "compatible": compatible,
    "fits every digit": fits_every_digit,
    "arithmetic": arithmetic,
    "not testable": not_testable,
}
