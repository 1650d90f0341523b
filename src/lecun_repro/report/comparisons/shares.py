"""What each ingredient is worth: as the first and as the last to be added, or as a share of a gain."""

import numpy as np

from lecun_repro.report.comparison import (
    Comparison,
    Crossed,
    Effect,
    Weights,
    compare,
    decided_by,
    delta,
    fieller,
    missed,
)
from lecun_repro.report.comparisons.answers import FAILS, HOLDS, NOT_DECIDED, NOT_RUN, Answer, Claim, Terms
from lecun_repro.report.comparisons.figures import shares_figure
from lecun_repro.report.comparisons.gains import change_cells, in_figure, judged_comparison
from lecun_repro.report.results import Rows
from lecun_repro.report.statistics import Interval
from lecun_repro.report.tables import NONE, p_value, percents, runs_of, signed, span, table


def shares(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """Each ingredient added alone to the first row, and added last to the last row."""
    lines, orders, p_values, within, pairs = [], [], [], [], {}
    wanted = sum("taken" in part for part in claim["ingredients"])
    for part in claim["ingredients"]:
        first = judged_comparison(rows, part.get("first", claim["first"]), part["added"])
        last = judged_comparison(rows, part["taken"], claim["last"]) if "taken" in part else None
        if first and last and first.digits != last.digits:  # not all four rows have the unseen ones
            first, last = (compare(rows, c.base, c.row)["test"] for c in (first, last))
        line = [part["name"], *cells(first), *cells(last)]
        if first or last:
            pairs[part["name"]] = tuple(in_figure(c, NOT_DECIDED) if c else None for c in (first, last))
        if first and last:
            effect = difference_of_changes(first, last)
            interval = effect.interval()
            p = terms.family(("order", part["name"]), effect.p)
            p_values.append(p)
            narrow = effect.interval(1 - 2 * terms.rules.level)
            within.append(-terms.substantial <= narrow.low and narrow.high <= terms.substantial)
            orders.append(f"{part['name']} {signed(first.change)}, {signed(last.change)}")
            line += [signed(effect.estimate), percents(interval), p_value(p)]
        lines.append(line)
    verdict = NOT_DECIDED if len(p_values) == wanted else NOT_RUN
    if p_values and min(p_values) < terms.rules.level:
        verdict = HOLDS
    elif len(within) == wanted and all(within):
        verdict = FAILS
    header = ["ingredient", "n", "added first: change %", "95 %, these digits", "95 %, new digits"]
    header += ["n", "added last: change %", "95 %, these digits", "95 %, new digits"]
    header += ["first less last", "95 %, new digits", "p (Holm)"]
    measured = f"change of the error in percent when added first, last: {'; '.join(orders)}" if orders else NOT_RUN
    figure = (lambda: shares_figure(pairs)) if pairs else None
    return Answer(claim, verdict, measured, table(header, lines), figure)


def cells(comparison: Comparison | None) -> list[str]:
    """n, the change in percent and its intervals."""
    return [NONE] * 4 if comparison is None else [runs_of(comparison), *change_cells(comparison)]


def difference_of_changes(first: Comparison, last: Comparison) -> Effect:
    """The first change less the last, in points of percent; the digits are the same."""
    crossed = Crossed([[grid] for comparison in (first, last) for grid in comparison.grids])
    a, b, c, d = crossed.mean[:, 0]
    gradient = [[-100 * b / a**2], [100 / a], [100 * d / c**2], [-100 / c]]
    return delta(crossed, first.change - last.change, gradient)


def grids_of(rows: Rows, names: list[str]) -> list[np.ndarray] | None:
    """The rows' grids on the digits that all are judged on; none where one was not run."""
    if any(len(rows.get(name, [])) < 2 for name in names):
        return None
    unseen = all("unseen" in result.splits for name in names for result in rows[name])
    return [missed(rows[name], "unseen" if unseen else "test") for name in names]


def share_of_gain(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """One ingredient's share of what two buy together: the mean of its gain as the first and as the last of them.

    With errors n (neither), a (the one), b (the other), t (both together), its share is (n - a + b - t) / 2(n - t),
    which is above one half exactly where b > a.
    """
    names = [claim[key] for key in ("neither", "one", "other", "both")]
    found = grids_of(rows, names)
    if found is None:
        return Answer(claim, NOT_RUN, f"one of {', '.join(f'`{name}`' for name in names)} was {NOT_RUN}")
    crossed = Crossed([[grid] for grid in found])
    half, gain = [[0.5], [-0.5], [0.5], [-0.5]], [[1], [0], [0], [-1]]
    ahead = crossed.effect([[0], [-1], [1], [0]])  # b - a
    verdict, p = terms.judged(("share", *names), 2 * (1 - ahead.p_below(0)), 2 * ahead.p_below(0))
    share = crossed.effect(half).estimate / crossed.effect(gain).estimate
    ratios = (fieller(crossed, half, gain, scope) for scope in ("these digits", "new digits"))
    these, new = (span(Interval(100 * low, 100 * high), 0) for low, high in ratios)
    text = f"{100 * share:.0f} % of the gain (95 %: {these} for these digits, {new} for new ones"
    more = needed(crossed, [[0], [-1], [1], [0]], terms, verdict, p)
    lines = [[f"`{name}`", str(len(grid)), f"{100 * grid.mean():.2f}"] for name, grid in zip(names, found, strict=True)]
    details = table(["row", "n", "error %"], lines)
    return Answer(claim, verdict, f"{text}; n = {min(map(len, found))}), p {p_value(p)}{more}", details)


def needed(crossed: Crossed, weights: Weights, terms: Terms, verdict: str, p: float) -> str:
    """What would decide whether a sum of errors lies above or below 0, where it is not decided."""
    if verdict != NOT_DECIDED:
        return ""
    level = terms.raw_level(crossed.effect(weights).p, p)
    runs, digits = [int(n) for n in crossed.runs], int(crossed.digits[0])
    told = decided_by(lambda *more: crossed.effect(weights, "new digits", *more).p, runs, digits, level)
    return f"; {told} would decide it"


def interaction(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """Whether a change adds more error, or takes away less, in one setting than in another."""
    names = [*claim["more"], *claim["less"]]
    found = grids_of(rows, names)
    if found is None:
        return Answer(claim, NOT_RUN, f"one of {', '.join(f'`{name}`' for name in names)} was {NOT_RUN}")
    crossed = Crossed([[100 * grid] for grid in found])
    weights = [[-1], [1], [1], [-1]]
    effect = crossed.effect(weights)
    verdict, p = terms.judged(("interaction", *names), 2 * (1 - effect.p_below(0)), 2 * effect.p_below(0))
    new, these = effect.interval(), crossed.effect(weights, "these digits").interval()
    a, b, c, d = (100 * grid.mean() for grid in found)
    text = (
        f"error {b - a:+.2f} points from `{names[0]}` to `{names[1]}`, {d - c:+.2f} from `{names[2]}` to `{names[3]}`: "
        f"{effect.estimate:+.2f} more (95 %: {span(these, sign='+')} for these digits, {span(new, sign='+')} "
        f"for new ones; n = {min(map(len, found))}), p {p_value(p)}{needed(crossed, weights, terms, verdict, p)}"
    )
    lines = [[f"`{name}`", str(len(grid)), f"{100 * grid.mean():.2f}"] for name, grid in zip(names, found, strict=True)]
    return Answer(claim, verdict, text, table(["row", "n", "error %"], lines))
