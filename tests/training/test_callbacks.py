"""Lightning's callbacks with updates in blocks: those said to work do, and the others are refused."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, callbacks
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from torch.optim.lr_scheduler import LinearLR

from lecun_repro import ConvNet1989, DigitClassifier, DigitsDataModule, TanhMSE
from lecun_repro.errors import BadArgument
from lecun_repro.training.callbacks import REFUSED, WORKS

pytestmark = pytest.mark.usefixtures("own_folder")

PAGE = Path(__file__).parents[2] / "docs/callbacks.md"
PASSES, BLOCKS, DIGITS = 3, 3, 20  # a pass of 20 updates in blocks of 7


class Noted(Logger):
    """A logger without a folder."""

    name, version = "noted", 0

    def __init__(self) -> None:
        self.metrics: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append((step or 0, metrics))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def steps(self, name: str) -> list[int]:
        return [step for step, metrics in self.metrics if name in metrics]


def trainer_of(*given: Callback, logger: Logger | bool = False, **arguments: Any) -> Trainer:
    quiet = {"enable_checkpointing": any(isinstance(c, callbacks.Checkpoint) for c in given), "accelerator": "cpu"}
    quiet |= {"enable_progress_bar": any(isinstance(c, callbacks.ProgressBar) for c in given), "devices": 1}
    quiet |= {"enable_model_summary": any(isinstance(c, callbacks.ModelSummary) for c in given), "max_epochs": PASSES}
    return Trainer(callbacks=list(given), logger=logger, log_every_n_steps=1, **quiet | arguments)


def fit(*given: Callback, logger: Logger | bool = False, **arguments: Any) -> Trainer:
    trainer = trainer_of(*given, logger=logger)
    schedule = partial(LinearLR, start_factor=1.0, end_factor=0.5, total_iters=PASSES - 1)
    trainer.fit(*model_and_data(lr_scheduler=schedule, **arguments))
    return trainer


def model_and_data(**arguments: Any) -> tuple[DigitClassifier, DigitsDataModule]:
    data = DigitsDataModule("digits", train_size=DIGITS, test_size=10, block_size=7)
    return DigitClassifier(ConvNet1989(seed=1), TanhMSE(), compile=False, **arguments), data


def test_the_table_the_page_and_lightning_agree() -> None:
    assert sorted([*WORKS, *REFUSED]) == sorted(callbacks.__all__)
    rows = [row.strip("| ").split(" | ") for row in PAGE.read_text().splitlines() if row.startswith("| `")]
    said = {name: ("works", words) for name, words in WORKS.items()}
    said |= {name: ("refused", words) for name, words in REFUSED.items()}
    assert {name.strip("`"): (here, words) for name, here, words in rows} == said


# What works


def base(capsys: Any, monkeypatch: Any) -> None:
    seen: list[int] = []

    class Own(Callback):
        def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append(batch.labels.numel())
            module.log("updates", float(trainer.global_step))

    assert fit(Own(), logger=(logger := Noted())).global_step == PASSES * DIGITS
    assert seen == [7, 7, 6] * PASSES
    assert logger.steps("updates") == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert logger.steps("error/test") == [1, 2, 3]


def lambdas(capsys: Any, monkeypatch: Any) -> None:
    seen: list[int] = []
    fit(callbacks.LambdaCallback(on_train_epoch_end=lambda trainer, module: seen.append(trainer.global_step)))
    assert seen == [20, 40, 60]


def predictions(capsys: Any, monkeypatch: Any) -> None:
    seen: list[torch.Size] = []

    class Writer(callbacks.BasePredictionWriter):
        def write_on_batch_end(self, trainer: Trainer, module: Any, prediction: torch.Tensor, *rest: Any) -> None:
            seen.append(prediction.shape)

    with pytest.warns(UserWarning, match="Couldn't infer the batch indices"):
        trainer_of(Writer()).predict(*model_and_data())
    assert seen == [(10, 10)]


def checkpoint(capsys: Any, monkeypatch: Any) -> None:
    trainer = fit(callbacks.ModelCheckpoint("saved", monitor="error/train", save_top_k=-1))
    assert len(list(Path("saved").iterdir())) == PASSES
    saved = torch.load(f"saved/epoch={PASSES - 1}-step={PASSES * DIGITS}.ckpt", weights_only=True)
    state = trainer.lightning_module.state_dict()
    assert all(torch.equal(saved["state_dict"][name], value) for name, value in state.items())
    assert saved["lecun_repro"]["whole"]


def base_checkpoint(capsys: Any, monkeypatch: Any) -> None:
    class Own(callbacks.Checkpoint):
        def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
            trainer.save_checkpoint(f"{trainer.current_epoch}.ckpt")

    fit(Own())
    assert len(list(Path().glob("*.ckpt"))) == PASSES


def device_stats(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(CPUAccelerator, "get_device_stats", lambda self, device: {"load": 1.0})
    fit(callbacks.DeviceStatsMonitor(cpu_stats=True), logger=(logger := Noted()))
    assert logger.steps("DeviceStatsMonitor.on_train_batch_end/load") == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def early_stopping(capsys: Any, monkeypatch: Any) -> None:
    assert fit(callbacks.EarlyStopping("error/test", stopping_threshold=101)).global_step == DIGITS
    assert fit(callbacks.EarlyStopping("loss/test_raw", stopping_threshold=1e9), average="ema").global_step == DIGITS


def rates(capsys: Any, monkeypatch: Any) -> None:
    fit(callbacks.LearningRateMonitor(log_momentum=True), logger=(logger := Noted()))
    monitored = {step: metrics["lr-SGD"] for step, metrics in logger.metrics if "lr-SGD" in metrics}
    assert monitored == pytest.approx({1: 0.03, 2: 0.0225, 3: 0.015})
    assert monitored == {step: metrics["rate"] for step, metrics in logger.metrics if "rate" in metrics}


def summary(kind: type[callbacks.ModelSummary], capsys: Any, monkeypatch: Any) -> None:
    shown: list[int] = []
    monkeypatch.setattr(kind, "summarize", staticmethod(lambda summary_data, total, *rest, **more: shown.append(total)))
    fit(kind())
    assert shown == [9_760]


def own_bar(capsys: Any, monkeypatch: Any) -> None:
    class Own(callbacks.ProgressBar):
        blocks = 0

        def on_train_batch_end(self, *args: Any) -> None:
            self.blocks += 1

    fit(bar := Own())
    assert bar.blocks == PASSES * BLOCKS


def bar(kind: Callable[[], callbacks.ProgressBar], capsys: Any, monkeypatch: Any) -> None:
    trainer = fit(shown := kind())
    assert (trainer.progress_bar_callback, shown.total_train_batches) == (shown, BLOCKS)
    assert capsys.readouterr().out.count("eval: pass") == 2 * PASSES


def timer(capsys: Any, monkeypatch: Any) -> None:
    soon = timedelta(microseconds=1)
    assert fit(callbacks.Timer(soon, interval="epoch")).global_step == DIGITS
    assert fit(callbacks.Timer(soon, interval="step")).global_step == 7


DO: dict[str, Callable[[Any, Any], None]] = {
    "BasePredictionWriter": predictions,
    "Callback": base,
    "Checkpoint": base_checkpoint,
    "DeviceStatsMonitor": device_stats,
    "EarlyStopping": early_stopping,
    "LambdaCallback": lambdas,
    "LearningRateMonitor": rates,
    "ModelCheckpoint": checkpoint,
    "ModelSummary": partial(summary, callbacks.ModelSummary),
    "ProgressBar": own_bar,
    "RichModelSummary": partial(summary, callbacks.RichModelSummary),
    "RichProgressBar": partial(bar, callbacks.RichProgressBar),
    "TQDMProgressBar": partial(bar, callbacks.TQDMProgressBar),
    "Timer": timer,
}


@pytest.mark.parametrize("name", WORKS)
def test_what_is_said_to_work_does(name: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("Rich"):
        pytest.importorskip("rich")
    DO[name](capsys, monkeypatch)


# What is refused

MADE: dict[str, Callable[[], Callback]] = {
    "GradientAccumulationScheduler": lambda: callbacks.GradientAccumulationScheduler({0: 2}),
    "ModelPruning": lambda: callbacks.ModelPruning("l1_unstructured"),
    "OnExceptionCheckpoint": lambda: callbacks.OnExceptionCheckpoint("."),
    "StochasticWeightAveraging": lambda: callbacks.StochasticWeightAveraging(1e-2),
    "ThroughputMonitor": lambda: callbacks.ThroughputMonitor(len),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's, of OnExceptionCheckpoint
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_names_what_to_use(name: str) -> None:
    with pytest.raises(BadArgument) as caught:
        fit(MADE.get(name, getattr(callbacks, name))())
    assert str(caught.value) == f"trainer.callbacks: {name}; allowed: {REFUSED[name].replace('`', '')}"


class OwnAverage(callbacks.EMAWeightAveraging):
    """One's own, of a kind that is refused."""


