"""What a comparison gets, and what it answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

Claim = dict[str, Any]  # one [[claim]] of the TOML file
HOLDS, FAILS, NOT_SHOWN = "holds", "fails", "not shown"


class Terms(NamedTuple):
    """What all comparisons of a file share."""

    folder: Path  # the file's
    substantial: float  # percent of the test misses


class Answer(NamedTuple):
    """What became of a claim."""

    claim: Claim
    verdict: str
    measured: str  # in a line, with n
    details: str = ""  # Markdown
    figure: Figure | None = None
    changes: Mapping[str, Sequence[float]] = {}  # of the test misses, by row, in percent of the base row's


def all_of(verdicts: Sequence[str]) -> str:
    """Holds if all hold, fails if one fails."""
    if FAILS in verdicts:
        return FAILS
    return HOLDS if verdicts and set(verdicts) == {HOLDS} else NOT_SHOWN
