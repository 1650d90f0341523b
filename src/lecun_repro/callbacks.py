"""What a fit leaves behind and shows: the run's record, its checkpoint, the progress bar."""

import hashlib
import inspect
import io
import json
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import lightning
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lecun_repro import divergence
from lecun_repro.data import DigitsDataModule
from lecun_repro.evaluation import SplitResult
from lecun_repro.module import DigitClassifier
from lecun_repro.tensorboard import hyperparameters, show_configuration, show_hyperparameters

RESULTS = "results.json"

SECTIONS: dict[str, Callable[..., Any]] = {"data": DigitsDataModule, "model": DigitClassifier}

# What a checkpoint carries of its configuration, and which of its data's arguments it does not: files of one machine.
CARRIED = ("seed_everything", "data", "model", "optimizer", "lr_scheduler")
LOCAL = ("root", "images")

# Where a run reads, writes and shows things has no part in its configuration's identity.
PLACES = {
    "data.root",
    "data.block_size",
    "ckpt_path",
    "config",
    "threads",
    "trainer.logger",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.enable_checkpointing",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "pictures",
}


def config_hash(config: dict[str, Any]) -> str:
    """A digest of a resolved configuration, the same for two runs that have to give the same result.

    Arguments left at their defaults are left out, so that a later version's new argument changes no digest.
    """

    def chosen(value: Any, key: str, signature: dict[str, Any]) -> Any:
        if not isinstance(value, dict):
            return value
        if "class_path" in value:
            defaults = _defaults(pkgutil.resolve_name(value["class_path"]))
            return [value["class_path"], chosen(value.get("init_args") or {}, f"{key}.init_args", defaults)]
        kept = {}
        for name, argument in sorted(value.items()):
            path = f"{key}.{name}" if key else name
            if path not in PLACES and (name not in signature or argument != signature[name]):
                kept[name] = chosen(argument, path, _defaults(SECTIONS[path]) if path in SECTIONS else {})
        return kept

    return hashlib.sha256(json.dumps(chosen(config, "", {}), sort_keys=True).encode()).hexdigest()[:16]


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


