"""Where digits come from: one file per source."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from lecun_repro.data.sources import digits, mnist, usps
from lecun_repro.data.splits import Split

SourceName = Literal["mnist", "digits", "usps"]


class Source(Protocol):
    """What a source's file offers."""

    COUNTS: Mapping[str, int]

    def load(self, part: str, indices: np.ndarray, root: Path) -> Split: ...


SOURCES: dict[SourceName, Source] = {"mnist": mnist, "digits": digits, "usps": usps}  # type: ignore[dict-item]
