"""Raw results: read, and grouped by row."""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lecun_repro.errors import BadArgument
from lecun_repro.files import read_json
from lecun_repro.runs.results import DivergedRun, RunResult
from lecun_repro.runs.typed_json import record as typed_record

Rows = Mapping[str, list[RunResult]]  # by row, in the order of seeds
Record = TypeVar("Record", RunResult, DivergedRun)
Listed = TypeVar("Listed", bound=tuple)


def one_run(path: Path) -> RunResult | None:
    """What a single fit left in its folder; None for another file. Raises UserError for a field that is bad."""
    content = read_json(path)
    return RunResult.read(content, f"{path}: ") if isinstance(content, dict) else None


def records(path: Path) -> Iterator[tuple[str, Any]]:
    """The records of a JSON list, none where there is no file, each with its place for a message.

    Raises:
        UserError: It cannot be read, or is something else.
    """
    content = read_json(path) if path.exists() else []
    if not isinstance(content, list):
        raise BadArgument("results", path, "a JSON list of results, as reproduce collects them")
    for number, record in enumerate(content, start=1):
        yield f"{path}, record {number}: ", record


def read_list(path: Path, kind: type[Listed]) -> list[Listed]:
    """The records of a file as NamedTuples. Raises UserError as `records` does, and for a field that is bad."""
    return [typed_record(kind, value, place) for place, value in records(path)]


def read_toml(path: Path, of: str) -> dict[str, Any]:
    """A TOML file. Raises UserError for one that is none, which says what it should be of."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadArgument("results", f"{path}: {error}", f"a TOML file of {of}, as results/{path.name}") from None


def by_row(path: Path, read: Callable[[Any, str], Record]) -> dict[str, list[Record]]:
    """The records of a file by row, rows by name and seeds ascending.

    Raises:
        UserError: A record is not what `read` takes, or two are of one row and seed.
    """
    rows: dict[str, dict[int, Record]] = {}
    for place, value in records(path):
        record = read(value, place)
        if rows.setdefault(record.row, {}).setdefault(record.seed, record) is not record:
            raise BadArgument(
                "results", f"{place}{record.row}, seed {record.seed} is there twice", "one record of each"
            )
    return {row: [record for _, record in sorted(by_seed.items())] for row, by_seed in sorted(rows.items())}


def load(path: Path) -> dict[str, list[RunResult]]:
    """Results by row, none where there is no file.

    Raises:
        UserError: In one line with the record and its field, what is missing, ill-typed or there twice; or a row whose
            runs are not of one configuration.
    """
    rows = by_row(path, RunResult.read)
    for row, results in rows.items():
        for name in ("source", "passes", "parameters"):
            if len(values := {getattr(result, name) for result in results}) > 1:
                what = f"{path}: row {row}, whose runs differ in {name} ({', '.join(sorted(map(str, values)))})"
                raise BadArgument("results", what, "runs of one configuration, but for the seed")
    return rows


def load_tested(path: Path) -> dict[str, list[RunResult]]:
    """Results on test digits by row. Raises UserError as `load` does, and for results on digits held out."""
    rows = load(path)
    for row, results in rows.items():
        if not on_test_digits(results):
            raise BadArgument(
                "results", f"{path}: row {row} was evaluated on digits held out", "results on test digits"
            )
    return rows


def on_test_digits(results: Iterable[RunResult]) -> bool:
    return all("test" in result.splits for result in results)


def load_diverged(path: Path) -> dict[str, list[DivergedRun]]:
    """Runs that diverged by row, none where there is no file. Raises UserError as `load` does."""
    return by_row(path, DivergedRun.read)


def misses(results: Iterable[RunResult], split: str | None = None) -> list[int]:
    """Of a split, by default the one that each was evaluated on."""
    return [result.splits[split or result.evaluation_split].misses for result in results]


def errors(results: Iterable[RunResult], split: str | None = None) -> list[float]:
    """In percent; of a split, by default the one that each was evaluated on."""
    return [result.splits[split or result.evaluation_split].error for result in results]


def evaluated_on(result: RunResult) -> tuple[Any, ...]:
    """What tells the digits that a run was evaluated on. The named draws of a source have one test file in common."""
    split, own_draw = result.evaluation_split, isinstance(result.draw, int)
    draw = (result.draw, result.train.n, result.fold) if split == "holdout" else result.draw if own_draw else None
    return result.source, split, result.evaluation.n, draw


def curve_errors(results: Sequence[RunResult], split: str) -> tuple[list[int], list[list[float]]]:
    """The passes that every run has evaluated, and each run's errors after them, in percent."""
    curves = [{entry.pass_: entry.splits[split].error for entry in r.curve if split in entry.splits} for r in results]
    passes = [number for number in curves[0] if all(number in curve for curve in curves)]
    return passes, [[curve[number] for number in passes] for curve in curves]


def runs_note(rows: Rows) -> str:
    """Versions and configurations behind the tables."""
    runs = [result for results in rows.values() for result in results]
    versions = sorted({" ".join(f"{name} {number}" for name, number in run.versions.items()) for run in runs})
    lines = [f"- `{row}`: seeds {', '.join(str(r.seed) for r in results)}" for row, results in rows.items()]
    updates = sum(run.updates for run in runs)
    hours = sum(run.fit_seconds for run in runs) / 3600
    summary = f"{len(runs)} runs, {updates:,} updates, {hours:.1f} core-hours; {'; '.join(versions)}."
    return "\n".join([summary, "", *lines])
