"""Rows against a base row: paired by seed, on the same test digits."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from lecun_repro.report.comparisons.answers import FAILS, HOLDS, NOT_SHOWN, Answer, Claim, Given, all_of
from lecun_repro.report.results import Results, Rows, paired, test_misses
from lecun_repro.report.statistics import Interval, gained, improved, mcnemar, mean_interval
from lecun_repro.report.tables import NONE, span, spread, table

TOO_FEW = "fewer than two seeds in common"


class Gain(NamedTuple):
    """A row's runs and its base row's, of the same seeds."""

    base: list[Results]
    row: list[Results]

    @property
    def n(self) -> int:
        return len(self.row)

    @property
    def differences(self) -> list[float]:
        """In test misses, row - base."""
        return [b["test"]["misses"] - a["test"]["misses"] for a, b in zip(self.base, self.row, strict=True)]

    @property
    def percent(self) -> float:
        """One percent of the base row's mean misses, in misses."""
        return float(np.mean(test_misses(self.base))) / 100

    @property
    def changes(self) -> list[float]:
        """The differences in percent of the base row's mean misses."""
        return [difference / self.percent for difference in self.differences]

    @property
    def p_values(self) -> list[float]:
        """McNemar's, of every seed."""
        pairs = zip(self.base, self.row, strict=True)
        return [mcnemar(a["test"]["missed"], b["test"]["missed"]) for a, b in pairs]


def gain(rows: Rows, base: str, row: str) -> Gain | None:
    """None unless both rows have two seeds in common."""
    pairs = paired(rows.get(base, []), rows.get(row, []))
    return Gain([a for a, _ in pairs], [b for _, b in pairs]) if len(pairs) > 1 else None


def signed(value: float | np.floating) -> str:
    """`-14`, `+3`, and `+0` for either zero."""
    return f"{round(float(value)):+d}"


def percents(interval: Interval) -> str:
    """`-22 to -6`, signed."""
    return f"{signed(interval.low)} to {signed(interval.high)}"


def change_of(found: Gain | None) -> str:
    """`test misses -14 % (95 %: -22 to -6; n = 5)`."""
    if found is None:
        return TOO_FEW
    interval = mean_interval(found.changes)
    return f"test misses {signed(np.mean(found.changes))} % (95 %: {percents(interval)}; n = {found.n})"


def p_of(found: Gain | None) -> str:
    return "" if found is None else f", median p {np.median(found.p_values):.2g}"


def changes_of(found: Mapping[str, Gain | None], base: str) -> dict[str, list[float]]:
    """Every seed's change, by row and base row."""
    return {f"{row} against {base}": each.changes for row, each in found.items() if each is not None}


Rule = Callable[[Gain, Given], str]


def no_substantial_gain(found: Gain, given: Given) -> str:
    return {"yes": FAILS, "no": HOLDS}.get(gained(found.differences, given.substantial * found.percent), NOT_SHOWN)


def substantial_gain(found: Gain, given: Given) -> str:
    return {"yes": HOLDS, "no": FAILS}.get(gained(found.differences, given.substantial * found.percent), NOT_SHOWN)


def better(found: Gain, given: Given) -> str:
    return {"better": HOLDS, "worse": FAILS}.get(improved(found.differences, found.p_values), NOT_SHOWN)


def worse(found: Gain, given: Given) -> str:
    return {"worse": HOLDS, "better": FAILS}.get(improved(found.differences, found.p_values), NOT_SHOWN)


def further_gain(found: Gain, given: Given) -> str:
    """Better, with a substantial gain possible; fails where that is excluded."""
    possible = gained(found.differences, given.substantial * found.percent) != "no"
    return better(found, given) if possible else FAILS


def of_rows(rule: Rule) -> Callable[[Claim, Rows, Given], Answer]:
    """The comparison of a claim's rows, and of those it shows beside them, with its base row."""

    def compare(claim: Claim, rows: Rows, given: Given) -> Answer:
        found = {row: gain(rows, claim["base"], row) for row in claim["rows"]}
        beside = {row: gain(rows, claim["base"], row) for row in claim.get("beside", [])}
        verdicts = [NOT_SHOWN if each is None else rule(each, given) for each in found.values()]
        also = (better, worse)  # which ask for more than the interval
        measured = "; ".join(
            f"`{row}` against `{claim['base']}`: {change_of(each)}{p_of(each) if rule in also else ''}"
            for row, each in found.items()
        )
        every = {**found, **beside}
        details = gains_table(claim["base"], every, rule, given)
        return Answer(claim, all_of(verdicts), measured, details, changes=changes_of(every, claim["base"]))

    return compare


def gains_table(base: str, found: Mapping[str, Gain | None], rule: Rule, given: Given) -> str:
    """Every row against the base row, over the seeds that both have."""
    header = ["row", "parameters", "n", "train error %", "test misses (range)", f"test misses, `{base}`"]
    header += ["mean difference", "95 %", "change %", "95 %", "McNemar p, median", "by itself"]
    lines = []
    for row, each in found.items():
        if each is None:
            lines.append([f"`{row}`", *[NONE] * 11])
            continue
        misses = test_misses(each.row)
        line = [f"`{row}`", f"{each.row[0]['parameters']:,}", str(each.n)]
        line += [spread([r["train"]["error"] for r in each.row])]
        line += [f"{spread(misses, 1)} ({min(misses)} to {max(misses)})", spread(test_misses(each.base), 1)]
        line += [f"{np.mean(each.differences):+.1f}", span(mean_interval(each.differences), 1)]
        line += [signed(np.mean(each.changes)), percents(mean_interval(each.changes))]
        lines.append([*line, f"{np.median(each.p_values):.2g}", f"*{rule(each, given)}*"])
    return table(header, lines)
