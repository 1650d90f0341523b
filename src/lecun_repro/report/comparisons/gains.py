"""Rows against a base row, on the same digits."""

import math
from collections.abc import Callable, Mapping

from lecun_repro.report.comparison import Comparison, compare
from lecun_repro.report.comparisons.answers import NOT_DECIDED, NOT_RUN, Answer, Change, Claim, Terms, all_of
from lecun_repro.report.published import against
from lecun_repro.report.results import Rows, errors, misses
from lecun_repro.report.tables import DIGITS, NONE, p_value, percents, ranged, runs_of, signed, spread, table

MEDIANS_APART = 15  # points of percent from the means' change: a few runs that fail to train, say

Rule = Callable[[Comparison, Terms], tuple[float, float]]
"""A comparison -> the p-values that show the claim to hold, and to fail."""


def no_substantial_gain(c: Comparison, terms: Terms) -> tuple[float, float]:
    return c.p_more(-terms.substantial), c.p_less(-terms.substantial)


def substantial_gain(c: Comparison, terms: Terms) -> tuple[float, float]:
    return c.p_less(-terms.substantial), c.p_more(-terms.substantial)


def better(c: Comparison, terms: Terms) -> tuple[float, float]:
    return 2 * c.p_less(0), 2 * c.p_more(0)


def worse(c: Comparison, terms: Terms) -> tuple[float, float]:
    return 2 * c.p_more(0), 2 * c.p_less(0)


def equivalent(c: Comparison, terms: Terms) -> tuple[float, float]:
    return within(c, -terms.substantial, terms.substantial)


def within(c: Comparison, low: float, high: float) -> tuple[float, float]:
    """Holds where the change lies between two percentages; fails where it is shown to lie beyond one of them."""
    return c.p_within(low, high), 2 * min(c.p_less(low), c.p_more(high))


def about(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """Whether the error changes by about so many percent, within so many points."""

    def rule(c: Comparison, terms: Terms) -> tuple[float, float]:
        return within(c, claim["percent"] - claim["points"], claim["percent"] + claim["points"])

    return of_rows(rule)({**claim, "rows": [claim["row"]]}, rows, terms)


def judged_comparison(rows: Rows, base: str, row: str) -> Comparison | None:
    """On the unseen digits where both rows have them; none where they cannot be compared or the base misses nothing."""
    found = next(iter(compare(rows, base, row).values()), None)
    return found if found is not None and found.crossed.mean[0, 0] > 0 else None


def change_of(comparison: Comparison) -> str:
    """`error -14 % (95 %: -22 to -6 for new digits; n = 5 and 10; the unseen 7,993)`; the medians', where far off."""
    new, medians = percents(comparison.change_interval()), comparison.change_of_medians
    digits = DIGITS[comparison.digits].format(comparison.of_digits)
    apart = f"; of the medians {signed(medians)} %" if abs(medians - comparison.change) > MEDIANS_APART else ""
    n = runs_of(comparison)
    return f"error {signed(comparison.change)} % (95 %: {new} for new digits{apart}; n = {n}; {digits})"


def in_figure(comparison: Comparison, verdict: str) -> Change:
    these, new = comparison.change_interval("these digits"), comparison.change_interval()
    return Change(comparison.change, these, new, verdict)


def of_rows(rule: Rule) -> Callable[[Claim, Rows, Terms], Answer]:
    """The comparison of a claim's rows, and of those it shows beside them, with its base row."""

    def compare_rows(claim: Claim, rows: Rows, terms: Terms) -> Answer:
        base = claim["base"]
        verdicts, measured, changes = [], [], {}
        judged: dict[str, tuple[str, float]] = {}
        for row in claim["rows"]:
            comparison = judged_comparison(rows, base, row)
            if comparison is None:
                verdicts.append(NOT_RUN)
                measured.append(f"`{row}` against `{base}`: {NOT_RUN}")
                continue
            judged[row] = terms.judged((rule.__name__, base, row), *rule(comparison, terms))
            verdict, p = judged[row]
            verdicts.append(verdict)
            measured.append(f"`{row}` against `{base}`: {change_of(comparison)}, p {p_value(p)}")
            measured[-1] += needed(comparison, rule, terms, verdict, p)
            changes[against(row, base)] = in_figure(comparison, verdict)
        details = gains_table(rows, base, [*claim["rows"], *claim.get("beside", [])], judged)
        return Answer(claim, all_of(verdicts), "; ".join(measured), details, changes=changes)

    return compare_rows


def needed(comparison: Comparison, rule: Rule, terms: Terms, verdict: str, p: float) -> str:
    """What would decide it, where it is not decided; with the same adjustment for the family."""
    if verdict != NOT_DECIDED:
        return ""
    level = terms.raw_level(min(rule(comparison, terms)), p)
    return f"; {comparison.decided_by(lambda c: min(rule(c, terms)), level)} would decide it"


def gains_table(rows: Rows, base: str, names: list[str], judged: Mapping[str, tuple[str, float]]) -> str:
    """Every row beside the base row, and against it on each set of digits; `judged` ones have a verdict."""
    header = ["row", "parameters", "n", "train error %", "misses of the article's 2,007 (range)"]
    header += ["change %", "95 %, these digits", "95 %, new digits"]
    header += ["unseen 7,993: change %", "these", "new", "all 10,000: change %", "these", "new", "p (Holm)", "verdict"]
    lines = []
    for row in dict.fromkeys([base, *names]):
        if not (results := rows.get(row)):
            continue
        line = [f"`{row}`", f"{results[0].parameters:,}", str(len(results)), spread(errors(results, "train"))]
        line += [ranged(misses(results))]
        found = compare(rows, base, row) if row != base else {}
        for digits in ("test", "unseen", "all"):
            line += change_cells(found[digits]) if digits in found else [NONE] * 3
        if row in judged:
            line += [p_value(judged[row][1]), f"*{judged[row][0]}*"]
        lines.append(line)
    return table(header, lines)


def change_cells(comparison: Comparison) -> list[str]:
    """The change in percent, and its intervals for these and for new digits."""
    these, new = comparison.change_interval("these digits"), comparison.change_interval()
    return [signed(comparison.change) if math.isfinite(comparison.change) else NONE, percents(these), percents(new)]
