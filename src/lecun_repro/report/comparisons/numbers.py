"""Claims about the article's own numbers, arithmetic or a count of runs, and those that cannot be tested here."""

import math

from scipy import stats

from lecun_repro.report.against import COMPATIBLE, measures_table, of_article, verdict
from lecun_repro.report.comparisons.answers import FAILS, HOLDS, NOT_DECIDED, NOT_RUN, UNTESTABLE, Answer, Claim, Terms
from lecun_repro.report.published import BY_ROW
from lecun_repro.report.results import Rows, misses
from lecun_repro.report.tables import p_value


def not_testable(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    return Answer(claim, UNTESTABLE, claim["reason"])


def arithmetic(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """A quotient of products against the number claimed, as the claim's own precision has it."""
    value = math.prod(claim["times"]) / math.prod(claim.get("over", [1]))
    ratio = value / claim["claimed"]
    verdict = HOLDS if 1 / claim["within_factor"] <= ratio <= claim["within_factor"] else FAILS
    return Answer(claim, verdict, f"{claim['formula']} = {value:,.4g}; claimed {claim['claimed']:,}")


def fits_every_digit(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """That most runs of a row miss no training digit, by the interval of the share that do (Clopper-Pearson)."""
    if not (results := rows.get(claim["row"])):
        return Answer(claim, NOT_RUN, NOT_RUN)
    counts = misses(results, "train")
    test = stats.binomtest(counts.count(0), len(counts), 0.5)
    more, less = (2 * stats.binomtest(counts.count(0), len(counts), 0.5, side).pvalue for side in ("greater", "less"))
    verdict, p = terms.judged(("fits", claim["row"]), more, less)
    low, high = (100 * end for end in test.proportion_ci(1 - terms.rules.level))
    return Answer(
        claim,
        verdict,
        f"{counts.count(0)} of {len(counts)} runs of `{claim['row']}` miss no training digit (95 %: {low:.0f} to "
        f"{high:.0f} %), the others up to {max(counts)} of {results[0].train.n:,}; p {p_value(p)}",
    )


def compatible(claim: Claim, rows: Rows, terms: Terms) -> Answer:
    """Whether the article's numbers of a row can be those of the first of several ways to train it; of which others."""
    published = BY_ROW[claim["of"]]
    found = {row: of_article(published, rows[row]) for row in claim["rows"] if len(rows.get(row, [])) > 1}
    if claim["rows"][0] not in found:
        return Answer(claim, NOT_RUN, NOT_RUN)
    told = {row: verdict(measures, terms.rules.level) for row, measures in found.items()}
    details = measures_table(found)
    first, *others = (words == COMPATIBLE for words in told.values())
    measured = "; ".join(f"`{row}` {words}" for row, words in told.items())
    if not first:
        return Answer(claim, FAILS, measured, details)
    alone = HOLDS if len(found) == len(claim["rows"]) else NOT_RUN
    return Answer(claim, NOT_DECIDED if any(others) else alone, measured, details)
