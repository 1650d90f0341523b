"""What each ingredient is worth as the first and as the last to be added."""

import numpy as np

from lecun_repro.report.comparisons.answers import FAILS, HOLDS, NOT_SHOWN, Answer, Claim, Terms
from lecun_repro.report.comparisons.figures import shares_figure
from lecun_repro.report.comparisons.gains import Gain, gain_of, percents, signed
from lecun_repro.report.results import Rows
from lecun_repro.report.statistics import SIGNIFICANT, mean_interval, p_of_mean
from lecun_repro.report.tables import NONE, table


def shares(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """Each ingredient added alone to the first row, and added last to the last row."""
    lines, orders, p_values, within, seeds = [], [], [], [], set()
    changes: dict[str, tuple[list[float], list[float]]] = {}
    for part in claim["ingredients"]:
        first = gain_of(rows, part.get("first", claim["first"]), part["added"])
        last = gain_of(rows, part["taken"], claim["last"]) if "taken" in part else None
        line = [part["name"], *cells(first), *cells(last)]
        seeds |= {gain.n for gain in (first, last) if gain}
        if first or last:
            changes[part["name"]] = (first.changes if first else [], last.changes if last else [])
        differences = difference_of_changes(first, last) if first and last else []
        if first and last and len(differences) > 1:
            interval, p = mean_interval(differences), p_of_mean(differences)
            p_values.append(p)
            within.append(-terms.substantial <= interval.low and interval.high <= terms.substantial)
            orders.append(f"{part['name']} {signed(np.mean(first.changes))}, {signed(np.mean(last.changes))}")
            line += [str(len(differences)), signed(np.mean(differences)), percents(interval), f"{p:.2g}"]
        lines.append(line)
    wanted = sum("taken" in part for part in claim["ingredients"])
    verdict = NOT_SHOWN
    if p_values and min(p_values) * wanted < SIGNIFICANT:
        verdict = HOLDS
    elif len(within) == wanted and all(within):
        verdict = FAILS
    header = ["ingredient", "n", "added first: change %", "95 %", "", "n", "added last: change %", "95 %", ""]
    header += ["n, of both", "first less last", "95 %", "p"]
    measured = "no ingredient has been run both ways"
    if orders:
        n = " to ".join(map(str, dict.fromkeys((min(seeds), max(seeds)))))
        measured = f"percent of test misses when added first, last: {'; '.join(orders)} (n = {n})"
    return Answer(claim, verdict, measured, table(header, lines), shares_figure(changes) if changes else None)


def cells(gain: Gain | None) -> list[str]:
    """n, the mean change and its interval in percent, and whether it is one at all."""
    if gain is None:
        return ["0", NONE, NONE, NONE]
    interval = mean_interval(gain.changes)
    return [str(gain.n), signed(np.mean(gain.changes)), percents(interval), f"*{gain.improved}*"]


def difference_of_changes(first: Gain, last: Gain) -> list[float]:
    """The first change less the last, in points of percent, for every seed that both have."""
    of_first, of_last = (
        {result.seed: change for result, change in zip(gain.row, gain.changes, strict=True)} for gain in (first, last)
    )
    return [of_first[seed] - of_last[seed] for seed in of_first if seed in of_last]
