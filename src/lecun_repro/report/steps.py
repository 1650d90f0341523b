"""Steps from row to row: each an own comparison, on every set of digits, with verdicts for the whole family."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lecun_repro.report.comparison import Comparison, compare
from lecun_repro.report.results import Rows
from lecun_repro.report.rules import Rules
from lecun_repro.report.statistics import holm
from lecun_repro.report.tables import DIGITS, NONE, digits_names, p_value, percents, runs_of, signed, span, table

NOT_DECIDED = "not decided"


class Step(NamedTuple):
    """A row against the one it is a step from."""

    found: dict[str, Comparison]  # by the name of the digits, the judged ones first
    p: float  # of a difference, adjusted
    verdict: str
    needed: str  # what would decide it, where it is not decided

    @property
    def judged(self) -> Comparison:
        return next(iter(self.found.values()))


def steps(rows: Rows, pairs: Sequence[tuple[str, str]], rules: Rules) -> list[Step]:
    """Those that can be compared; p-values are adjusted over them."""
    found = [each for base, row in pairs if (each := compare(rows, base, row))]
    judged = [next(iter(each.values())) for each in found]
    margin = rules.substantial_percent
    different = holm([c.p for c in judged])
    within = holm([c.p_within(-margin, margin) for c in judged])
    return [
        Step(each, p, *verdict(c, p, p_within, rules))
        for each, c, p, p_within in zip(found, judged, different, within, strict=True)
    ]


def verdict(comparison: Comparison, p: float, p_within: float, rules: Rules) -> tuple[str, str]:
    """The verdict from adjusted p-values, of a difference and of equivalence; and what would decide it."""
    level, margin = rules.level, rules.substantial_percent
    if p < level:
        return "better" if comparison.change < 0 else "worse", ""
    if p_within < level:
        return f"equivalent within {margin:g} %", ""
    tests: list[tuple[Callable[[Comparison], float], float]] = [
        (lambda c: c.p, p),
        (lambda c: c.p_within(-margin, margin), p_within),
    ]
    levels = [level * min(1, of(comparison) / adjusted) for of, adjusted in tests]
    return NOT_DECIDED, comparison.decided_by(
        lambda c: min(of(c) / at * level for (of, _), at in zip(tests, levels, strict=True)), level
    )


def steps_table(found: Sequence[Step], published: Callable[[str, str], str] | None = None) -> str:
    """Every step; with `published`, the article's own change of it."""
    names = digits_names((name, c.of_digits) for step in found for name, c in step.found.items())
    header = ["step", "n", "judged on", "difference, points", "95 %, these digits", "95 %, new digits"]
    header += [f"change %, {words} (95 %, new digits)" for words in names.values()]
    header += [*(["the article's change %"] if published else []), "p (Holm)", "verdict", "would decide it"]
    lines = []
    for step in found:
        c = step.judged
        line = [
            f"`{c.base}` → `{c.row}`",
            runs_of(c),
            DIGITS[c.digits].format(c.of_digits),
            f"{c.difference().estimate:+.2f}",
        ]
        line += [span(c.difference("these digits").interval(), sign="+"), span(c.difference().interval(), sign="+")]
        for name in names:
            of = step.found.get(name)
            line.append(f"{signed(of.change)} ({percents(of.change_interval())})" if of else NONE)
        line += [published(c.base, c.row)] if published else []
        lines.append([*line, p_value(step.p), f"*{step.verdict}*", step.needed or NONE])
    return table(header, lines)
