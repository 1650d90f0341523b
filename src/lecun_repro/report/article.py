"""The report on the article's rows."""

import math
from collections.abc import Sequence
from itertools import chain, islice, pairwise
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from lecun_repro.report import tables
from lecun_repro.report.against import COMPATIBLE, NOT_COMPATIBLE, Measure, joint, measures_table, of_article, verdict
from lecun_repro.report.comparison import MOST_SEEDS, Crossed, compare, decided_by, delta, grids
from lecun_repro.report.components import components_table
from lecun_repro.report.configurations import published_rows
from lecun_repro.report.figures import SHOWN, curves_figure, missed_digits, missed_figure, rows_figure
from lecun_repro.report.published import BASELINE, BASELINE_50K, BY_ROW, MODERN, MODERN_50K, PAPER_SECONDS, SECONDS
from lecun_repro.report.results import Rows, errors, misses
from lecun_repro.report.rules import Rules, rules_note
from lecun_repro.report.statistics import mean_interval, of_error, sd
from lecun_repro.report.steps import NOT_DECIDED, steps, steps_table
from lecun_repro.report.tables import DIGITS, NONE, digits_names, image, p_value, percents, ranged, span, spread, table
from lecun_repro.runs.results import RunResult

ABOUT = [
    "digits",
    "these digits",
    "new digits",
    "verdict",
    "article",
    "perturbed seed",
    "fitted to its digits",
    "variance components",
    "engine",
]  # the rules that this report goes by
COUNTS = """\
Ours: mean ± standard deviation over seeds. The 2,007 test digits are the article's, on which it chose its recipe; the
others of MNIST's 10,000 are unseen. The article's counts are corrected for its truncation: `int(error * n)` prints
eight of them one too low, four of the test's."""
FITTED_POINTS = 10  # by which a recipe may seem fitted to its digits, of the relative cut in percent


def figures(name: str, rows: Rows) -> dict[str, Figure | None]:
    """By file name: the rows, the learning curves, and the digits that the modern row misses."""
    own = published_rows(rows, "article")
    curves = curves_figure(rows, {row: BY_ROW[row].title for row in own})
    drawn: dict[str, Figure | None] = {f"{name}_steps.png": rows_figure(rows, own), f"{name}_curves.png": curves}
    if modern := rows.get(MODERN):
        first, taken_for = modern[0], missed_digits(modern, "test")
        digits = {"source": first.source, "draw": first.draw, "test_size": first.test.n}
        title = f" ({min(len(taken_for), SHOWN)} of {len(taken_for)})"
        drawn[f"{name}_missed.png"] = missed_figure(taken_for, len(modern), title, **digits)
    return drawn


def document(
    name: str, rows: Rows, draws: Rows, shown: Sequence[str], rules: Rules, perturbed: Rows, plain_loop: Rows
) -> str:
    """The whole report as Markdown, with the figures that are shown."""
    own = published_rows(rows, "article")
    found = steps(rows, step_pairs(rows, rules), rules)
    parts = [COUNTS, "## Rows", rows_table(rows), "## Against the article", against_the_article(own, rules)]
    parts += perturbed_rows(own, perturbed, rules)
    parts += ["## Steps", steps_table(found, published_change)] if found else []
    parts += fitted(own, rules)
    parts += list(map(image, shown))
    parts += ["## Seeds, draws and test digits", components_table(rows, draws)] if draws else []
    parts += engine(own, plain_loop, rules)
    parts += ["## The story in numbers", story] if (story := story_in_numbers(own)) else []
    runs = {**rows, **perturbed, **{f"{row} (other draws)": of_row for row, of_row in draws.items()}}
    runs |= {f"{row} (plain loop)": of_row for row, of_row in plain_loop.items()}
    all_runs = [*rows.values(), *draws.values(), *perturbed.values()]
    note = rules_note(rules, ABOUT, chain.from_iterable(all_runs))
    parts += ["## Rules", note] if note else []
    return tables.document(name, parts, runs)


def step_pairs(rows: Rows, rules: Rules) -> list[tuple[str, str]]:
    """The steps that the rules name, and those between rows that they do not."""
    named = [(before, after) for before, after in rules.families.get("steps", [])]
    known = {row for pair in named for row in pair}
    return [*named, *(pair for pair in pairwise(rows) if not known.issuperset(pair))]


