"""How long it takes to train to an error, and to recognise a digit."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lecun_repro.report.comparisons.answers import FAILS, HOLDS, NOT_DECIDED, NOT_RUN, Answer, Claim, Terms, all_of
from lecun_repro.report.comparisons.figures import Progress, times_figure
from lecun_repro.report.results import Rows, curve_errors
from lecun_repro.report.statistics import Interval, mean_interval
from lecun_repro.report.tables import median, span, spread, table
from lecun_repro.runs.results import RunResult

SLOWER = 1.1  # times the latency: no longer the same


class Reached(NamedTuple):
    """When a run first had an error."""

    passes: int
    updates: float
    seconds: float  # in updates


def reached(result: RunResult, error: float) -> Reached | None:
    """The first evaluated pass with at most so much test error, in percent; None where there is none."""
    for entry in result.curve:
        if "test" in entry.splits and entry.splits["test"].error <= error:
            updates = result.updates * entry.pass_ / result.passes
            return Reached(entry.pass_, updates, updates * result.us_per_update / 1e6)
    return None


def time_to_an_error(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """Passes, updates and seconds to each error of a series; the first row's seconds over the last one's.

    The verdict is on the first error of each.
    """
    verdicts, measured, details = [], [], []
    for part in claim["series"]:
        runs = {label: rows.get(row, []) for label, row in part["rows"].items()}
        answers = [speedup(runs, error, claim["factor"]) for error in part["errors"]]
        for error, (_, text) in zip(part["errors"], answers, strict=True):
            details += [f"**{part['name']}**, to {error:.2f} % test error: {text}. Medians, in brackets the range."]
            details += [times_table(part["rows"], runs, error)]
        verdict, text = answers[0]
        verdicts.append(verdict)
        measured.append(f"{part['name']}: {text}")
    verdict, text = all_of(verdicts), "; ".join(measured)
    if device := claim.get("device_not_at_hand"):
        verdict, text = NOT_DECIDED, f"{device} was not at hand; on one CPU core, {text}"
    drawn = ((part, progress(part, rows)) for part in claim["series"])
    panels = {part["name"]: (part["errors"], curves) for part, curves in drawn if curves}
    figure = (lambda: times_figure(panels)) if panels else None
    return Answer(claim, verdict, text, "\n\n".join(details), figure)


def progress(part: Mapping[str, Any], rows: Rows) -> dict[str, Progress]:
    """The curves of a series' rows, medians over seeds."""
    curves = {}
    for label, row in part["rows"].items():
        if results := rows.get(row):
            passes, errors = curve_errors(results, "test")
            seconds = np.median([r.us_per_update for r in results]) / 1e6 * results[0].updates / results[0].passes
            curves[label] = Progress([seconds * number for number in passes], np.median(errors, axis=0).tolist())
    return curves


def speedup(runs: Mapping[str, Sequence[RunResult]], error: float, factor: float) -> tuple[str, str]:
    """The verdict on, and a line about, the first label's seconds to an error over the last one's."""
    times = {
        label: {result.seed: to.seconds for result in results if (to := reached(result, error))}
        for label, results in runs.items()
    }
    labels = list(runs)
    ends = list(dict.fromkeys((labels[0], labels[-1])))
    text = " and ".join(f"{len(times[label])} of {len(runs[label])} runs in batches of {label}" for label in ends)
    text += f" reach {error:.2f} %"
    first, last = times[ends[0]], times[ends[-1]]
    ratios = [math.log(seconds / last[seed]) for seed, seconds in first.items() if seed in last]
    if len(runs) < 2 or len(ratios) < 2:
        return NOT_DECIDED, text
    low, high = map(math.exp, mean_interval(ratios))
    text += (
        f", the latter {math.exp(np.mean(ratios)):.2g} times as fast (95 %: {low:.2g} to {high:.2g}; n = {len(ratios)})"
    )
    if any(len(times[label]) < len(runs[label]) for label in ends):
        return NOT_DECIDED, text
    return (HOLDS if low >= factor else FAILS if high < factor else NOT_DECIDED), text


def times_table(names: Mapping[str, str], runs: Mapping[str, Sequence[RunResult]], error: float) -> str:
    """Per row how many runs reach the error, and when."""
    lines = []
    for label, results in runs.items():
        line = [label, f"`{names[label]}`", str(len(results))]
        if results:
            there = [to for result in results if (to := reached(result, error))]
            line += [str(results[0].passes), f"{len(there)} of {len(results)}", median([to.passes for to in there])]
            line += [median([to.updates for to in there]), median([to.seconds for to in there], 2)]
            line += [f"{np.median([result.us_per_update for result in results]):,.0f}"]
            line += [spread([min(errors) for errors in curve_errors(results, "test")[1]])]
        lines.append(line)
    header = ["batch", "row", "n", "passes trained", "reach it", "passes to it", "updates to it", "seconds to it"]
    return table([*header, "µs per update", "lowest test error %"], lines)


def inference(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """Latencies of one digit, from a benchmark's measurements with row, engine, latency_us and latency_us_iqr."""
    first, last = claim["first"], claim["last"]
    try:
        measurements = json.loads((terms.folder / claim["file"]).read_text())["measurements"]
        measured = {(entry["engine"], entry["row"]): latency(entry) for entry in measurements}
    except (OSError, ValueError, KeyError, TypeError):
        measured = {}
    engines = [engine for engine, row in measured if row == first and (engine, last) in measured]
    verdicts, lines, ratios = [], [], []
    for engine in engines:
        (before, of_before), (after, of_after) = measured[engine, first], measured[engine, last]
        ratio = after / before
        slower = of_after.low > of_before.high  # and not by chance
        told = HOLDS if ratio <= SLOWER else FAILS if slower else NOT_DECIDED
        if claim.get("slower"):  # is what is claimed
            told = HOLDS if slower and ratio > SLOWER else FAILS if ratio <= SLOWER else NOT_DECIDED
        verdicts.append(told)
        ratios.append(f"{engine} {ratio:.2f}")
        lines.append([engine, f"{before:,.1f}", span(of_before, 1), f"{after:,.1f}", span(of_after, 1), f"{ratio:.2f}"])
    if not engines:
        return Answer(claim, NOT_RUN, "not measured")
    header = ["engine", f"`{first}`, µs", "quartiles", f"`{last}`, µs", "quartiles", "ratio"]
    text = f"latency of one digit, `{last}` over `{first}`: {', '.join(ratios)}"
    return Answer(claim, all_of(verdicts), text, table(header, lines))


def latency(entry: Mapping[str, Any]) -> tuple[float, Interval]:
    """The median and its quartiles."""
    low, high = entry["latency_us_iqr"]
    return float(entry["latency_us"]), Interval(float(low), float(high))
