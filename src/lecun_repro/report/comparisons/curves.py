"""Test error against training digits, and against parameters."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lecun_repro.report.comparison import Comparison
from lecun_repro.report.comparisons.answers import NOT_RUN, Answer, Change, Claim, Terms, all_of
from lecun_repro.report.comparisons.figures import Series, parameters_figure, sizes_figure
from lecun_repro.report.comparisons.gains import (
    better,
    change_of,
    gains_table,
    in_figure,
    judged_comparison,
    needed,
    substantial_gain,
)
from lecun_repro.report.published import against, words_of
from lecun_repro.report.results import Rows, errors
from lecun_repro.report.statistics import PowerLaw, mean_interval, of_error, power_law, prediction_interval
from lecun_repro.report.tables import NONE, mean_cells, p_value, span, spread, table
from lecun_repro.runs.results import RunResult


class Curve(NamedTuple):
    """One series over sizes: its runs, the law through their means, and the article's points."""

    name: str
    runs: dict[int, list[RunResult]]  # by size
    law: PowerLaw
    article: dict[int, float]
    largest: int  # of the sizes that the claim names
    step: Comparison | None  # from the base size to the largest

    @property
    def errors(self) -> dict[int, list[float]]:
        """Of the test digits, in percent, by size."""
        return {size: errors(results) for size, results in self.runs.items()}


