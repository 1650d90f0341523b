"""Whether runs are of the files in configs/ that published numbers belong to: only then are these held against them."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from lecun_repro.report.results import Rows
from lecun_repro.runs.identity import digest
from lecun_repro.runs.results import RunResult


@cache
def published() -> dict[str, Any]:
    """By row, the identity of its file in configs/article or configs/1989, but for the seed."""
    return json.loads(files(__package__).joinpath("configurations.json").read_text(encoding="utf-8"))


def is_published(result: RunResult) -> bool:
    """Whether a run has the configuration of its row's file, whatever its seed."""
    tree = published().get(result.row)
    return tree is not None and digest(tree | {"seed_everything": result.seed}) == result.config_hash


def published_rows(rows: Rows) -> Rows:
    """The rows of which every run has the configuration of its file."""
    return {row: results for row, results in rows.items() if results and all(map(is_published, results))}
