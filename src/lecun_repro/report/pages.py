"""What the project's own pages show of its results: README's table and that of docs/claims.md, between their marks."""

from collections.abc import Iterator
from pathlib import Path

from lecun_repro.report import claims
from lecun_repro.report.configurations import published_rows
from lecun_repro.report.published import BY_ROW
from lecun_repro.report.results import Rows, errors, load, load_tested, misses
from lecun_repro.report.statistics import reproduced
from lecun_repro.report.tables import spread, table

SHOWN = ("article", "claims")  # results that pages show


def rows_at_a_glance(rows: Rows) -> str:
    """Of each of the article's rows the test error over seeds, the article's, and the verdict."""
    lines = []
    for row, results in published_rows(rows, "article").items():
        verdict = reproduced(misses(results), BY_ROW[row].test_misses)
        error = f"{spread(errors(results))} ({len(results)})"
        lines.append([f"`{row}`", error, f"{BY_ROW[row].test_error:.2f}", f"*{verdict}*"])
    return table(["row", "test error % (seeds)", "the article's", "verdict"], lines)


def between(text: str, mark: str, content: str) -> str:
    """A page with `content` between the comments that begin and end a part of it."""
    first, last = f"<!-- {mark} -->\n", f"\n<!-- /{mark} -->"
    before, rest = text.split(first, 1)
    return f"{before}{first}{content}{last}{rest.split(last, 1)[1]}"


def refreshed(path: Path) -> Iterator[tuple[Path, str]]:
    """The pages that show the results of a file, with what they are to contain; none of results outside the project."""
    results = path.resolve().parent
    readme, of_claims = results.parent / "README.md", results.parent / "docs/claims.md"
    if path.stem not in SHOWN or not (readme.is_file() and of_claims.is_file()):
        return
    rows = rows_at_a_glance(load(results / "article.json"))
    yield readme, between(readme.read_text(encoding="utf-8"), "results", rows)
    file = claims.read(results / "claims.toml")
    answered = claims.answers(file, load_tested(results / "claims.json"))
    page = of_claims.read_text(encoding="utf-8")
    yield of_claims, between(page, "claims", claims.claims_table(answered))
