"""How far a fit is: a bar for whoever looks on, and a report to the program that has started it."""

import os
import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from tqdm import tqdm

from lecun_repro.errors import one_line
from lecun_repro.runs.record import RecordRun
from lecun_repro.runs.results import CurvePass
from lecun_repro.training.module import DigitClassifier

PIPE = "LECUN_REPRO_PROGRESS"  # in the environment: the descriptor to write counts to, and what else is to be known


class CountUpdates(Callback):
    """Writes lines to the pipe that PIPE names, if any.

    After every block of updates how many have been performed, after every pass its number and the error of the
    evaluation split in percent, beginning with the passes that the fit goes on from; behind a `#` why updates take
    long, if they do.
    """

    noticed = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for entry in self.curve(trainer):
            self.write(trainer, entry)

    def on_train_batch_end(self, trainer: Trainer, pl_module: DigitClassifier, *args: Any) -> None:  # type: ignore[override]
        write(f"{trainer.global_step}")
        if pl_module.notice != self.noticed:
            write(f"# {one_line(pl_module.notice)}")
            self.noticed = pl_module.notice

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking and (curve := self.curve(trainer)):
            self.write(trainer, curve[-1])

    def curve(self, trainer: Trainer) -> list[CurvePass]:
        return next((callback.curve for callback in trainer.callbacks if isinstance(callback, RecordRun)), [])  # type: ignore[attr-defined]

    def write(self, trainer: Trainer, entry: CurvePass) -> None:
        if (point := entry.splits.get(trainer.datamodule.evaluation_split)) is not None:  # type: ignore[attr-defined]
            write(f"{entry.pass_} {point.error!r}")


def write(line: str) -> None:
    if (pipe := os.environ.get(PIPE)) is not None:
        os.write(int(pipe), f"{line}\n".encode())


class FitProgress(ProgressBar):
    """One bar over all updates of the fit, on standard error and only on a terminal.

    Shows the pass, the updates per second, the last errors and the time left, about twice a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bar: tqdm | None = None
        self.is_enabled = True

    def disable(self) -> None:
        self.is_enabled = False

    def enable(self) -> None:
        self.is_enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        passes, updates = trainer.max_epochs, getattr(trainer.datamodule, "updates_per_pass", None)  # type: ignore[attr-defined]
        total = passes * updates if passes and passes > 0 and updates else None
        if trainer.max_steps >= 0:
            total = min(total or trainer.max_steps, trainer.max_steps)
        self.bar = tqdm(
            total=total,
            initial=trainer.global_step,
            unit=" updates",
            mininterval=0.5,
            file=sys.stderr,
            disable=None if self.is_enabled else True,  # None: off where standard error is no terminal
            bar_format="{desc} |{bar:24}| {percentage:3.0f}% {rate_fmt}, {remaining} left{postfix}",
            leave=False,
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.bar is not None:
            self.bar.set_description(f"pass {trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=False)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if self.bar is not None:
            self.bar.update(trainer.global_step - self.bar.n)

    def on_validation_end(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        if self.bar is not None and not trainer.sanity_checking:
            errors = {split: f"{result.error:.2f}%" for split, result in pl_module.results.items()}
            self.bar.set_postfix(errors, refresh=False)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