def rows_table(rows: Rows) -> str:
    """Per row the errors: of training digits, and of the test digits in up to three sets, with both intervals."""
    of_rows = {row: grids(results) | with_unseen(results) for row, results in rows.items()}
    names = digits_names((name, grid.shape[1]) for found in of_rows.values() for name, grid in found.items())
    header = ["row", "seeds", "train error %", "train loss"]
    for words in names.values():
        header += [f"error %, {words}", "95 %, these", "95 %, new"]
    lines = []
    for row, found in of_rows.items():
        losses = [result.train.loss for result in rows[row]]
        line = [f"`{row}`", str(len(rows[row])), spread(errors(rows[row], "train")), f"{np.mean(losses):.2e}"]
        for name in names:
            line += error_cells(found[name], len(rows[row])) if name in found else [NONE] * 3
        lines.append(line)
    return table(header, lines)


def with_unseen(results: Sequence[RunResult]) -> dict[str, np.ndarray]:
    """The unseen digits and all of them, by those runs of a row that were evaluated on them."""
    found = grids(newer) if (newer := [result for result in results if "unseen" in result.splits]) else {}
    return {name: grid for name, grid in found.items() if name != "test"}


def error_cells(grid: np.ndarray, runs: int) -> list[str]:
    """A row's error in percent, mean ± standard deviation over runs, with their number if not all; two intervals."""
    crossed = Crossed([[100 * grid]])
    of_runs = spread(list(100 * grid.mean(1))) + (f" ({len(grid)})" if len(grid) < runs else "")
    intervals = [crossed.effect([[1]], scope).interval() for scope in ("these digits", "new digits")]
    return [of_runs, *(span(of_error(interval)) for interval in intervals)]


def against_the_article(own: Rows, rules: Rules) -> str:
    """Every row's verdict, the rows together, and every number."""
    measures = {row: of_article(BY_ROW[row], results) for row, results in own.items()}
    lines = []
    for row, of_row in measures.items():
        count, published = of_row[0], BY_ROW[row]
        line = [f"`{row}`", str(len(count.ours)), ranged(misses(own[row]))]
        line += [f"{published.test_misses} ({published.test_printed})", f"{count.percentile:.0f}"]
        line += [f"{count.half_width:.1f}", p_value(count.p)] if len(count.ours) > 1 else [NONE, NONE]
        lines.append([*line, f"*{verdict(of_row, rules.level)}*"])
    header = ["row", "seeds", "test misses of 2,007 (range)", "the article's (printed)", "its percentile among ours"]
    parts = [table([*header, "half-width of the interval", "p, unadjusted", "verdict"], lines)]
    return "\n\n".join([*parts, *together(own, rules), measures_table(measures)])


def together(own: Rows, rules: Rules) -> list[str]:
    """The verdict on all rows' test misses together; nothing of fewer than two rows."""
    found = (of_article(BY_ROW[row], results)[0] for row, results in own.items())
    counts = [count for count in found if len(count.ours) > 1]
    if len(counts) < 2:
        return []
    z, p = joint(counts)
    ours, published = sum(np.mean(count.ours) for count in counts), sum(count.published for count in counts)
    told = NOT_COMPATIBLE if p < rules.level else COMPATIBLE
    text = (
        f"**All {len(counts)} rows together**: *{told}*, the article misses {published:.0f} digits, ours {ours:.0f} in "
        f"the mean (Stouffer's z {z:+.2f}, p {p_value(p)})"
    )
    by_seed: dict[int, list[int]] = {}
    for row in own:
        for result in own[row] if len(own[row]) > 1 else ():
            by_seed.setdefault(result.seed, []).append(result.test.misses)
    totals = Measure("totals", published, [sum(found) for found in by_seed.values() if len(found) == len(counts)])
    if len(totals.ours) > 1:  # a seed's rows have something in common, which Stouffer's method does not know
        text += (
            f"; by the totals of the {len(totals.ours)} seeds that all rows have, {spread(totals.ours, 1)}, which does "
            f"not take a seed's rows to be independent, p {p_value(totals.p)}"
        )
    return [f"{text}."]


