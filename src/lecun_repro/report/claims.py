"""The report on claims: each a comparison of rows, by rules that a TOML file beside the results holds.

What is claimed, which rows are compared and the rules' words are that file's (results/claims.toml); how rows are
compared is in `comparisons`. The file also names further results beside them, for rows that are not among these. Claims
that are written down after the runs of others are a file of their own, as every run keeps the digest of the file that
it was run under: `claims_later.toml`, with results in `claims_later.json`, is part of the report on `claims.toml`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from lecun_repro.errors import BadArgument
from lecun_repro.report import tables
from lecun_repro.report.comparisons import KINDS
from lecun_repro.report.comparisons.answers import Answer, Claim, Terms
from lecun_repro.report.comparisons.figures import changes_figure, verdicts_figure
from lecun_repro.report.results import Rows, load_tested, read_toml
from lecun_repro.report.rules import Family, read_rules, rules_note, under
from lecun_repro.report.search import Tried, search_table
from lecun_repro.report.tables import image, table
from lecun_repro.runs.typed_json import record

LATER = "_later"  # after the name of a file of claims, and of its results


class ClaimsFile(NamedTuple):
    """A TOML file of claims."""

    path: Path
    written: str  # when the rules were
    further_results: str  # the file beside it for rows that are not among its own results
    rules: dict[str, str]  # by the name that the document gives them
    claim: list[Claim]

    @property
    def name(self) -> str:
        return self.path.stem


def read(path: Path) -> ClaimsFile:
    """A TOML file of claims.

    Raises:
        UserError: A file that is no TOML, lacks a key, has two claims of one name, or one of a kind that is none.
    """
    file = record(ClaimsFile, read_toml(path, "claims"), f"{path}: ", path=path)
    for claim in file.claim:
        for key in ("name", "words", "kind"):
            if not isinstance(claim.get(key), str):
                what = f"{path}: a claim without {key!r}"
                raise BadArgument("results", what, "a file of claims, as results/claims.toml")
        if claim["kind"] not in KINDS:
            raise BadArgument("results", f"{path}: kind {claim['kind']}", ", ".join(KINDS))
    names = Counter(claim["name"] for claim in file.claim)
    if twice := [name for name, times in names.items() if times > 1]:
        raise BadArgument("results", f"{path}: several claims named {twice[0]}", "a name for each")
    return file


def read_later(file: ClaimsFile) -> ClaimsFile | None:
    """The file of claims that were written down later, if there is one. Raises UserError as `read` does."""
    path = file.path.with_stem(f"{file.name}{LATER}")
    return read(path) if path.is_file() else None


def answers(file: ClaimsFile, rows: Rows) -> list[Answer]:
    """The answer to every claim of a file, from the results beside it; p-values are adjusted over all of them.

    A later claim takes the place of the one of its name, and its p-values are adjusted over both files; those of the
    others stay as their own rules have them.

    Raises:
        UserError: A claim without a key that its kind needs.
    """
    rows = {**load_tested(file.path.with_name(file.further_results)), **rows}
    own = answers_of(file, rows)
    if (later := read_later(file)) is None:
        return own
    rows = {**load_tested(later.path.with_name(later.further_results)), **rows, **later_rows(later)}
    by_name = {answer.claim["name"]: answer for answer in answers_of(later, rows, file.claim)}
    return [*(by_name.pop(answer.claim["name"], answer) for answer in own), *by_name.values()]


def later_rows(later: ClaimsFile) -> Rows:
    """The results of later claims. Raises UserError as `load_tested` does."""
    return load_tested(later.path.with_suffix(".json"))


def answers_of(file: ClaimsFile, rows: Rows, earlier: Sequence[Claim] = ()) -> list[Answer]:
    """The answers to a file's claims, one family with earlier ones. Raises UserError as `answers` does."""
    terms = Terms(file.path.parent, read_rules(file.path), Family())
    try:
        for claim in [*earlier, *file.claim]:  # gathers the p-values
            KINDS[claim["kind"]](claim, rows, terms)
        terms.family.close()
        return [KINDS[claim["kind"]](claim, rows, terms) for claim in file.claim]
    except KeyError as error:
        place = f"{file.path}: a claim without {error}"
        raise BadArgument("results", place, "a file of claims, as results/claims.toml") from None
    except (TypeError, AttributeError, ArithmeticError) as error:
        place = f"{file.path}: claim {claim.get('name')}: {error}"
        raise BadArgument("results", place, "the values that its kind takes, as in results/claims.toml") from None