def curve_over_sizes(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """Test error against digits, with power laws and the article's points."""
    unit = claim["base_size"]
    verdicts, measured, curves = [], [], []
    changes: dict[str, Change] = {}
    for part in claim["series"]:
        curve = curve_of(part, rows, unit)
        curves += [curve] if curve else []
        if curve is None or curve.step is None:
            verdicts.append(NOT_RUN)
            measured.append(f"{part['name']}: {NOT_RUN if curve else 'fewer than three sizes'}")
            continue
        p_values = substantial_gain(curve.step, terms)
        verdict, p = terms.judged(("substantial_gain", curve.step.base, curve.step.row), *p_values)
        verdicts.append(verdict)
        step = f"{curve.name}, {unit:,} to {curve.largest:,} digits"
        measured.append(f"{step}: {change_of(curve.step)}, p {p_value(p)}, *{verdict}*")
        measured[-1] += needed(curve.step, substantial_gain, terms, verdict, p)
        changes[f"{curve.name}: {curve.largest:,} against {unit:,} digits"] = in_figure(curve.step, verdict)
    curves += filter(None, (curve_of(part, rows, unit) for part in claim.get("beside", [])))
    panels: dict[str, list[Series]] = {}
    for curve in curves:
        name, _, panel = curve.name.partition(", ")
        panels.setdefault(panel, []).append(Series(name, curve.errors, curve.law, curve.article))
    details = [text for curve in curves for text in (law_note(curve), sizes_table(curve))]
    figure = (lambda: sizes_figure(panels)) if panels else None
    return Answer(claim, all_of(verdicts), "; ".join(measured), "\n\n".join(details), figure, changes)


def curve_of(part: Mapping, rows: Rows, unit: int) -> Curve | None:
    """None with fewer than three sizes, which any law fits."""
    runs = {int(size): rows[row] for size, row in part["rows"].items() if row in rows}
    if len(runs) < 3:
        return None
    law = power_law(list(runs), [float(np.mean(errors(results))) for results in runs.values()], unit)
    article = {int(size): error for size, error in part["article"].items()}
    largest = max(map(int, part["rows"]))
    step = judged_comparison(rows, part["rows"][str(unit)], part["rows"][str(largest)])
    return Curve(part["name"], runs, law, article, largest, step)


def exponents(curve: Curve) -> list[float]:
    """The exponent of every seed's own curve, of the seeds that have all sizes."""
    by_seed = [{result.seed: result.test.error for result in results} for results in curve.runs.values()]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    sizes, unit = list(curve.runs), curve.law.unit
    return [power_law(sizes, [of_size[seed] for of_size in by_seed], unit).exponent for seed in seeds]


def law_note(curve: Curve) -> str:
    """The step to the largest size, the law, and whether the article's points lie on it."""
    law, of_seeds = curve.law, exponents(curve)
    mean = NONE
    if of_seeds:
        interval = span(mean_interval(of_seeds))
        mean = f"{np.mean(of_seeds):.2f} (95 % of the mean {interval}, n = {len(of_seeds)})"
    step = change_of(curve.step) if curve.step else NOT_RUN
    (n1, e1), (n2, e2) = sorted(curve.article.items())
    implied = math.log(e1 / e2) / math.log(n2 / n1)
    residuals = {size: [math.log(e / law(size)) for e in of_size] for size, of_size in curve.errors.items()}
    beyond = prediction_interval([residual for of_size in residuals.values() for residual in of_size])
    points = [
        f"{error:.2f} % at {size:,} lies *{'on' if math.log(error / law(size)) in beyond else 'off'}* the law, "
        f"whose new seeds are expected from {law(size) * math.exp(beyond.low):.2f} to "
        f"{law(size) * math.exp(beyond.high):.2f} % (from our own seeds at that size: {expected(curve, size)})"
        for size, error in curve.article.items()
    ]
    misfit, misfit_size = max((abs(np.mean(of_size)), size) for size, of_size in residuals.items())
    return (
        f"**{curve.name}.** From {law.unit:,} to {curve.largest:,} digits: {step}. Law of the "
        f"means: error = {law.scale:.2f} % * (digits / {law.unit:,}) ^ -{law.exponent:.2f}; exponent over seeds "
        f"{mean}; the article's two points imply {implied:.2f}. The means lie up to {100 * misfit:.0f} % off it (at "
        f"{misfit_size:,} digits). The article's {'; its '.join(points)}."
    )


def expected(curve: Curve, size: int) -> str:
    """Where one new seed of ours is expected, or nothing where too few were run."""
    values = curve.errors.get(size, [])
    return f"{span(of_error(prediction_interval(values)))} %" if len(values) > 1 else "too few"


def sizes_table(curve: Curve) -> str:
    lines = []
    for size, results in curve.runs.items():
        line = [f"{size:,}", str(len(results)), f"{results[0].passes}", f"{results[0].updates:,}"]
        line += [spread(errors(results, "train")), *mean_cells(errors(results)), f"{curve.law(size):.2f}"]
        lines.append([*line, f"{curve.article[size]:.2f}" if size in curve.article else NONE])
    header = ["digits", "n", "passes", "updates", "train error %", "test error %", "95 % of the mean", "law", "article"]
    return table(header, lines)


def error_against_parameters(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """Test error of networks of several sizes; the verdict is on the largest of all that the claim names."""
    base = claim["base"]
    present = dict(sorted((rows[row][0].parameters, row) for row in claim["rows"] if row in rows))
    found = {row: judged_comparison(rows, base, row) for row in present.values() if row != base}
    comparisons = {row: comparison for row, comparison in found.items() if comparison is not None}
    if not comparisons:
        return Answer(claim, NOT_RUN, NOT_RUN)
    largest = claim["rows"][-1]  # which is judged
    judged = {}
    if largest in comparisons:
        judged[largest] = terms.judged(("better", base, largest), *better(comparisons[largest], terms))
    verdict = judged.get(largest, (NOT_RUN,))[0]
    measured = [f"`{row}`, {rows[row][0].parameters:,} parameters: {change_of(c)}" for row, c in comparisons.items()]
    lines = []
    for size, row in present.items():
        results = rows[row]
        line = [f"`{row}`", f"{size:,}", str(len(results)), spread(errors(results, "train"))]
        us = np.median([result.us_per_update for result in results])
        lines.append([*line, *mean_cells(errors(results)), f"{us:,.0f}"])
    header = ["row", "parameters", "n", "train error %", "test error %", "95 % of the mean", "µs per update"]
    details = table(header, lines) + "\n\n" + gains_table(rows, base, list(comparisons), judged)
    changes = {against(row, base): in_figure(c, judged.get(row, ("",))[0]) for row, c in comparisons.items()}

    def figure() -> Figure:
        titles = {size: words_of(row) for size, row in present.items()}
        return parameters_figure({size: errors(rows[row]) for size, row in present.items()}, titles)

    return Answer(claim, verdict, "; ".join(measured), details, figure, changes)
