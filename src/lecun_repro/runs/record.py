"""What a fit leaves behind: its configuration and its results."""

import json
import os
import platform
import time
from importlib.metadata import version
from typing import Any

import lightning
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from lecun_repro.files import write_atomically
from lecun_repro.runs.identity import ORIGIN, config_hash
from lecun_repro.runs.results import CurvePass, Origin, Point, RunResult, as_text, read_split
from lecun_repro.runs.resume import carried
from lecun_repro.tensorboard.writer import (
    hyperparameters,
    log_dir,
    row_of,
    show_configuration,
    show_figure,
    show_hyperparameters,
    writer_of,
)
from lecun_repro.training import divergence
from lecun_repro.training.evaluation import SplitResult
from lecun_repro.training.module import DigitClassifier

RESULTS = "results.json"
RULES = "LECUN_REPRO_RULES"  # in the environment: the digest of the rules that `reproduce` runs this fit for


class RecordRun(SaveConfigCallback):
    """Writes `config.yaml` when a fit starts and `results.json` when it ends; keeps its curve in the checkpoint.

    Args:
        started: `time.perf_counter()` when the command started, after its imports.
        command: Its arguments, as one types them.
    """

    def __init__(self, parser: Any, config: Any, started: float, command: str, **kwargs: Any) -> None:
        super().__init__(parser, config, save_to_log_dir=False, **kwargs)
        self.started, self.command = started, command
        self.resolved: dict[str, Any] = json.loads(parser.dump(config, format="json", skip_none=False))
        # Before a file that they depend on may change.
        self.config_hash, self.carried = config_hash(self.resolved), carried(self.resolved)
        self.curve: list[CurvePass] = []
        self.results: dict[str, SplitResult] = {}
        self.seconds_before = 0.0  # of the runs that this one goes on from
        self.evaluated = False  # by this run

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and (directory := log_dir(trainer)) is not None:
            directory.mkdir(parents=True, exist_ok=True)
            for name in (RESULTS, divergence.FILE):  # of an earlier run that was given the same folder
                (directory / name).unlink(missing_ok=True)
            text = self.parser.dump(self.config, skip_none=False)
            write_atomically(directory / "config.yaml", text)
            if (writer := writer_of(trainer)) is not None:
                show_configuration(writer, text)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.print(size_table(pl_module))  # type: ignore[arg-type]

    def on_validation_end(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.results, self.evaluated = pl_module.results, True
        points = {split: Point(r.loss, r.error, r.misses) for split, r in self.results.items()}
        entry = CurvePass(trainer.current_epoch + 1, points)
        self.curve = [earlier for earlier in self.curve if earlier.pass_ < entry.pass_] + [entry]

    def on_fit_end(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        directory = log_dir(trainer)
        if directory is None or trainer.interrupted:
            return
        if not self.evaluated:  # the checkpoint to go on from was that of the last pass
            more = "a larger --trainer.max_epochs would add to them"
            pl_module.print(f"nothing is left to train: the checkpoint has all {trainer.current_epoch} passes; {more}")
            for split, result in self.results.items():
                pl_module.print(result.line(split, trainer.current_epoch))
            pl_module.on_train_end()
        self.results |= pl_module.results  # those of the end
        for logger in trainer.loggers:
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(hyperparameters(trainer, pl_module))
        if (writer := writer_of(trainer)) is not None:
            show_hyperparameters(writer, hyperparameters(trainer, pl_module))
            self.show_rejection(writer, trainer)
        # Last, as it is what tells that a run is done.
        write_atomically(directory / RESULTS, as_text(self.record(trainer, pl_module).to_json()))

    def show_rejection(self, writer: SummaryWriter, trainer: Trainer) -> None:
        """What rejecting digits would buy on the evaluation split, as a figure in TensorBoard."""
        split = trainer.datamodule.evaluation_split  # type: ignore[attr-defined]
        curve = self.results[split].rejection if split in self.results else None
        if curve is not None:
            from lecun_repro.tensorboard.figures import rejection_figure  # matplotlib, which takes a while

            show_figure(writer, f"rejection/{split}", rejection_figure({split: [curve]}), trainer.current_epoch)

    def on_exception(self, trainer: Trainer, pl_module: DigitClassifier, exception: BaseException) -> None:  # type: ignore[override]
        directory = log_dir(trainer)
        if directory is not None and isinstance(exception, divergence.Diverged):
            none = {*self.results, "us_per_update"}  # its results are none, and the last whole pass's would mislead
            record = {k: v for k, v in self.record(trainer, pl_module).to_json().items() if k not in none}
            record["diverged"] = exception.record()
            write_atomically(directory / divergence.FILE, as_text(record))

    def record(self, trainer: Trainer, module: DigitClassifier) -> RunResult:
        """The contents of `results.json`."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        origin = self.carried[ORIGIN]
        return RunResult(
            row=row_of(trainer),
            seed=module.seed,
            source=data.source,
            draw=data.draw,
            passes=trainer.current_epoch,
            updates=trainer.global_step,
            parameters=sum(p.numel() for p in module.network.parameters()),
            compiled=bool(module.compiled),
            fit_seconds=round(self.seconds_before + time.perf_counter() - self.started, 3),
            us_per_update=round(1e6 * module.update_seconds / max(module.updates_done, 1), 3),
            splits=self.results,
            curve=self.curve,
            versions={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "lightning": lightning.__version__,
                "lecun_repro": version("lecun-repro"),
            },
            config_hash=self.config_hash,
            origin=None if origin is None else Origin(self.resolved[ORIGIN], origin),
            fold=data.fold,
            rules=os.environ.get(RULES),
        )

    # What makes a checkpoint usable without its YAML, and a resumed run's record that of an undisturbed one.

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint.setdefault("lecun_repro", {}).update(
            row=row_of(trainer) if trainer.logger else None,
            command=self.command,
            config=self.carried,
            curve=[entry.to_json() for entry in self.curve],
            results={split: result._asdict() for split, result in self.results.items()},
            seconds=self.seconds_before + time.perf_counter() - self.started,
        )

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint.get("lecun_repro", {})
        self.curve = [CurvePass.read(entry, "its curve: ") for entry in saved.get("curve", [])]
        self.results = {
            split: read_split(result, f"its {split}: ") for split, result in saved.get("results", {}).items()
        }
        self.seconds_before = saved.get("seconds", 0.0)


def size_table(module: DigitClassifier) -> str:
    """The network's parameters, multiply-accumulates and activations, layer by layer; else its parameters alone."""
    sizes = module.network.sizes()
    if not sizes:
        count = sum(p.numel() for p in module.network.parameters())
        return f"{type(module.network.own).__name__}: {count:,} parameters"
    rows: list[tuple[str, ...]] = [("layer", "shape", "parameters", "multiply-accumulates", "activations")]
    rows += [(s.layer, s.shape, f"{s.parameters:,}", f"{s.macs:,}", f"{s.activations:,}") for s in sizes]
    totals = (sum(column) for column in zip(*(s[2:] for s in sizes), strict=True))
    rows.append(("sum", "", *(f"{total:,}" for total in totals)))
    lines = [f"{a:8s}{b:8s}{c:>12s}{d:>22s}{e:>13s}" for a, b, c, d, e in rows]
    return "\n".join([*lines, *([module.network.note] if module.network.note else [])])
