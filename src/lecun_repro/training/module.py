"""The LightningModule: a network, a head and an optimizer, trained block by block and evaluated after every pass."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, NoReturn

import torch
from jsonargparse.typing import NonNegativeInt
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tqdm import tqdm

from lecun_repro.data.blocks import Block, Chunks
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.errors import BadArgument
from lecun_repro.models.base import Network
from lecun_repro.models.heads import Head, Taught
from lecun_repro.models.plain import as_network
from lecun_repro.randomness import pass_generator
from lecun_repro.training.averaging import Average, Kind
from lecun_repro.training.callbacks import PassAxis, check_callbacks, check_monitored, may_log
from lecun_repro.training.compile_cache import CompileError, compiler
from lecun_repro.training.curvature import curvatures
from lecun_repro.training.divergence import check_loss, check_losses
from lecun_repro.training.evaluation import SplitResult, evaluated
from lecun_repro.training.forward import check_network
from lecun_repro.training.newton import StochasticDiagonalLM
from lecun_repro.training.optimizers import NotTraceable, grouped
from lecun_repro.training.updates import (
    LARGE_BATCH,
    Clip,
    CompiledUpdates,
    Examples,
    Updates,
    eager_updates,
    keep_freed_memory,
)

CHECKPOINT_FORMAT = 1
OWN_DIGITS = "whose `source` may be a lecun_repro.Source of your own digits: docs/EXTENDING.md"
SCORES = ("loss", "error", "misses")  # that are logged of a split

# Compiling takes about ten seconds and an eager update half a millisecond longer than a compiled one. Tracing, with
# which one finds what was compiled before, takes about a second.
EARNS_COMPILING = 20_000
EARNS_TRACING = 1_000
LONG = 30  # seconds of plain updates, from which on it is told how long they take


def check_format(saved: dict[str, Any], name: str = "checkpoint", of: str = "one") -> None:
    """Raises BadArgument where what a checkpoint holds under `lecun_repro` has the format of another version."""
    if (given := saved.get("format")) != CHECKPOINT_FORMAT:
        allowed = f"format {CHECKPOINT_FORMAT}; train again, or use the version of lecun-repro that wrote it"
        raise BadArgument(name, f"{of}, of format {given}", allowed)


def duration(seconds: float) -> str:
    """As one says it: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def article_sgd(params: Iterable[nn.Parameter]) -> Optimizer:
    """The article's baseline optimizer."""
    return SGD(params, lr=0.03)


