"""Raw results: read, grouped by row and paired by seed."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lecun_repro.errors import fault
from lecun_repro.runs.results import DivergedRun, RunResult

Rows = Mapping[str, list[RunResult]]  # by row, in the order of seeds
Record = TypeVar("Record", RunResult, DivergedRun)


def read_list(path: Path) -> list[Any]:
    """A JSON list; an empty one where there is no file.

    Raises:
        UserError: It cannot be read, or is something else.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError):
        records = None
    if not isinstance(records, list):
        raise fault("results", path, "a JSON list of results, as reproduce collects them")
    return records


def by_row(path: Path, read: Callable[[Any, str], Record]) -> dict[str, list[Record]]:
    """The records of a file by row, rows by name and seeds ascending.

    Raises:
        UserError: A record is not what `read` takes, or two are of one row and seed.
    """
    records: dict[tuple[str, int], Record] = {}
    for number, value in enumerate(read_list(path), start=1):
        record = read(value, f"{path}, record {number}")
        if (record.row, record.seed) in records:
            raise fault("results", f"{path}, record {number}: row and seed are there twice", "one result of each")
        records[record.row, record.seed] = record
    rows: dict[str, list[Record]] = defaultdict(list)
    for (row, _), record in sorted(records.items()):
        rows[row].append(record)
    return dict(rows)


def load(path: Path) -> dict[str, list[RunResult]]:
    """Results on test digits by row, none where there is no file.

    Raises:
        UserError: In one line with the record and its field, what is missing, ill-typed or there twice.
    """
    rows = by_row(path, RunResult.read)
    for row, results in rows.items():
        if any("test" not in result.splits for result in results):
            raise fault("results", f"{path}: row {row} was evaluated on digits held out", "results on test digits")
    return rows


def load_diverged(path: Path) -> dict[str, list[DivergedRun]]:
    """Runs that diverged by row, none where there is no file. Raises UserError as `load` does."""
    return by_row(path, DivergedRun.read)


def misses(results: Iterable[RunResult], split: str = "test") -> list[int]:
    return [result.splits[split].misses for result in results]


def errors(results: Iterable[RunResult], split: str = "test") -> list[float]:
    """In percent."""
    return [result.splits[split].error for result in results]


def paired(rows: Rows, before: str, after: str) -> list[tuple[RunResult, RunResult]]:
    """The runs of two rows that are of the same seed, on as many test digits."""
    by_seed = {result.seed: result for result in rows.get(after, [])}
    pairs = [(first, by_seed[first.seed]) for first in rows.get(before, []) if first.seed in by_seed]
    return [(first, second) for first, second in pairs if first.test.n == second.test.n]


def curve_errors(results: Sequence[RunResult], split: str) -> tuple[list[int], list[list[float]]]:
    """The passes that every run has evaluated, and each run's errors after them, in percent."""
    curves = [{entry.number: entry.splits[split].error for entry in r.curve if split in entry.splits} for r in results]
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
