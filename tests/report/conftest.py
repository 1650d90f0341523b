"""Raw results to report on, made up."""

from collections.abc import Callable
from typing import Any

import pytest

from lecun_repro.report.configurations import published
from lecun_repro.runs.identity import digest

Split = Callable[..., dict[str, Any]]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def split() -> Split:
    """Makes a split of `n` digits, of which so many, or those listed, are missed."""

    def make(n: int, missed: int | list[int], **more: Any) -> dict[str, Any]:
        missed = list(range(missed)) if isinstance(missed, int) else missed
        misses = len(missed)
        counts = {"n": n, "loss": 0.01, "error": 100 * misses / n, "misses": misses}
        return counts | {"missed": missed, "predicted": [3] * misses} | more

    return make


@pytest.fixture
def run() -> Run:
    """Makes a `results.json` object from two splits, of its row's own file if that has published numbers."""

    def make(row: str, seed: int, train: dict[str, Any], test: dict[str, Any], **more: Any) -> dict[str, Any]:
        points = {"train": point(train), "test": point(test)}
        return {
            "row": row, "seed": seed, "source": "mnist", "draw": "article", "passes": 2, "updates": 100,
            "parameters": 9760, "compiled": False, "fit_seconds": 7.2, "us_per_update": 500.0, "train": train,
            "test": test, "curve": [{"pass": number, **points} for number in (1, 2)], "versions": {"python": "3"},
            "config_hash": hash_of(row, seed),
        } | more  # fmt: skip

    return make


def hash_of(row: str, seed: int) -> str:
    trees = [rows[row] for rows in published().values() if row in rows]
    return digest(trees[0] | {"seed_everything": seed}) if trees else "x"


def point(split: dict[str, Any]) -> dict[str, Any]:
    return {name: split[name] for name in ("loss", "error", "misses")}