class DigitClassifier(LightningModule):
    """Trains a network on digits, many optimizer updates per `training_step`.

    A pass goes once over the training digits. After each pass the splits are evaluated, as they are and without
    dropout, and the learning rate's schedule is stepped.

    Args:
        network: The network, a subclass of `lecun_repro.Network`, or any module from digits (n, 1, 16, 16) to outputs
            (n, 10).
        head: Output activation and loss: `TanhMSE` or `CrossEntropy`, a subclass of `lecun_repro.Head`.
        optimizer: Makes the optimizer from the parameters (from YAML: the key `optimizer` at the top).
        lr_scheduler: Makes the schedule from the optimizer (from YAML: `lr_scheduler`).
        lr_interval: What steps the schedule: `epoch`, the end of a pass, or `step`, every update.
        param_groups: Arguments of the optimizer for some parameters: patterns of their names (regular expressions, the
            first that matches counts) and what differs for them, such as `{"b$": {weight_decay: 0}}` for no decay of
            biases.
        average: Evaluate averaged weights: `ema`, an exponential moving average, `swa`, the mean of all weights from
            `average_start` on, or null, the weights as they are. The raw weights' errors are logged as well.
        average_decay: Of `ema`: what stays of the average in every update.
        average_start: Passes before the averaging starts.
        compile: Perform the updates as one compiled graph, 20 to 40 times faster: `true`, `false`, or `auto`: where
            there is a C++ compiler and the configured run has at least 20,000 updates, or 1,000 that were compiled
            before.
        seed: Seed of the dropout masks (linked to `seed_everything` on the command line).

    Raises:
        BadArgument: an argument outside of the above.
    """

    def __init__(
        self,
        network: Network | nn.Module,
        head: Head,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = article_sgd,
        lr_scheduler: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        param_groups: dict[str, dict[str, Any]] | None = None,
        average: Kind | None = None,
        average_decay: float = 0.999,
        average_start: NonNegativeInt = 0,  # type: ignore[valid-type]
        compile: Literal["auto"] | bool = "auto",
        seed: NonNegativeInt = 1337,  # type: ignore[valid-type]
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        if lr_interval not in ("epoch", "step"):
            raise BadArgument("lr_interval", lr_interval, "epoch, step")
        self.network, self.head = as_network(network), head
        self.average = None if average is None else Average(self.network, average, average_decay)
        self.average_start, self.lr_interval = average_start, lr_interval
        self.param_groups = param_groups or {}
        self.make_optimizer = article_sgd if optimizer is None else optimizer  # None: a YAML names none
        self.make_lr_scheduler = lr_scheduler
        self.compile_wanted: Literal["auto"] | bool = compile
        self.compiled: bool | None = None  # what `auto` came to; kept by a checkpoint and what resumes from it
        self.seed = seed
        self.notice = ""  # why the updates are not compiled, and how long they take, once that is known to be long
        self.update_seconds = 0.0  # spent in updates alone, up to the last whole pass
        self.updates_done = 0
        self._chunks: dict[str, list[tuple[Tensor, Tensor]]] = {}  # of each split: outputs and labels, so far
        self.results: dict[str, SplitResult] = {}  # of the last evaluation
        self.clip: Clip | None = None
        self._reason = ""  # why they are not compiled, until that is told
        self._updates: Updates
        self._compiled_updates: CompiledUpdates | None = None
        self.lessons: Tensor | None = None  # what teachers say of each copy of the digits: (copies, n, 10)
        self._targets: Tensor | None = None
        self._presented = 0
        self._masks: torch.Generator
        self._pass_loss: list[Tensor] = []

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> NoReturn:  # type: ignore[override]
        """Lightning's, which knows neither network nor head. Raises TypeError with what does."""
        raise TypeError(
            f"network and head are in the checkpoint: lecun_repro.load({str(checkpoint_path)!r}) makes them"
        )

    def forward(self, images: Tensor) -> Tensor:
        """Digits (n, 1, 16, 16) in [-1, 1] -> the head's ten outputs, (n, 10)."""
        return self.head.activation(self.evaluated_network(images))

    @property
    def evaluated_network(self) -> Network:
        """The network that is evaluated, exported and predicts: with the averaged weights, if there are some."""
        return self.network if self.average is None else self.average.network  # type: ignore[return-value]

    def configure_callbacks(self) -> list:
        """Takes the trainer's clipping over: Lightning refuses to clip what steps its optimizer itself.

        Raises:
            BadArgument: a callback of the trainer's that would not do what it says.
        """
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        try:
            self.check_callbacks(callbacks, self._data())
        except BadArgument:
            callbacks.clear()  # one that acts on exceptions would hide this one
            raise
        if not any(isinstance(callback, PassAxis) for callback in callbacks):
            callbacks.insert(0, PassAxis())
        value, kind = self.trainer.gradient_clip_val, self.trainer.gradient_clip_algorithm
        if value:
            self.clip = Clip(value=float(value)) if kind == "value" else Clip(norm=float(value))
            self.trainer.gradient_clip_val = None
        return []

    def check_callbacks(self, given: Sequence[Callback], data: DigitsDataModule) -> None:
        """Refuses callbacks that would not do what they say, and those that watch what is not logged.

        Raises:
            BadArgument: one of them.
        """
        check_callbacks(given, self.lr_interval)
        if not may_log(given):
            kinds = ("", "_raw") if self.average is not None else ("",)
            splits = [split.name for split in data.evaluated if split.when == "every pass"]
            check_monitored(given, [f"{score}/{split}{kind}" for split in splits for kind in kinds for score in SCORES])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.make_optimizer(grouped(self.network.own, self.param_groups))  # type: ignore[arg-type]
        if self.make_lr_scheduler is None:
            return optimizer
        return [optimizer], [self.make_lr_scheduler(optimizer)]  # stepped by the updates or in `on_train_epoch_end`

    def setup(self, stage: str) -> None:
        """Refuses what a sequence of single updates cannot honour.

        Raises:
            ValueError: several devices, or a precision other than 32-bit or 64-bit.
        """
        if stage != "fit":
            return
        if self.trainer.world_size > 1:
            processes = f"{self.trainer.world_size} processes"
            raise ValueError(f"trainer.devices gives {processes}; allowed: 1, as each update needs the one before")
        if self.trainer.precision not in ("32-true", "64-true"):
            raise ValueError(f"trainer.precision is {self.trainer.precision}; allowed: 32-true, 64-true")
        self.check_network(self._data(), self._data().updates_per_pass)

    def check_network(self, data: DigitsDataModule, updates: int) -> None:
        """Refuses a network that could not be trained by so many updates per pass on these digits.

        Raises:
            BadArgument: with the reason.
        """
        left = data.n_train % data.batch if updates > data.n_train // data.batch else 0
        check_network(self.network, data.batch, left)

    # -----------------------------------------------------------------------------------------------------------------
    # Updates

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        """Prints to standard output without tearing a bar. (Lightning's bars drop what is printed before and after.)"""
        tqdm.write(sep.join(map(str, args)), **kwargs)

    def on_fit_start(self) -> None:
        if isinstance(self.head, Taught) and self.lessons is None:
            raise BadArgument(
                "head", "Taught", "Taught with lecun_repro.runs.teaching.Teach among the trainer's callbacks"
            )
        if self.average is not None:
            self.average.start = self.average_start * self._data().updates_per_pass
        schedule: Any = self.lr_schedulers() if self.lr_interval == "step" else None
        total, interval = getattr(schedule or self.lr_schedulers(), "total_steps", None), self.lr_interval
        if total is not None and interval == "epoch" and total > 2 * max(self.trainer.max_epochs or 0, 1):
            self.print(
                f"the schedule has {total:,} steps and is stepped per pass; per update with model.lr_interval step"
            )
        if (threads := torch.get_num_threads()) > 1 and self.device.type == "cpu" and self._data().batch < LARGE_BATCH:
            self.print(
                f"torch uses {threads} threads here, and one is fastest for a net this small: torch.set_num_threads(1)"
            )
        self._updates = Updates(self.network, self.head, self._optimizer(), schedule, self.clip, self.average)
        # The resumed run's choice stands, unless the user asks for another.
        wanted = self.compiled if self.compile_wanted == "auto" and self.compiled is not None else self.compile_wanted
        reason = self._why_not() if wanted == "auto" else ""
        if wanted and not reason:
            reason = self._compile(builds=wanted is True or self._configured_updates() >= EARNS_COMPILING)
        self.compiled = self._compiled_updates is not None
        if reason and self.compile_wanted is True:
            raise BadArgument(
                "model.compile", f"true with {type(self._optimizer()).__name__}", f"auto, false; {reason}"
            )
        if reason:
            self._not_compiled(reason)

    def _not_compiled(self, reason: str) -> None:
        self._reason = f"updates are not compiled: {reason}"
        self.print(self._reason)

    def _tell_how_long(self, seconds: float, updates: int) -> None:
        """Tells it once, after the first plain updates, where what is left of the run takes long."""
        open_end = self.trainer.max_epochs in (None, -1) and self.trainer.max_steps == -1
        each, left = seconds / updates, self._configured_updates() - self.updates_done
        if not open_end and each * left >= LONG:
            factor = ", 20 to 40 times as long as a compiled one" if self._data().batch == 1 else ""
            how_long = f"an update takes {1000 * each:.2g} ms{factor}; the other {left:,} some {duration(each * left)}"
            self.notice = f"{self._reason}; {how_long}"
            self.print(how_long)
        self._reason = ""

    def _why_not(self) -> str:
        """Why `auto` does not compile the configured run as a whole; empty if it does."""
        if self._configured_updates() < min(EARNS_TRACING, EARNS_COMPILING):
            return self._too_few()
        return "there is no working C++ compiler" if compiler() is None else ""

    def _too_few(self) -> str:
        return f"this run has {self._configured_updates():,}, and compiling pays from {EARNS_COMPILING:,}"

    def _compile(self, builds: bool) -> str:
        """Makes the compiled updates, or says why they cannot be made. `builds`: also what was not compiled before."""
        if self.device.type == "mps":
            return "there is no compiled scan on MPS"
        try:
            self._compiled_updates = CompiledUpdates(self._updates, "" if builds else self._too_few())
        except NotTraceable as error:
            return f"{type(self._optimizer()).__name__}'s own step() is used, as {error}"
        return ""

    def _configured_updates(self) -> int:
        """Updates of the whole fit, wherever it may have been resumed."""
        trainer = self.trainer
        passes = 1000 if trainer.max_epochs in (None, -1) else trainer.max_epochs
        updates = passes * self._data().updates_per_pass
        return int(updates if trainer.max_steps == -1 else min(updates, trainer.max_steps))

    def _data(self) -> DigitsDataModule:
        """The trainer's data. Raises BadArgument for a loader, or another data module."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, DigitsDataModule):
            given = "a data loader" if data is None else type(data).__name__
            raise BadArgument("datamodule", given, f"a lecun_repro.DigitsDataModule, {OWN_DIGITS}")
        return data

    def _optimizer(self) -> Optimizer:
        return self.optimizers(use_pl_optimizer=False)  # type: ignore[return-value]

    def _rate(self) -> float:
        return float(self._optimizer().param_groups[0]["lr"])

    def on_train_epoch_start(self) -> None:
        self._pass_loss, self._presented = [], 0
        if isinstance(self.head, Taught):
            said = self.lessons[self._data().shown_in(self.current_epoch)]  # type: ignore[index]
            self._targets = self.head.targets(said.to(next(self.network.parameters())))
        # Drawn from block by block, and so depending on the pass alone.
        self._masks = pass_generator(self.seed, self.current_epoch, "dropout")
        self._updates.generator = pass_generator(self.seed, self.current_epoch, "network")
        if isinstance(optimizer := self._optimizer(), StochasticDiagonalLM):
            self._refresh_curvature(optimizer)

    def _refresh_curvature(self, optimizer: StochasticDiagonalLM) -> None:
        """Curvatures on training digits drawn anew for each pass, unshifted and without dropout (our guess)."""
        train = self._data().train
        drawn = torch.randperm(len(train.labels), generator=pass_generator(self.seed, self.current_epoch, "curvature"))
        drawn = drawn[: optimizer.param_groups[0]["sample"]]
        images, labels = train.images[drawn].to(next(self.network.parameters())), train.labels[drawn].to(self.device)
        optimizer.set_curvature(curvatures(self.network, self.head, images, labels))

    def training_step(self, block: Block, batch_idx: int) -> None:
        """All updates of a block, in order."""
        left = self.trainer.max_steps - self.trainer.global_step if self.trainer.max_steps >= 0 else len(block.images)
        images, labels = block.images[:left], block.labels[:left]
        digits = slice(self._presented, self._presented + labels.numel())
        self._presented = digits.stop
        targets = labels if self._targets is None else self._targets[digits].view(*labels.shape, -1)
        examples: Examples = (self.network.prepare(images), targets)
        if self.network.dropout:
            drawn = torch.rand((*labels.shape, self.network.dropout_units), generator=self._masks)
            examples = (*examples, (drawn >= self.network.dropout).to(self.device))
        if labels.shape[1] >= LARGE_BATCH:
            keep_freed_memory()
        update = self._update_call(examples)

        started = time.perf_counter()
        losses = update(examples)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.update_seconds += (seconds := time.perf_counter() - started)
        check_losses(losses, self.updates_done, self.current_epoch + 1, self._rate())
        self.updates_done += len(losses)
        if self._reason:
            self._tell_how_long(seconds, len(losses))

        self._pass_loss.append(losses)
        # Lightning counts the calls of a wrapped `step()`; here a call of training_step is many.
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for count in (progress.total, progress.current):
            count.ready += len(losses)
            count.completed += len(losses)
        if self.trainer.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True  # which evaluates before it stops

    def _update_call(self, examples: Examples) -> Callable[[Examples], Tensor]:
        """The compiled updates once they are ready for such examples, else the eager ones."""
        if self._compiled_updates is not None:
            try:
                if self._compiled_updates.ready(examples):
                    return self._compiled_updates
            except CompileError as error:
                if self.compile_wanted is True:
                    raise
                self._not_compiled(str(error))
                self._compiled_updates, self.compiled = None, False
        return partial(eager_updates, self._updates)

    def on_train_epoch_end(self) -> None:
        if self.results:
            check_monitored(self.trainer.callbacks, list(self.trainer.callback_metrics))  # type: ignore[attr-defined]
        if self.lr_interval == "step":
            return
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(torch.cat(self._pass_loss).mean())  # of training: no other split may steer a run
        elif scheduler is not None:
            scheduler.step()  # type: ignore[union-attr]

    @property
    def updates_this_pass(self) -> int:
        """Updates performed in the running pass, or in the one that has just ended."""
        return sum(map(len, self._pass_loss))

    # -----------------------------------------------------------------------------------------------------------------
    # Evaluation

    def validation_step(self, chunk: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(self._data().evaluated_now()[dataloader_idx], *chunk)

    def _evaluate(self, split: str, images: Tensor, labels: Tensor) -> None:
        """Some digits of a split, and by the raw weights as well where averaged ones are evaluated."""
        networks = {split: self.evaluated_network}
        if self.average is not None:
            networks[f"{split}_raw"] = self.network
        for name, network in networks.items():
            # In the form that updates read, which is faster for a chunk too. (Compiled, a whole chunk is slower.)
            outputs = network.outputs(network.prepare(images[None])[0])
            self._chunks.setdefault(name, []).append((outputs, labels))

    def _evaluated(self) -> dict[str, SplitResult]:
        """The results of what was evaluated; starts anew."""
        results = {}
        for name, chunks in self._chunks.items():
            outputs, labels = map(torch.cat, zip(*chunks, strict=True))
            results[name] = evaluated(self.head.loss(outputs, labels), outputs, labels, self.head.activation(outputs))
        self._chunks.clear()
        return results

    def on_validation_epoch_end(self) -> None:
        self.results = self._evaluated()
        if self.trainer.sanity_checking:
            return
        fits = self.trainer.state.fn == "fit"
        scalars = self._print(self.results, self.current_epoch + 1 if fits else None)
        if not fits:
            return
        self.log_dict(scalars, logger=False)  # for callbacks that monitor
        for logger in self.loggers:  # the x-axis is the pass, and not Lightning's count of blocks
            logger.log_metrics(scalars | {"rate": self._rate()}, step=self.current_epoch + 1)
        for split, result in self.results.items():
            check_loss(split, result.loss, self.current_epoch + 1, self._rate())

    def on_train_end(self) -> None:
        """Evaluates the splits whose time is the end of the fit."""
        data, weights = self._data(), next(self.network.parameters())
        trains = self.training
        self.eval()
        for split in (split.name for split in data.evaluated if split.when == "end"):
            with torch.no_grad():
                for images, labels in Chunks(data.splits[split]):
                    self._evaluate(split, images.to(weights), labels.to(self.device))
        results = self._evaluated()
        self.train(trains)
        self.results |= results
        scalars = self._print(results, self.current_epoch)
        for logger in self.loggers if scalars else []:
            logger.log_metrics(scalars, step=self.current_epoch)

    def _print(self, results: dict[str, SplitResult], number: int | None) -> dict[str, float]:
        """Prints a line for each split, in a fit with the pass's number; returns the numbers for the loggers."""
        for split, result in results.items():
            self.print(result.line(split, number))
        return {f"{name}/{split}": float(getattr(result, name)) for split, result in results.items() for name in SCORES}

    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        self.on_validation_epoch_end()  # that of a subclass, if it has its own

    def predict_step(self, chunk: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Digits -> the confidence in each of the ten digits, (n, 10)."""
        return self.head.probabilities(self.evaluated_network(chunk[0]))

    # -----------------------------------------------------------------------------------------------------------------
    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        progress = self.trainer.fit_loop.epoch_progress.current
        processed: int = progress.processed  # type: ignore[attr-defined]
        checkpoint.setdefault("lecun_repro", {}).update(
            format=CHECKPOINT_FORMAT,
            compiled=self.compiled,
            update_seconds=self.update_seconds,
            updates_done=self.updates_done,
            whole=processed == progress.ready and self.updates_this_pass == self._data().updates_per_pass,
        )

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Raises ValueError for a checkpoint of another format, and in a fit for one from within a pass."""
        check_format(saved := checkpoint.get("lecun_repro", {}))
        if not saved.get("whole", True) and (self._trainer is None or self.trainer.state.fn == "fit"):
            raise ValueError("it was saved before the end of its pass, and a fit goes on from whole passes alone")
        self.compiled = saved["compiled"]
        self.update_seconds, self.updates_done = saved["update_seconds"], saved["updates_done"]
