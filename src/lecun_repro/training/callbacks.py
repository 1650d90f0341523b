"""Lightning's callbacks: which work where a `training_step` is many updates, and what to use in the place of others.

A callback's batch is a block of updates here, `data.block_size` digits, and no hook is called within it.
`docs/callbacks.md` has the same table.
"""

from collections.abc import Collection, Sequence
from typing import Any

from lightning.pytorch import Trainer, callbacks
from lightning.pytorch.callbacks import Callback

from lecun_repro.errors import BadArgument

WORKS = {
    "BasePredictionWriter": "in `predict`, with chunks of digits and their confidences; `batch_indices` stay empty",
    "Callback": "a batch is a block of updates; hooks within an update are refused, as none is called there",
    "Checkpoint": "a base class",
    "DeviceStatsMonitor": "around each block of updates",
    "EarlyStopping": "after each pass; watch `error/holdout` with `data.holdout`, not the digits reported on",
    "LambdaCallback": "as `Callback`",
    "LearningRateMonitor": "at the start of each pass; `logging_interval: step` is refused",
    "ModelCheckpoint": "after passes, beside our `last.ckpt`; `every_n_train_steps`, `train_time_interval` and "
    "`save_on_exception` are refused",
    "ModelSummary": "as everywhere",
    "ProgressBar": "takes the place of our bar; counts blocks of updates",
    "RichModelSummary": "as everywhere, if rich is installed",
    "RichProgressBar": "takes the place of our bar, if rich is installed; counts blocks of updates",
    "TQDMProgressBar": "takes the place of our bar; counts blocks of updates",
    "Timer": "ends the fit after a pass or, with `interval: step`, after a block of updates",
}

REFUSED = {
    "BackboneFinetuning": "`model.param_groups`, each with its rate; an update's weights are the same all fit",
    "BaseFinetuning": "`model.param_groups`, each with its rate; an update's weights are the same all fit",
    "BatchSizeFinder": "`data.batch_size`, the digits of an update",
    "EMAWeightAveraging": "`model.average: ema`, which follows every update; this would follow blocks of them",
    "GradientAccumulationScheduler": "`data.batch_size`, the digits of an update",
    "LearningRateFinder": "`optimizer.lr`, several tried with `data.holdout`; this would raise the rate by blocks",
    "ModelPruning": "pruning what `export` wrote; an update's weights are the same all fit",
    "OnExceptionCheckpoint": "`checkpoints/last.ckpt`, kept after every pass; none can be gone on from within one",
    "SpikeDetection": "`EarlyStopping` with `divergence_threshold`; this would see no loss of an update",
    "StochasticWeightAveraging": "`model.average: swa`, which follows every update; this would keep no average",
    "ThroughputMonitor": "`us_per_update` in `results.json`; this would count blocks for updates",
    "WeightAveraging": "`model.average: ema` or `swa`, which follow every update; this would follow blocks of them",
}

# Never called where updates are performed in blocks.
WITHIN_UPDATES = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")

KINDS = {getattr(callbacks, name): name for name in (*WORKS, *REFUSED)}


def check_callbacks(given: Sequence[Callback], lr_interval: str) -> None:
    """Refuses callbacks that would not do what they say, update by update.

    Args:
        given: The trainer's callbacks.
        lr_interval: What steps the schedule, `epoch` or `step`.

    Raises:
        BadArgument: one of them, with what to use in its place.
    """
    for callback in given:
        kind = type(callback)
        name = next(KINDS[base] for base in kind.__mro__ if base in KINDS)
        if name in REFUSED:
            raise BadArgument("trainer.callbacks", kind.__name__, REFUSED[name].replace("`", ""))
        for hook in WITHIN_UPDATES:
            if getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook):
                allowed = "on_train_batch_end, which follows a block of updates, as no hook is called within one"
                raise BadArgument("trainer.callbacks", f"{kind.__name__}.{hook}", allowed)
        for argument, (value, allowed) in refused_arguments(callback, lr_interval).items():
            if value:
                raise BadArgument(f"trainer.callbacks.{argument}", f"{value} of {kind.__name__}", allowed)


def refused_arguments(callback: Callback, lr_interval: str) -> dict[str, tuple[Any, str]]:
    """Arguments that some callbacks may not have: the value, if it is such a one, and what to use in its place."""
    if isinstance(callback, callbacks.ModelCheckpoint):
        passes = "every_n_epochs in its place, as a fit can be gone on with from the end of a pass alone"
        return {
            "every_n_train_steps": (callback._every_n_train_steps, passes),
            "train_time_interval": (callback._train_time_interval, passes),
            "save_on_exception": (callback.save_on_exception, "false; checkpoints/last.ckpt is kept after every pass"),
        }
    if isinstance(callback, callbacks.LearningRateMonitor):
        interval = callback.logging_interval or lr_interval
        allowed = "epoch, as the pass is what curves are drawn over"
        return {"logging_interval": (interval if interval == "step" else None, allowed)}
    return {}


def check_monitored(given: Sequence[Callback], logged: Collection[str]) -> None:
    """Refuses to watch what is not logged.

    Raises:
        BadArgument: a callback's `monitor` is not among the names that are logged.
    """
    for callback in given:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in logged and getattr(callback, "strict", True):
            raise BadArgument("trainer.callbacks.monitor", f"{monitor} of {type(callback).__name__}", ", ".join(logged))


def may_log(given: Sequence[Callback]) -> bool:
    """Whether one of these may log more than the module does: one's own, or a monitor of rates."""
    return any(
        type(callback).__module__.split(".")[0] not in ("lightning", "lecun_repro")
        or isinstance(callback, callbacks.LambdaCallback | callbacks.LearningRateMonitor)
        for callback in given
    )


class PassAxis(Callback):
    """Makes the pass the x-axis of whatever is logged in a fit, and not Lightning's count of blocks."""

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.current_epoch + 1

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        self.on_train_epoch_start(trainer)
