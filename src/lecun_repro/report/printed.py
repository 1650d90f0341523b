"""What `reproduce` and `report` print: their tables in short, for a terminal."""

from collections.abc import Sequence

from lecun_repro.report.against import of_article, verdict
from lecun_repro.report.claims import quoted
from lecun_repro.report.comparisons.answers import Answer
from lecun_repro.report.configurations import published_rows
from lecun_repro.report.figures import evaluated
from lecun_repro.report.published import BY_ROW
from lecun_repro.report.results import Rows, errors, on_test_digits
from lecun_repro.report.statistics import SIGNIFICANT
from lecun_repro.report.tables import NONE, mean_cells


def rows_in_short(rows: Rows, draws: Rows) -> str:
    """Rows, and those with draws of their own, beside the article's where they are its own."""
    own = {row for row, results in published_rows(rows, "article").items() if on_test_digits(results)}
    both = {**rows, **{f"{row}, other draws": results for row, results in draws.items()}}
    lines = []
    for row, results in both.items():
        line = [row, str(len(results)), *mean_cells(errors(results))]
        if row in own:
            published = BY_ROW[row]
            line += [f"{published.test_error:.2f}", verdict(of_article(published, results), SIGNIFICANT)]
        lines.append(line)
    header = ["row", "seeds", f"{evaluated(both)} error %", "95 % of the mean"]
    return columns([*header, *(["the article's", "verdict"] if own else [])], lines)


def claims_in_short(answered: Sequence[Answer]) -> str:
    """The verdict on each claim, which is in the article's words."""
    lines = [[answer.verdict, f"{answer.claim['name']}: {quoted(answer.claim)}"] for answer in answered]
    return columns(["verdict", "claim"], lines)


def columns(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose columns are as wide as what stands in them; a line that ends early is filled up with dashes."""
    filled = [header, *([*line, *[NONE] * (len(header) - len(line))] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*filled, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in filled)
