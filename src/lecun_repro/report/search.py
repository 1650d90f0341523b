"""What was tried on digits held out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lecun_repro.report.tables import spread, table


class Tried(NamedTuple):
    """A setting, with a value for each of its seeds."""

    config: str
    flags: str
    seeds: list[int]
    holdout_misses: list[int]
    train_misses: list[int]
    seconds: list[float] = []  # noqa: RUF012 - of a NamedTuple, that nobody changes


def search_table(search: Sequence[Tried]) -> str:
    """Every setting tried, per configuration in the order of the misses held out."""
    header = ["config", "flags", "seeds", "misses of 1,000 held out", "misses of 6,291 trained on"]
    lines = []
    for tried in sorted(search, key=lambda tried: (tried.config, np.mean(tried.holdout_misses))):
        line = [f"`{tried.config}`", f"`{tried.flags}`" if tried.flags else "", str(len(tried.seeds))]
        lines.append([*line, spread(tried.holdout_misses, 1), spread(tried.train_misses, 1)])
    return (
        "With `--data.holdout 1000`, so that the test digits were not loaded; flags as `fit` takes them, added "
        "to the YAML. The YAMLs say which setting was chosen, and why.\n\n" + table(header, lines)
    )