def perturbed_rows(own: Rows, perturbed: Rows, rules: Rules) -> list[str]:
    """Rows 1 to 3, which share the article's seed, against runs that differ from it in rounding alone."""
    by_number = {row.split("_")[0]: row for row in BY_ROW}
    measures: dict[str, list[Measure]] = {}
    for row, results in perturbed.items():
        if (published := BY_ROW.get(by_number.get(row.split("_")[0], ""))) is not None and len(results) > 1:
            measures[row] = of_article(published, results)
    if not measures:
        return []
    told = "; ".join(f"`{row}` *{verdict(of_row, rules.level)}*" for row, of_row in measures.items())
    others = {row.split("_")[0]: of_article(BY_ROW[row], results) for row, results in own.items() if len(results) > 1}
    z, p = joint([of_row[0] for of_row in (others | {row[0]: of_row for row, of_row in measures.items()}).values()])
    text = f"{told}. All rows together, with these in the place of theirs: Stouffer's z {z:+.2f}, p {p_value(p)}."
    return ["## Rows 1 to 3 from the article's own weights", text, measures_table(measures)]


def published_change(before: str, after: str) -> str:
    """The article's own change of the test misses, in percent."""
    if before not in BY_ROW or after not in BY_ROW:
        return NONE
    return f"{100 * (BY_ROW[after].test_misses / BY_ROW[before].test_misses - 1):+.0f}"


def fitted(own: Rows, rules: Rules) -> list[str]:
    """Was the recipe fitted to the article's 2,007 digits? Its cut of the error there less that on the unseen."""
    newer = [[result for result in own.get(row, []) if "unseen" in result.splits] for row in (BASELINE, MODERN)]
    if min(map(len, newer)) < 2:
        return []
    found = [grids(results) for results in newer]
    crossed = Crossed([[of_row["test"], of_row["unseen"]] for of_row in found])
    before, after = crossed.mean
    cuts = 100 * (1 - after / before)
    gradient = 100 * np.array([[1, -1] * after / before**2, [-1, 1] / before])
    effect = delta(crossed, cuts[0] - cuts[1], gradient)
    these = delta(crossed, cuts[0] - cuts[1], gradient, "these digits").interval()
    narrow, whole = effect.interval(1 - 2 * rules.level), effect.interval()

    def p_of(seeds: float, digits: float) -> float:
        with_more = crossed.effect(gradient, "new digits", seeds, digits)._replace(estimate=effect.estimate)
        within = max(with_more.p_below(FITTED_POINTS), 1 - with_more.p_below(-FITTED_POINTS))
        return min(within, with_more.p if effect.estimate > 0 else 1.0)

    told, needed = NOT_DECIDED, ""
    if whole.low > 0:
        told = "fitted"
    elif narrow.low > -FITTED_POINTS and narrow.high < FITTED_POINTS:
        told = f"not fitted by more than {FITTED_POINTS} points"
    if told == NOT_DECIDED:
        needed = decided_by(p_of, [len(results) for results in newer], found[0]["test"].shape[1], rules.level)
        needed = f" {needed[0].upper()}{needed[1:]} would decide it"
        needed += ", and the article has 2,007." if needed.endswith("digits would decide it") else "."
    return [
        "## Was the recipe fitted to its 2,007 digits?",
        f"*{told}*: from row 1 to row 5 the error is cut by {cuts[0]:.1f} % on the article's 2,007 digits and by "
        f"{cuts[1]:.1f} % on the unseen 7,993, a difference of {effect.estimate:+.1f} points (95 %: "
        f"{span(these, 1, '+')} for these digits, {span(whole, 1, '+')} for new ones; "
        f"n = {len(newer[0])} and {len(newer[1])}).{needed}",
    ]


