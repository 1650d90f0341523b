"""The project's page, docs/index.html: the error's time line, the rows, the claims, and the drawing page beside it."""

import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from lecun_repro.report.against import of_article, verdict
from lecun_repro.report.comparisons.answers import FAILS, HOLDS, NOT_DECIDED, Answer
from lecun_repro.report.configurations import published_rows
from lecun_repro.report.published import BY_ROW, CONVOLUTIONAL
from lecun_repro.report.results import Rows, errors
from lecun_repro.report.statistics import Interval, error_interval
from lecun_repro.report.tables import spread

JUDGED = (HOLDS, FAILS, NOT_DECIDED)
PAPER = "3_paper"  # of configs/1989: as close to the paper as its description lets one come


class Step(NamedTuple):
    """A line of the time line; errors in percent."""

    name: str
    mean: float
    interval: Interval
    published: float


def page(rows: Rows, of_1989: Rows, answered: Sequence[Answer], level: float, note: str) -> str:
    """The page, from the results of the article's rows, of the paper's configurations and of the claims.

    `level` is that of the verdicts on rows; `note`, in Markdown, is on all rows together.
    """
    own = published_rows(rows, "article")
    steps = [step(BY_ROW[row].title, errors(results), BY_ROW[row].test_error) for row, results in own.items()]
    paper = published_rows(of_1989, "1989").get(PAPER)
    first = [step("the paper, on zip codes", errors(paper), CONVOLUTIONAL.test_error)] if paper else []
    ends = [max(s.mean, s.published, np.nan_to_num(s.interval.high)) for s in [*first, *steps]]
    ticks = int(np.ceil(1.02 * max(ends, default=1)))
    years = [("1989", first), ("2022", steps)]
    line = [year(name, of_year, ticks) for name, of_year in years if of_year]
    parts = {
        "ticks": str(ticks),
        "line": "\n".join([*line, axis(ticks)]),
        "table": table(own, level),
        "note": inline(note),
        "counts": ", ".join(f"{n} {verdict}" for verdict, n in Counter(a.verdict for a in answered).most_common()),
        "claims": "\n".join(claim(answer) for answer in answered if answer.verdict in JUDGED),
        "others": "\n".join(claim(answer) for answer in answered if answer.verdict not in JUDGED),
    }
    text = files(__package__).joinpath("index.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], text)


def step(name: str, values: Sequence[float], published: float) -> Step:
    return Step(name, float(np.mean(values)), error_interval(values), published)


def year(name: str, steps: Sequence[Step], ticks: int) -> str:
    """The lines of a year, under its name."""
    return "\n".join([f'    <li><span class="year">{name}</span></li>', *(line(one, ticks) for one in steps)])


def line(one: Step, ticks: int) -> str:
    """A line: its name, ours and theirs on a track from 0 to so many percent, and both in numbers."""

    def at(error: float) -> str:
        return f"{100 * error / ticks:.2f}%"

    low, high = one.interval
    marks = f'<i class="theirs" style="left:{at(one.published)}"></i><i class="mean" style="left:{at(one.mean)}"></i>'
    if not np.isnan(low):
        marks = f'<i class="interval" style="left:{at(low)};width:{at(high - low)}"></i>{marks}'
    numbers = f"<b>{one.mean:.2f}</b> / <span>{one.published:.2f}</span> %"
    name = f"<span>{escape(one.name)}</span>"
    return f'    <li>{name}<span class="track">{marks}</span><span class="value">{numbers}</span></li>'


def axis(ticks: int) -> str:
    """The scale under the lines."""
    marks = "".join(f'<i style="left:{100 * n / ticks:.2f}%">{n}</i>' for n in range(ticks + 1))
    scale = f'<span class="track">{marks}</span><span>test error, %</span>'
    return f'    <li class="axis" aria-hidden="true"><span></span>{scale}</li>'


def table(rows: Rows, level: float) -> str:
    """The article's rows: ours, theirs, and the verdict."""
    lines = ["<table>", "<tr><th>row</th><th>ours (seeds)</th><th>the article's</th><th>verdict</th></tr>"]
    for row, results in rows.items():
        of_row = verdict(of_article(BY_ROW[row], results), level)
        cells = [BY_ROW[row].title, f"{spread(errors(results))} ({len(results)})"]
        cells += [f"{BY_ROW[row].test_error:.2f}", of_row]
        lines.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return "\n".join([*lines, "</table>"])


def claim(answer: Answer) -> str:
    """A claim word for word, its verdict, and what was measured."""
    chip = f'<span class="verdict {answer.verdict.replace(" ", "-")}">{escape(answer.verdict)}</span>'
    title = f"<h3>{escape(answer.claim['name'])}{chip}</h3>"
    words = f"<blockquote>“{escape(answer.claim['words'])}”</blockquote>"
    return f'    <article class="claim">{title}{words}<p>{inline(answer.measured)}</p></article>'


def inline(text: str) -> str:
    """A line of Markdown: code, bold and emphasis. A number stays with its percent sign."""
    shown = escape(text).replace(" %", "&nbsp;%")
    for pattern, tag in ((r"`([^`]*)`", "code"), (r"\*\*([^*]*)\*\*", "strong"), (r"\*([a-z ]+)\*", "em")):
        shown = re.sub(pattern, rf"<{tag}>\1</{tag}>", shown)
    return shown
