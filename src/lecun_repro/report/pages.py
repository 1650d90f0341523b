"""What the project's own pages show of its results: README, docs/claims.md, docs/1989.md, and docs/index.html."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lecun_repro.report import claims, index
from lecun_repro.report.against import of_article, verdict
from lecun_repro.report.article import error_cells, step_pairs, together, with_unseen
from lecun_repro.report.beyond import best_row, of_1989
from lecun_repro.report.configurations import published_rows
from lecun_repro.report.paper import rejected
from lecun_repro.report.published import BASELINE, BY_ROW, CONVOLUTIONAL, title_of
from lecun_repro.report.results import Rows, errors, load, load_tested, misses
from lecun_repro.report.rules import Rules, read_rules
from lecun_repro.report.steps import steps
from lecun_repro.report.tables import DIGITS, NONE, spread, table
from lecun_repro.runs.results import RunResult

SHOWN = ("article", "beyond", "claims", "1989")  # results that pages show


def rows_at_a_glance(rows: Rows, rules: Rules, further: Rows) -> str:
    """Of each of the article's rows the test error over seeds, the article's, and the verdict; then those on steps.

    The best of the same network's `further` rows stands below them.
    """
    lines, own = [], published_rows(rows, "article")
    for row, results in own.items():
        of_row = verdict(of_article(BY_ROW[row], results), rules.level)
        error = f"{spread(errors(results))} ({len(results)})"
        lines.append([f"`{row}`", error, f"{BY_ROW[row].test_error:.2f}", f"*{of_row}*", *unseen_cells(results)])
    if best := best_row(further):
        error = f"{spread(errors(further[best]))} ({len(further[best])})"
        lines.append([f"[`beyond/{best}`](results/beyond.md)", error, NONE, NONE, *unseen_cells(further[best])])
    header = ["row", "test error % (seeds)", "the article's", "verdict", "the unseen 7,993, %", "95 %, new"]
    parts = [table(header, lines), *together(own, rules)]
    told: list[str] = []
    digits: dict[str, None] = {}  # in order
    for step in steps(own, step_pairs(own, rules), rules):
        if own[step.judged.row][0].train.n == own[step.judged.base][0].train.n == BY_ROW[BASELINE].train_n:
            told.append(f"{title_of(step.judged.row).removeprefix('+ ')} *{step.verdict}*")
            digits[DIGITS[step.judged.digits].format(step.judged.of_digits)] = None
    parts += [f"**Steps**, judged on {' or '.join(digits)}: {'; '.join(told)}."] if told else []
    return "\n\n".join([parts[0], " ".join(parts[1:])])


def unseen_cells(results: Sequence[RunResult]) -> list[str]:
    """The error on the digits that nobody chose on, and its interval for new seeds and digits; dashes without them."""
    grid = with_unseen(results).get("unseen")
    of_runs, _, new = error_cells(grid, len(results)) if grid is not None else [NONE] * 3
    return [of_runs, new]


def paper_at_a_glance(rows: Rows) -> str:
    """Of each configuration of configs/1989 the misses and the share that is rejected, below the paper's."""
    printed = CONVOLUTIONAL
    lines = [["*the paper*", "1", f"{printed.train_misses}", f"{printed.test_misses}", f"{printed.rejected}"]]
    for row, results in published_rows(rows, "1989").items():
        line = [f"`{row}`", str(len(results)), spread(misses(results, "train"), 1), spread(misses(results), 1)]
        lines.append([*line, rejected(results)])
    header = ["", "n", "train misses of 7,291", "test misses of 2,007", "rejected % for 1 % error"]
    return table(header, lines)


def between(text: str, mark: str, content: str) -> str:
    """A page with `content` between the comments that begin and end a part of it."""
    first, last = f"<!-- {mark} -->\n", f"\n<!-- /{mark} -->"
    before, rest = text.split(first, 1)
    return f"{before}{first}{content}{last}{rest.split(last, 1)[1]}"


def refreshed(path: Path) -> Iterator[tuple[Path, str]]:
    """The pages that show the results of a file, with what they are to contain; none of results outside the project."""
    results = path.resolve().parent
    project = results.parent
    of_pages = {name: project / name for name in ("README.md", "docs/claims.md", "docs/1989.md")}
    if path.stem not in SHOWN or not all(page.is_file() for page in of_pages.values()):
        return
    article, further = results / "article.json", of_1989(load(results / "beyond.json"))
    file = claims.read(results / "claims.toml")
    answered = claims.answers(file, load_tested(results / "claims.json"))
    rows, paper, rules = load_tested(article), load(results / "1989.json"), read_rules(article)
    contents = {
        "README.md": ("results", rows_at_a_glance(rows, rules, further)),
        "docs/claims.md": ("claims", claims.claims_table(answered)),
        "docs/1989.md": ("1989", paper_at_a_glance(paper)),
    }
    for name, (mark, content) in contents.items():
        yield of_pages[name], between(of_pages[name].read_text(encoding="utf-8"), mark, content)
    note = " ".join(together(published_rows(rows, "article"), rules))
    yield project / "docs/index.html", index.page(rows, paper, answered, rules.level, note)