class RecordRun(SaveConfigCallback):
    """Writes `config.yaml` when a fit starts and `results.json` when it ends; keeps its curve in the checkpoint.

    Args:
        parser: The subcommand's parser.
        config: The resolved configuration.
        started: `time.perf_counter()` when the command started, after its imports.
    """

    def __init__(self, parser: Any, config: Any, started: float, **kwargs: Any) -> None:
        super().__init__(parser, config, save_to_log_dir=False, **kwargs)
        self.started = started
        self.resolved: dict[str, Any] = json.loads(parser.dump(config, format="json", skip_none=False))
        self.curve: list[dict[str, Any]] = []
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
        entry: dict[str, Any] = {"pass": trainer.current_epoch + 1}
        entry |= {split: {"loss": r.loss, "error": r.error, "misses": r.misses} for split, r in self.results.items()}
        self.curve = [e for e in self.curve if e["pass"] < entry["pass"]] + [entry]

    def on_fit_end(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        directory = log_dir(trainer)
        if directory is None or trainer.interrupted:
            return
        if not self.evaluated:  # the checkpoint to go on from was that of the last pass
            for split, result in self.results.items():
                pl_module.print(result.line(split))
        if (writer := writer_of(trainer)) is not None:
            show_hyperparameters(writer, hyperparameters(trainer, pl_module))
            self.show_rejection(writer, pl_module, trainer.current_epoch)
        # Last, as it is what tells that a run is done.
        write_atomically(directory / RESULTS, json.dumps(self.record(trainer, pl_module), indent=1) + "\n")

    def show_rejection(self, writer: SummaryWriter, module: DigitClassifier, passes: int) -> None:
        """What rejecting digits would buy on the second split, as a figure in TensorBoard."""
        second = module.splits()[1]
        curve = self.results[second].rejection if second in self.results else None
        if curve is not None:
            from lecun_repro.figures import rejection_figure  # matplotlib, which takes a while

            writer.add_figure(f"rejection/{second}", rejection_figure({second: [curve]}), passes)

    def on_exception(self, trainer: Trainer, pl_module: DigitClassifier, exception: BaseException) -> None:  # type: ignore[override]
        directory = log_dir(trainer)
        if directory is not None and isinstance(exception, divergence.Diverged):
            none = {*self.results, "us_per_update"}  # its results are none, and the last whole pass's would mislead
            record = {k: v for k, v in self.record(trainer, pl_module).items() if k not in none}
            record["diverged"] = exception.record()
            write_atomically(directory / divergence.FILE, json.dumps(record, indent=1) + "\n")

    def record(self, trainer: Trainer, module: DigitClassifier) -> dict[str, Any]:
        """The contents of `results.json`."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        return {
            "row": trainer.logger.name if trainer.logger else None,
            "seed": module.seed,
            "source": data.source,
            "draw": data.draw,
            "passes": trainer.current_epoch,
            "updates": trainer.global_step,
            "parameters": sum(p.numel() for p in module.network.parameters()),
            "compiled": module.compiled,
            "fit_seconds": round(self.seconds_before + time.perf_counter() - self.started, 3),
            "us_per_update": round(1e6 * module.update_seconds / max(module.updates_done, 1), 3),
            **{split: result._asdict() for split, result in self.results.items()},
            "curve": self.curve,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "lightning": lightning.__version__,
                "lecun_repro": version("lecun-repro"),
            },
            "config_hash": config_hash(self.resolved),
        }

    # What makes a checkpoint usable without its YAML, and a resumed run's record that of an undisturbed one.

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        config = {k: self.resolved[k] for k in CARRIED}
        config["data"] = {k: v for k, v in config["data"].items() if k not in LOCAL}
        checkpoint.setdefault("lecun_repro", {}).update(
            row=trainer.logger.name if trainer.logger else None,
            config=config,
            curve=self.curve,
            results={split: result._asdict() for split, result in self.results.items()},
            seconds=self.seconds_before + time.perf_counter() - self.started,
        )

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint.get("lecun_repro", {})
        self.curve = saved.get("curve", [])
        self.results = {split: SplitResult(**result) for split, result in saved.get("results", {}).items()}
        self.seconds_before = saved.get("seconds", 0.0)


class LastPass(Checkpoint):
    """Keeps `checkpoints/last.ckpt`, always of a whole pass: written beside its place, then moved there."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        directory = log_dir(trainer)
        cut_short = pl_module.updates_this_pass < trainer.datamodule.updates_per_pass  # type: ignore[attr-defined]  # by max_steps
        if directory is None or trainer.fast_dev_run or cut_short:  # type: ignore[attr-defined]
            return
        folder = directory / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        # Not through trainer.save_checkpoint, which stages the file elsewhere and may end in a plain copy.
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        torch.save(checkpoint, buffer := io.BytesIO())  # torch's own writing to a file hides why it failed
        with replacing(folder / "last.ckpt") as file:
            file.write(buffer.getbuffer())


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

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
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

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        """Prints lines to standard output without tearing the bar."""
        tqdm.write(sep.join(map(str, args)), file=sys.stdout)


def log_dir(trainer: Trainer) -> Path | None:
    """`lightning_logs/<row>/version_N`, or None for a run that keeps no log."""
    if trainer.logger is None or trainer.fast_dev_run or trainer.log_dir is None:  # type: ignore[attr-defined]
        return None
    return Path(trainer.log_dir)


def writer_of(trainer: Trainer) -> SummaryWriter | None:
    """What writes a run's TensorBoard files, or None for a run without."""
    logged = log_dir(trainer) is not None and isinstance(trainer.logger, TensorBoardLogger)
    return trainer.logger.experiment if logged else None  # type: ignore[union-attr]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write into that takes the place of `path` at the end: `path` is there as a whole or not at all.

    Not even a loss of power leaves half of it: the contents reach the disk before the name does.
    """
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        beside.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file that is there as a whole or not at all; names of files in a text keep their bytes."""
    with replacing(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode(errors="surrogateescape"))


def size_table(module: DigitClassifier) -> str:
    """The network's parameters, multiply-accumulates and activations, layer by layer; else its parameters alone."""
    sizes = module.network.sizes()
    if not sizes:
        return f"{type(module.network).__name__}: {sum(p.numel() for p in module.network.parameters()):,} parameters"
    rows: list[tuple[str, ...]] = [("layer", "shape", "parameters", "multiply-accumulates", "activations")]
    rows += [(s.layer, s.shape, f"{s.parameters:,}", f"{s.macs:,}", f"{s.activations:,}") for s in sizes]
    totals = (sum(column) for column in zip(*(s[2:] for s in sizes), strict=True))
    rows.append(("sum", "", *(f"{total:,}" for total in totals)))
    lines = [f"{a:8s}{b:8s}{c:>12s}{d:>22s}{e:>13s}" for a, b, c, d, e in rows]
    return "\n".join([*lines, *([module.network.note] if module.network.note else [])])
