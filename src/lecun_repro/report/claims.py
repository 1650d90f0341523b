"""The report on claims: each a comparison of rows, by rules that a TOML file beside the results holds.

What is claimed, which rows are compared and the rules' words are that file's (results/claims.toml); how rows are
compared is in `comparisons`. The file also names further results beside them, for rows that are not among these.
"""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lecun_repro.errors import fault
from lecun_repro.report.comparisons import KINDS
from lecun_repro.report.comparisons.answers import Answer, Given
from lecun_repro.report.comparisons.figures import changes_figure
from lecun_repro.report.results import Rows, load, runs_note
from lecun_repro.report.search import search_table
from lecun_repro.report.tables import table


def read(path: Path) -> dict[str, Any]:
    """A TOML file of claims.

    Raises:
        UserError: A file that is no TOML, lacks a key, or names a kind of comparison that is none.
    """
    try:
        given = tomllib.loads(path.read_text())
        kinds = [claim["kind"] for claim in given["claim"]]
        given["substantial_percent"], given["rules"], given["further_results"], given["written"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise fault("results", f"{path}: {error}", "a TOML file of claims, as results/claims.toml") from None
    for kind in kinds:
        if kind not in KINDS:
            raise fault("results", f"{path}: kind {kind}", ", ".join(KINDS))
    return given


def answers(path: Path, rows: Rows) -> list[Answer]:
    """The answer to every claim of a TOML file, from the results beside it."""
    given = read(path)
    rows = {**load(path.with_name(given["further_results"])), **rows}
    shared = Given(path.parent, given["substantial_percent"])
    try:
        return [KINDS[claim["kind"]](claim, rows, shared) for claim in given["claim"]]
    except KeyError as error:
        raise fault("results", f"{path}: a claim without {error}", "a file of claims, as results/claims.toml") from None


def figure_name(answer: Answer, name: str) -> str:
    words = re.findall(r"[a-z0-9]+", answer.claim["name"].lower())
    return f"{name}_{'_'.join(words)}.png"


def figures(path: Path, found: Sequence[Answer]) -> dict[str, Figure | None]:
    """Those of the answers, and every row's change against its base row, of all claims in one."""
    groups = {answer.claim["name"]: answer.changes for answer in found if answer.changes}
    changes = changes_figure(groups, read(path)["substantial_percent"]) if groups else None
    of_answers = {figure_name(answer, path.stem): answer.figure for answer in found if answer.figure is not None}
    return {f"{path.stem}_changes.png": changes, **of_answers}


def claims_table(found: Sequence[Answer]) -> str:
    """The short table: claim, verdict, figure."""
    return table(["claim", "verdict", "measured"], [[a.claim["name"], f"*{a.verdict}*", a.measured] for a in found])


def document(path: Path, found: Sequence[Answer], rows: Rows, search: Sequence[dict[str, Any]]) -> str:
    """The whole report as Markdown."""
    given, name = read(path), path.stem
    substantial = f"{given['substantial_percent']:g}"
    rules = [f"- **{kind}**: {rule.replace('SUBSTANTIAL', substantial)}" for kind, rule in given["rules"].items()]
    parts = [f"# Results: {name}", "Written by `python cli.py report` from the raw results beside it."]
    parts += ["## Every claim", claims_table(found)]
    parts += [f"![Every change]({name}_changes.png)"] if any(answer.changes for answer in found) else []
    parts += [
        "## Rules",
        f"{given['written']} Nothing is selected on test digits: not a pass, not a seed, not a rate. Changes are in "
        "percent of the base row's mean test misses; *n* counts seeds.",
        "\n".join(rules),
    ]
    for answer in found:
        claim = answer.claim
        parts += [f"## {claim['name']}", f"> {claim['words']}", f"*{answer.verdict}*: {answer.measured}."]
        parts += [claim["note"][0].upper() + claim["note"][1:] + "."] if "note" in claim else []
        parts += [answer.details] if answer.details else []
        parts += [f"![{claim['name']}]({figure_name(answer, name)})"] if answer.figure is not None else []
    if search:
        hours = sum(second for tried in search for second in tried["seconds"]) / 3600
        parts += ["## The search", f"{len(search)} settings, {hours:.1f} core-hours.", search_table(search)]
    parts += ["## Runs", runs_note(rows)]
    return "\n\n".join(parts) + "\n"