def nothing(*args: Any) -> None: ...


@pytest.mark.parametrize("callback, arguments, said", [
    (OwnAverage(), {}, "trainer.callbacks: OwnAverage; allowed: model.average: ema"),
    (callbacks.ModelCheckpoint(every_n_train_steps=5), {}, "every_n_train_steps: 5 of ModelCheckpoint; allowed: eve"),
    (callbacks.ModelCheckpoint(train_time_interval=timedelta(1)), {}, "train_time_interval: 1 day, 0:00:00 of "),
    (callbacks.ModelCheckpoint(save_on_exception=True), {}, "save_on_exception: True of ModelCheckpoint; allowed: f"),
    (callbacks.LearningRateMonitor("step"), {}, "logging_interval: step of LearningRateMonitor; allowed: epoch"),
    (callbacks.LearningRateMonitor(), {"lr_interval": "step"}, "logging_interval: step of LearningRateMonitor"),
    (callbacks.LambdaCallback(on_after_backward=nothing), {}, "LambdaCallback.on_after_backward; allowed: on_train_b"),
    (callbacks.EarlyStopping("val_loss"), {}, "monitor: val_loss of EarlyStopping; allowed: loss/train, error/train"),
    (callbacks.ModelCheckpoint(monitor="error/dev"), {}, "monitor: error/dev of ModelCheckpoint; allowed: loss/tr"),
])  # fmt: skip
def test_arguments_that_cannot_be_honoured_are_refused(
    callback: Callback, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadArgument) as caught:
        fit(callback, **arguments)
    assert said in str(caught.value)


def test_what_a_callback_of_ones_own_logs_can_be_watched() -> None:
    class Own(Callback):
        def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
            module.log("mine", 1.0)

    assert fit(Own(), callbacks.EarlyStopping("mine", stopping_threshold=2)).global_step == DIGITS
    with pytest.raises(BadArgument, match=r"monitor: yours of EarlyStopping; allowed: .*mine"):
        fit(Own(), callbacks.EarlyStopping("yours"))


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_checkpoint_from_within_a_pass_is_no_start() -> None:
    module, data = model_and_data()
    saved = callbacks.ModelCheckpoint("saved")
    trainer_of(saved, max_steps=30).fit(module, data)
    with pytest.raises(ValueError, match="before the end of its pass"):
        trainer_of().fit(module, data, ckpt_path=saved.best_model_path)
    trainer_of().test(module, data, ckpt_path=saved.best_model_path)