def figure_name(answer: Answer, name: str) -> str:
    words = re.findall(r"[a-z0-9]+", answer.claim["name"].lower())
    return f"{name}_{'_'.join(words)}.png"


def figures(file: ClaimsFile, answered: Sequence[Answer]) -> dict[str, Figure | None]:
    """By file name: every row's change against its base row, of all claims in one, and the answers' own."""
    groups = {answer.claim["name"]: answer.changes for answer in answered if answer.changes}
    changes = changes_figure(groups, read_rules(file.path).substantial_percent) if groups else None
    of_answers = {figure_name(answer, file.name): answer.figure() for answer in answered if answer.figure is not None}
    verdicts = verdicts_figure([(answer.claim["name"], answer.verdict) for answer in answered]) if answered else None
    return {f"{file.name}_verdicts.png": verdicts, f"{file.name}_changes.png": changes, **of_answers}


def claims_table(answered: Sequence[Answer]) -> str:
    """The short table: every claim word for word, as a verdict on a name alone may be read the wrong way round."""
    lines = []
    for claim, verdict, measured, *_ in answered:
        note = f" ({claim['note'].split('. ')[0]})" if "note" in claim else ""  # what limits a verdict
        lines.append([f"**{claim['name']}**: {quoted(claim)}", claim["kind"], f"*{verdict}*", measured + note])
    return table(["claim, in the article's words", "test", "verdict", "measured"], lines)


def quoted(claim: Claim) -> str:
    """A claim's words in quotation marks."""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{claim['words']}\N{RIGHT DOUBLE QUOTATION MARK}"


def document(file: ClaimsFile, answered: Sequence[Answer], rows: Rows, search: Sequence[Tried]) -> str:
    """The whole report as Markdown."""
    parts = ["## Every claim", image(f"{file.name}_verdicts.png", "Which claims hold"), claims_table(answered)]
    if any(answer.changes for answer in answered):
        parts.append(image(f"{file.name}_changes.png", "Every change"))
    of_file = read_rules(file.path)
    later = read_later(file)
    of_kinds = [*file.rules.items(), *(later.rules.items() if later is not None else [])]
    rules = [f"- **{kind}**: {rule}" for kind, rule in of_kinds]
    note = rules_note(of_file, ("digits", "these digits", "new digits"), chain.from_iterable(rows.values()))
    parts += ["## Rules", note, f"{file.written} Changes are in percent of the base row's error; *n* counts runs."]
    if later is not None:
        of_later, under_rules = later_rows(later), read_rules(later.path)
        kept = under(under_rules, chain.from_iterable(of_later.values())) if of_later and under_rules.rules else ""
        parts += [f"{later.written} {kept}".strip()]
        rows = {**rows, **of_later}
    parts += ["\n".join(rules).replace("SUBSTANTIAL", f"{of_file.substantial_percent:g}")]
    for answer in answered:
        claim = answer.claim
        if not answer.details and answer.figure is None:  # the table above says it all
            continue
        parts += [f"## {claim['name']}", f"> {claim['words']}", f"*{answer.verdict}*: {answer.measured}."]
        parts += [claim["note"][0].upper() + claim["note"][1:] + "."] if "note" in claim else []
        parts += [answer.details]
        parts += [image(figure_name(answer, file.name), claim["name"])] if answer.figure is not None else []
    if search:
        hours = sum(seconds for tried in search for seconds in tried.seconds) / 3600
        parts += ["## The search", f"{len(search)} settings, {hours:.1f} core-hours.", search_table(search)]
    return tables.document(file.name, parts, rows)
