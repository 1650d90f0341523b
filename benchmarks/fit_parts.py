"""One command, and where its seconds of computing go: `python benchmarks/fit_parts.py fit --config …`.

Writes them as `parts.json`. A part's seconds are those of its functions, which do not call one another.
"""

# ruff: noqa: E402
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lecun_repro.__main__ import main

IMPORTED = time.process_time()  # since the process began

from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop

from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.runs.last_pass import LastPass
from lecun_repro.runs.record import RecordRun
from lecun_repro.tensorboard.callback import Pictures
from lecun_repro.training.updates import CompiledUpdates

FILE = "parts.json"
PARTS = {
    "command line": [(LightningCLI, "setup_parser"), (LightningCLI, "parse_arguments")],
    "reading of the digits": [(DigitsDataModule, "load")],
    "graph of the updates: traced, and loaded": [(CompiledUpdates, "__init__"), (CompiledUpdates, "ready")],
    "updates": [(CompiledUpdates, "__call__")],
    "evaluations": [(_EvaluationLoop, "run")],
    "pictures in TensorBoard": [(Pictures, "on_fit_start"), (Pictures, "_draw"), (RecordRun, "show_rejection")],
    "checkpoints": [(LastPass, "on_train_epoch_end")],
}


def timed(function: Callable, part: str, seconds: dict[str, float]) -> Callable:
    """`function`, which adds its seconds to those of its part."""

    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[part] += time.process_time() - started

    return call


if __name__ == "__main__":
    seconds = {"imports": IMPORTED} | dict.fromkeys(PARTS, 0.0)
    for part, functions in PARTS.items():
        for owner, name in functions:
            setattr(owner, name, timed(getattr(owner, name), part, seconds))
    main(sys.argv[1:])
    seconds["all else"] = time.process_time() - sum(seconds.values())
    Path(FILE).write_text(json.dumps(seconds))