def engine(own: Rows, plain_loop: Rows, rules: Rules) -> list[str]:
    """This engine against a plain loop: misses of the seeds that both have, which share weights, digits and order."""
    margin, lines = rules.engine_percent, []
    for row, plain in plain_loop.items():
        by_seed = {result.seed: result for result in own.get(row, [])}
        pairs = [(by_seed[result.seed], result) for result in plain if result.seed in by_seed]
        for split in plain[0].splits if len(pairs) > 1 else ():
            if not all(split in result.splits for pair in pairs for result in pair):
                continue
            ours, theirs = (np.array(misses(runs, split), float) for runs in zip(*pairs, strict=True))
            below, above = theirs - (1 + margin / 100) * ours, theirs - (1 - margin / 100) * ours

            def p_with(seeds: int, below: np.ndarray = below, above: np.ndarray = above) -> float:
                return max(p_of_sign(below, "less", seeds), p_of_sign(above, "greater", seeds))

            p = p_with(len(pairs))
            apart = min(p_of_sign(below, "greater"), p_of_sign(above, "less"))
            told = f"equivalent within {margin:g} %" if p < rules.level else NOT_DECIDED
            told = "apart" if 2 * apart < rules.level else told
            low, high = (100 * end / ours.mean() for end in mean_interval(theirs - ours, 1 - 2 * rules.level))
            agree = [
                len({*a.missed} & {*b.missed}) / max(1, len({*a.missed} | {*b.missed}))
                for a, b in ((one.splits[split], other.splits[split]) for one, other in pairs)
            ]
            line = [f"`{row}`", split, str(len(pairs)), spread(ours, 1), spread(theirs, 1)]
            line += [f"{100 * (theirs.mean() / ours.mean() - 1):+.1f} ({low:+.1f} to {high:+.1f})", p_value(p)]
            line += [f"*{told}*", f"{100 * np.mean(agree):.0f}"]
            enough = (f"about {n} seeds" for n in range(len(pairs), MOST_SEEDS) if p_with(n) < rules.level)
            lines.append([*line, *(islice(enough, 1) if told == NOT_DECIDED else ())])
    header = ["row", "split", "seeds", "misses, this engine", "misses, plain loop", "change % (90 %, these digits)"]
    header += ["p (TOST, paired by seed)", "verdict", "missed by both, % of those missed by either", "would decide it"]
    return ["## This engine and a plain loop", table(header, lines)] if lines else []


def p_of_sign(values: np.ndarray, side: Literal["less", "greater"], n: int | None = None) -> float:
    """One-sided p of the t-test that the mean lies on one side of 0, if it were the same of `n` values."""
    n = n or len(values)
    if np.ptp(values) == 0:
        return float(values[0] >= 0) if side == "less" else float(values[0] <= 0)
    below = stats.t(n - 1).cdf if side == "less" else stats.t(n - 1).sf
    return float(below(np.mean(values) / sd(values) * math.sqrt(n)))


def story_in_numbers(rows: Rows) -> str:
    """The article's own comparisons, computed from the runs."""
    lines = []
    if baseline := rows.get(BASELINE):
        seconds = [result.fit_seconds for result in baseline]
        lines.append(
            f"- **Time.** The paper trained for 3 days, the article's baseline for {SECONDS} seconds "
            f"({PAPER_SECONDS / SECONDS:,.0f} times faster). Here the same {baseline[0].updates:,} updates "
            f"with their evaluations take {tables.median(seconds, 1)} s on one core (the median, least and most of "
            f"{len(seconds)} runs beside others): {PAPER_SECONDS / np.median(seconds):,.0f} times faster than 1989."
        )
    if len(rows) > 1:
        times = (f"`{row}` {tables.median([r.fit_seconds for r in results])} s" for row, results in rows.items())
        lines.append(f"- **Time per row**, whole fits, medians (least to most): {', '.join(times)}.")
    for before, after, what in (
        (BASELINE, MODERN, "Row 1 to row 5, on 7,291 digits"),
        (BASELINE, BASELINE_50K, "50,000 digits alone"),
        (MODERN, MODERN_50K, "50,000 digits on top of everything"),
        (BASELINE, MODERN_50K, "Everything and 50,000 digits"),
    ):
        found = compare(rows, before, after)
        told = [
            f"{c.change:+.0f} % on {words.format(c.of_digits)} (95 % for new digits {percents(c.change_interval())})"
            for name, words in DIGITS.items()
            if (c := found.get(name))
        ]
        if told:
            lines.append(f"- **{what}**: error {', '.join(told)}; the article's {published_change(before, after)} %.")
    return "\n".join(lines)
