"""What a comparison gets, and what it answers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from lecun_repro.report.rules import Family, Rules
from lecun_repro.report.statistics import Interval

Claim = dict[str, Any]  # one [[claim]] of the TOML file
HOLDS, FAILS, NOT_DECIDED = "holds", "fails", "not decided"
NOT_RUN, UNTESTABLE = "not run yet", "not testable here"


class Change(NamedTuple):
    """A row's change against its base row, in percent of the error."""

    mean: float
    these: Interval  # for these digits
    new: Interval  # for new ones
    verdict: str  # on it alone; empty where it is none's


class Terms(NamedTuple):
    """What all comparisons of a file share."""

    folder: Path  # the file's
    rules: Rules
    family: Family

    @property
    def substantial(self) -> float:
        return self.rules.substantial_percent

    def judged(self, test: tuple, holds: float, fails: float) -> tuple[str, float]:
        """The verdict from the p-values that show a claim to hold and to fail, and the smaller one, adjusted.

        At most one of the two hypotheses that they are against is wrong, so that no more than one is tested.
        """
        p = self.family(test, min(holds, fails))
        return (HOLDS if holds <= fails else FAILS) if p < self.rules.level else NOT_DECIDED, p

    def raw_level(self, raw: float, p: float) -> float:
        """What a p-value that was adjusted from `raw` to `p` has to be below for a verdict."""
        return self.rules.level * (raw / p if p else 1)


class Answer(NamedTuple):
    """What became of a claim."""

    claim: Claim
    verdict: str
    measured: str  # in a line, with n
    details: str = ""  # Markdown
    figure: Callable[[], Figure] | None = None
    changes: Mapping[str, Change] = {}  # by row and base row


def all_of(verdicts: Sequence[str]) -> str:
    """Holds if all hold, fails if one fails; else what the worst of them is."""
    for verdict in (FAILS, NOT_RUN, NOT_DECIDED):
        if verdict in verdicts:
            return verdict
    return HOLDS if verdicts else NOT_RUN
