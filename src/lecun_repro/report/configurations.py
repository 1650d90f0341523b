"""Whether runs are of the files in configs/ that published numbers belong to: only then are these held against them."""

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from lecun_repro.report.results import Rows
from lecun_repro.runs.identity import digest
from lecun_repro.runs.results import RunResult

Folder = Literal["article", "1989"]


@cache
def published() -> dict[Folder, dict[str, Any]]:
    """By folder and row, the identity of its file, see `canonical`, but for the seed."""
    return json.loads(files(__package__).joinpath("configurations.json").read_text(encoding="utf-8"))


def is_published(result: RunResult, folder: Folder) -> bool:
    """Whether a run has the configuration of its row's file in that folder, whatever its seed."""
    tree = published()[folder].get(result.row)
    return tree is not None and digest(tree | {"seed_everything": result.seed}) == result.config_hash


def published_rows(rows: Rows, folder: Folder) -> Rows:
    """The rows of which every run has the configuration of its file in that folder."""
    return {row: results for row, results in rows.items() if all(is_published(result, folder) for result in results)}
