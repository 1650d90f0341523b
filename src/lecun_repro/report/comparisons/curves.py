"""Test error against training digits, and against parameters."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lecun_repro.report.comparisons.answers import NOT_SHOWN, Answer, Claim, Given, all_of
from lecun_repro.report.comparisons.figures import Series, parameters_figure, sizes_figure
from lecun_repro.report.comparisons.gains import (
    Gain,
    change_of,
    changes_of,
    further_gain,
    gain,
    gains_table,
    substantial_gain,
)
from lecun_repro.report.results import Results, Rows, test_errors
from lecun_repro.report.statistics import PowerLaw, mean_interval, power_law, prediction_interval
from lecun_repro.report.tables import NONE, span, spread, table


class Curve(NamedTuple):
    """One series over sizes: its runs, the law through their means, and the article's points."""

    name: str
    runs: dict[int, list[Results]]  # by size
    law: PowerLaw
    article: dict[int, float]
    largest: int  # of the sizes that the claim names
    step: Gain | None  # from the base size to the largest

    @property
    def errors(self) -> dict[int, list[float]]:
        return {size: test_errors(results) for size, results in self.runs.items()}


def curve_over_sizes(claim: Claim, rows: Rows, given: Given) -> Answer:
    """Test error against digits, with power laws and the article's points."""
    unit = claim["base_size"]
    judged = [curve_of(part, rows, unit) for part in claim["series"]]
    curves = [c for c in (*judged, *(curve_of(part, rows, unit) for part in claim.get("beside", []))) if c is not None]
    verdicts = [NOT_SHOWN if c is None or c.step is None else substantial_gain(c.step, given) for c in judged]
    measured = [
        f"{c.name}, {unit:,} to {c.largest:,} digits: {change_of(c.step)}, *{verdict}*"
        if c
        else f"{part['name']}: fewer than three sizes"
        for part, c, verdict in zip(claim["series"], judged, verdicts, strict=True)
    ]
    panels: dict[str, list[Series]] = {}
    for curve in curves:
        name, _, panel = curve.name.partition(", ")
        panels.setdefault(panel, []).append(Series(name, curve.errors, curve.law, curve.article))
    details = [text for curve in curves for text in (law_note(curve), sizes_table(curve))]
    figure = sizes_figure(panels) if panels else None
    changes = {f"{c.name}: {c.largest:,} against {unit:,} digits": c.step.changes for c in judged if c and c.step}
    return Answer(claim, all_of(verdicts), "; ".join(measured), "\n\n".join(details), figure, changes)


def curve_of(part: Mapping, rows: Rows, unit: int) -> Curve | None:
    """None with fewer than three sizes, which any law fits."""
    runs = {int(size): rows[row] for size, row in part["rows"].items() if row in rows}
    if len(runs) < 3:
        return None
    law = power_law(list(runs), [float(np.mean(test_errors(results))) for results in runs.values()], unit)
    article = {int(size): error for size, error in part["article"].items()}
    largest = max(map(int, part["rows"]))
    step = gain(rows, part["rows"][str(unit)], part["rows"][str(largest)])
    return Curve(part["name"], runs, law, article, largest, step)


def exponents(curve: Curve) -> list[float]:
    """The exponent of every seed's own curve, of the seeds that have all sizes."""
    errors = {size: {r["seed"]: r["test"]["error"] for r in results} for size, results in curve.runs.items()}
    seeds = sorted(set.intersection(*(set(each) for each in errors.values())))
    unit = curve.law.unit
    return [power_law(list(errors), [each[seed] for each in errors.values()], unit).exponent for seed in seeds]


def law_note(curve: Curve) -> str:
    """The step to the largest size, the law, and whether the article's points lie on it."""
    law, found = curve.law, exponents(curve)
    mean = f"{np.mean(found):.2f} (95 % of the mean {span(mean_interval(found))}, n = {len(found)})" if found else NONE
    (n1, e1), (n2, e2) = sorted(curve.article.items())
    implied = math.log(e1 / e2) / math.log(n2 / n1)
    beyond = prediction_interval([math.log(e / law(size)) for size, each in curve.errors.items() for e in each])
    points = [
        f"{error:.2f} % at {size:,} lies *{'on' if math.log(error / law(size)) in beyond else 'off'}* the law, "
        f"whose new seeds are expected from {law(size) * math.exp(beyond.low):.2f} to "
        f"{law(size) * math.exp(beyond.high):.2f} % (from our own seeds at that size: {expected(curve, size)})"
        for size, error in curve.article.items()
    ]
    misfit = max((abs(np.mean([math.log(e / law(size)) for e in each])), size) for size, each in curve.errors.items())
    return (
        f"**{curve.name}.** From {law.unit:,} to {curve.largest:,} digits: {change_of(curve.step)}. Law of the "
        f"means: error = {law.scale:.2f} % * (digits / {law.unit:,}) ^ -{law.exponent:.2f}; exponent over seeds "
        f"{mean}; the article's two points imply {implied:.2f}. The means lie up to {100 * misfit[0]:.0f} % off it (at "
        f"{misfit[1]:,} digits). The article's {'; its '.join(points)}."
    )


def expected(curve: Curve, size: int) -> str:
    """Where one new seed of ours is expected, or nothing where too few were run."""
    found = curve.errors.get(size, [])
    return f"{span(prediction_interval(found))} %" if len(found) > 1 else "too few"


def sizes_table(curve: Curve) -> str:
    lines = []
    for size, results in curve.runs.items():
        line = [f"{size:,}", str(len(results)), f"{results[0]['passes']}", f"{results[0]['updates']:,}"]
        line += [spread([r["train"]["error"] for r in results]), spread(curve.errors[size])]
        line += [span(mean_interval(curve.errors[size])), f"{curve.law(size):.2f}"]
        lines.append([*line, f"{curve.article[size]:.2f}" if size in curve.article else NONE])
    header = ["digits", "n", "passes", "updates", "train error %", "test error %", "95 % of the mean", "law", "article"]
    return table(header, lines)


def error_against_parameters(claim: Claim, rows: Rows, given: Given) -> Answer:
    """Test error of networks of several sizes; the verdict is on the largest of all that the claim names."""
    present = {rows[row][0]["parameters"]: row for row in claim["rows"] if row in rows}
    found = {row: gain(rows, claim["base"], row) for _, row in sorted(present.items()) if row != claim["base"]}
    if not found:
        return Answer(claim, NOT_SHOWN, "not run")
    largest = gain(rows, claim["base"], claim["rows"][-1])
    verdict = NOT_SHOWN if largest is None else further_gain(largest, given)
    measured = [f"`{row}`, {rows[row][0]['parameters']:,} parameters: {change_of(each)}" for row, each in found.items()]
    lines = []
    for size, row in sorted(present.items()):
        errors = test_errors(rows[row])
        line = [f"`{row}`", f"{size:,}", str(len(errors)), spread([r["train"]["error"] for r in rows[row]])]
        us = np.median([r["us_per_update"] for r in rows[row]])
        lines.append([*line, spread(errors), span(mean_interval(errors)), f"{us:,.0f}"])
    header = ["row", "parameters", "n", "train error %", "test error %", "95 % of the mean", "µs per update"]
    details = table(header, lines)
    details += "\n\n" + gains_table(claim["base"], found, further_gain, given)
    errors_of: dict[int, Sequence[float]] = {size: test_errors(rows[row]) for size, row in sorted(present.items())}
    figure = parameters_figure(errors_of, present)
    return Answer(claim, verdict, "; ".join(measured), details, figure, changes_of(found, claim["base"]))
