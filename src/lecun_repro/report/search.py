"""What was tried on digits held out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lecun_repro.report.tables import spread, table


def load_search(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text()) if path.exists() else []


def search_table(search: Sequence[dict[str, Any]]) -> str:
    """Every setting tried, per configuration in the order of the misses held out."""
    header = ["config", "flags", "seeds", "misses of 1,000 held out", "misses of 6,291 trained on"]
    order = sorted(search, key=lambda e: (e["config"], np.mean(e["holdout_misses"])))
    lines = []
    for e in order:
        line = [f"`{e['config']}`", f"`{e['flags']}`" if e["flags"] else "", str(len(e["seeds"]))]
        lines.append([*line, spread(e["holdout_misses"], 1), spread(e["train_misses"], 1)])
    return (
        "With `--data.holdout 1000`, so that the test digits were not loaded; flags as `fit` takes them, added "
        "to the YAML. The YAMLs say which setting was chosen, and why.\n\n" + table(header, lines)
    )
