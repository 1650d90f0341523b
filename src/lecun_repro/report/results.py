"""Raw results: read, grouped by row and paired by seed."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lecun_repro.errors import fault

Results = dict[str, Any]  # the contents of one results.json
Rows = dict[str, list[Results]]  # by row, in the order of seeds


def load(path: Path) -> Rows:
    """Results by row, seeds ascending; none where there is no file."""
    if not path.exists():
        return {}
    rows: Rows = defaultdict(list)
    try:
        for result in json.loads(path.read_text()):
            rows[result["row"]].append(result)
        return {row: sorted(rows[row], key=lambda r: r["seed"]) for row in sorted(rows)}
    except (ValueError, KeyError, TypeError):
        raise fault("results", path, "a JSON list of results, as reproduce collects them") from None


def test_misses(results: Sequence[Results]) -> list[int]:
    return [r["test"]["misses"] for r in results]


def test_errors(results: Sequence[Results]) -> list[float]:
    return [r["test"]["error"] for r in results]


def paired(before: Sequence[Results], after: Sequence[Results]) -> list[tuple[Results, Results]]:
    """Runs of the same seed on the same test digits."""
    by_seed = {r["seed"]: r for r in after}
    pairs = [(r, by_seed[r["seed"]]) for r in before if r["seed"] in by_seed]
    return [(a, b) for a, b in pairs if a["test"]["n"] == b["test"]["n"]]


def runs_note(rows: Rows) -> str:
    """Versions and configurations behind the tables."""
    runs = [r for results in rows.values() for r in results]
    versions = sorted({" ".join(f"{k} {v}" for k, v in r["versions"].items()) for r in runs})
    lines = [f"- `{row}`: seeds {', '.join(str(r['seed']) for r in results)}" for row, results in rows.items()]
    updates = sum(r["updates"] for r in runs)
    hours = sum(r["fit_seconds"] for r in runs) / 3600
    summary = f"{len(runs)} runs, {updates:,} updates, {hours:.1f} core-hours; {'; '.join(versions)}."
    return "\n".join([summary, "", *lines])
