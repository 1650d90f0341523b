"""Rows against a base row: paired by seed, on the same test digits."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from lecun_repro.report.comparisons.answers import FAILS, HOLDS, NOT_SHOWN, Answer, Claim, Terms, all_of
from lecun_repro.report.results import Rows, errors, misses, paired
from lecun_repro.report.statistics import Interval, gained, improved, mcnemar, mean_interval
from lecun_repro.report.tables import ranged, span, spread, table
from lecun_repro.runs.results import RunResult

TOO_FEW = "fewer than two seeds in common"


class Gain(NamedTuple):
    """A row's runs and its base row's, of the same seeds."""

    base: list[RunResult]
    row: list[RunResult]

    @property
    def n(self) -> int:
        return len(self.row)

    @property
    def differences(self) -> list[float]:
        """In test misses, row - base."""
        return [after - before for before, after in zip(misses(self.base), misses(self.row), strict=True)]

    @property
    def percent(self) -> float:
        """One percent of the base row's mean misses, in misses."""
        return float(np.mean(misses(self.base))) / 100

    @property
    def changes(self) -> list[float]:
        """The differences in percent of the base row's mean misses."""
        return [difference / self.percent for difference in self.differences]

    @property
    def p_values(self) -> list[float]:
        """McNemar's, of every seed."""
        return [mcnemar(a.test.missed, b.test.missed) for a, b in zip(self.base, self.row, strict=True)]

    def gained(self, substantial: float) -> str:
        """Whether a substantial gain, in percent, is shown: `yes`, `no` or `not shown`."""
        return gained(self.differences, substantial * self.percent)

    @property
    def improved(self) -> str:
        """`better`, `worse` or `not shown`."""
        return improved(self.differences, self.p_values)

    @property
    def change(self) -> str:
        """`-14 % (95 %: -22 to -6; n = 5)`."""
        return f"{signed(np.mean(self.changes))} % (95 %: {percents(mean_interval(self.changes))}; n = {self.n})"


def gain_of(rows: Rows, base: str, row: str) -> Gain | None:
    """None unless both rows have two seeds in common, and the base row misses something."""
    pairs = paired(rows, base, row)
    gain = Gain([before for before, _ in pairs], [after for _, after in pairs])
    return gain if gain.n > 1 and any(misses(gain.base)) else None


def signed(value: float | np.floating) -> str:
    """`-14`, `+3`, and `+0` for either zero."""
    return f"{round(float(value)):+d}"


def percents(interval: Interval) -> str:
    """`-22 to -6`, signed."""
    return f"{signed(interval.low)} to {signed(interval.high)}"


def change_of(gain: Gain | None) -> str:
    """`test misses -14 % (95 %: -22 to -6; n = 5)`."""
    return TOO_FEW if gain is None else f"test misses {gain.change}"


def changes_of(gains: Mapping[str, Gain | None], base: str) -> dict[str, list[float]]:
    """Every seed's change, by row and base row."""
    return {f"{row} against {base}": gain.changes for row, gain in gains.items() if gain is not None}


Rule = Callable[[Gain, float], str]  # a gain and the percentage that is substantial -> a verdict


def no_substantial_gain(gain: Gain, substantial: float) -> str:
    return {"yes": FAILS, "no": HOLDS}.get(gain.gained(substantial), NOT_SHOWN)


def substantial_gain(gain: Gain, substantial: float) -> str:
    return {"yes": HOLDS, "no": FAILS}.get(gain.gained(substantial), NOT_SHOWN)


def better(gain: Gain, substantial: float) -> str:
    return {"better": HOLDS, "worse": FAILS}.get(gain.improved, NOT_SHOWN)


def worse(gain: Gain, substantial: float) -> str:
    return {"worse": HOLDS, "better": FAILS}.get(gain.improved, NOT_SHOWN)


def further_gain(gain: Gain, substantial: float) -> str:
    """Better, with a substantial gain possible; fails where that is excluded."""
    return FAILS if gain.gained(substantial) == "no" else better(gain, substantial)


def of_rows(rule: Rule) -> Callable[[Claim, Rows, Terms], Answer]:
    """The comparison of a claim's rows, and of those it shows beside them, with its base row."""

    def compare(claim: Claim, rows: Rows, terms: Terms) -> Answer:
        names, base = claim["rows"], claim["base"]
        gains = {row: gain_of(rows, base, row) for row in names}
        beside = {row: gain_of(rows, base, row) for row in claim.get("beside", [])}
        verdicts, measured = [], []
        for row, gain in gains.items():
            verdicts.append(NOT_SHOWN if gain is None else rule(gain, terms.substantial))
            # Which ask for more than the interval.
            p = f", median p {np.median(gain.p_values):.2g}" if gain and rule in (better, worse) else ""
            measured.append(f"`{row}` against `{base}`: {change_of(gain)}{p}")
        gains |= beside
        details = gains_table(base, gains, rule, terms.substantial)
        return Answer(claim, all_of(verdicts), "; ".join(measured), details, changes=changes_of(gains, base))

    return compare


def gains_table(base: str, gains: Mapping[str, Gain | None], rule: Rule, substantial: float) -> str:
    """Every row against the base row, over the seeds that both have."""
    header = ["row", "parameters", "n", "train error %", "test misses (range)", f"test misses, `{base}`"]
    header += ["mean difference", "95 %", "change %", "95 %", "McNemar p, median", "by itself"]
    lines = []
    for row, gain in gains.items():
        line = [f"`{row}`"]
        if gain is not None:
            line += [f"{gain.row[0].parameters:,}", str(gain.n), spread(errors(gain.row, "train"))]
            line += [ranged(misses(gain.row)), spread(misses(gain.base), 1)]
            line += [f"{np.mean(gain.differences):+.1f}", span(mean_interval(gain.differences), 1)]
            line += [signed(np.mean(gain.changes)), percents(mean_interval(gain.changes))]
            line += [f"{np.median(gain.p_values):.2g}", f"*{rule(gain, substantial)}*"]
        lines.append(line)
    return table(header, lines)
