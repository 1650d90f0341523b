"""The rules of the verdicts: `rules.toml` beside the results, whose digest every result collected under them keeps."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from lecun_repro.errors import BadArgument
from lecun_repro.report.collection import rules_digest
from lecun_repro.report.results import read_toml
from lecun_repro.report.statistics import SIGNIFICANT, holm
from lecun_repro.runs.results import RunResult
from lecun_repro.runs.typed_json import record

FILE = "rules.toml"
FAMILIES = ("steps", "1989")  # of comparisons of two rows


class Rules(NamedTuple):
    """What `rules.toml` says, or without one the same margins and no families."""

    known: str = ""  # what was known when the rules were written
    level: float = SIGNIFICANT
    substantial_percent: float = 20  # margin of equivalence, and what a substantial gain is; of the base row's error
    engine_percent: float = 5
    seeds: dict[str, int] = {}  # noqa: RUF012 - of a NamedTuple, that nobody changes
    families: dict[str, Any] = {}  # noqa: RUF012 - comparisons that are adjusted together: [base, row] each; or words
    rules: dict[str, str] = {}  # noqa: RUF012 - in words, by what they are about
    digest: str | None = None  # of the file, see `rules_digest`


def read_rules(results: Path) -> Rules:
    """The rules beside a file of results.

    Raises:
        UserError: A file that is no TOML or lacks a key.
    """
    path = results.with_name(FILE)
    if not path.is_file():
        return Rules()
    rules = record(Rules, read_toml(path, "rules"), f"{path}: ", digest=rules_digest(results))
    for name in FAMILIES:
        if any(not isinstance(pair, list) or len(pair) != 2 for pair in rules.families.get(name, [])):
            raise BadArgument("results", f"{path}: families.{name}", "a list of [base row, row]")
    return rules


def rules_note(rules: Rules, about: Iterable[str], runs: Iterable[RunResult]) -> str:
    """The rules in words, what was known when they were written, and how many runs were collected under them."""
    lines = [f"- **{name}**: {rules.rules[name]}" for name in about if name in rules.rules]
    if not rules.rules:
        return ""
    when = f"The rules are a file, [{FILE}]({FILE}), that is committed before the runs that it judges: "
    return "\n\n".join([when + under(rules, runs), rules.known, "\n".join(lines)])


def under(rules: Rules, runs: Iterable[RunResult]) -> str:
    """How many runs were collected under these rules."""
    of_runs = [run.rules == rules.digest for run in runs]
    return (
        f"{sum(of_runs)} of the {len(of_runs)} runs were collected under these very rules (digest {rules.digest}), "
        f"{len(of_runs) - sum(of_runs)} before or under others."
    )


class Family:
    """The tests of one family: their p-values are gathered in a first round and adjusted in a second (Holm)."""

    def __init__(self) -> None:
        self.gathered: dict[tuple, float] = {}
        self.adjusted: dict[tuple, float] | None = None

    def close(self) -> None:
        """Ends the first round."""
        self.adjusted = dict(zip(self.gathered, holm(list(self.gathered.values())), strict=True))

    def __call__(self, test: tuple, p: float) -> float:
        """A test's p, in the second round adjusted. A test that is asked for twice is one."""
        if self.adjusted is None:
            self.gathered[test] = p
            return p
        return self.adjusted[test]
