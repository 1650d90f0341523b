"""The LightningModule under a real Trainer, on the digits that ship with scikit-learn."""

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback
from test_updates import needs_compiler
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LinearLR, OneCycleLR, ReduceLROnPlateau

from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.errors import BadArgument
from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.models.heads import CrossEntropy, TanhMSE
from lecun_repro.training import module as module_under_test
from lecun_repro.training import updates
from lecun_repro.training.compile_cache import CompileError
from lecun_repro.training.module import DigitClassifier
from lecun_repro.training.updates import Clip, Examples, Updates, eager_updates

CONFIGS = Path(__file__).parents[2] / "configs"
NOT_COMPILED = "updates are not compiled: "


class Watch(Callback):
    """Notes what a fit does from pass to pass."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.evaluated_at: list[int] = []
        self.modes: list[bool] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_start(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        self.evaluated_at.append(trainer.global_step)
        self.modes.append(pl_module.network.training)


def make_trainer(*callbacks: Callback, **arguments: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    quiet |= {"accelerator": "cpu", "devices": 1, "enable_model_summary": False}
    return Trainer(callbacks=list(callbacks), **quiet | arguments)


def make_module(optimizer=functools.partial(SGD, lr=0.03), dropout: float = 0.0, **arguments: Any) -> DigitClassifier:  # noqa: B008
    network = ConvNet1989(dropout=dropout, seed=1337)
    return DigitClassifier(network, **{"head": TanhMSE(), "optimizer": optimizer, "compile": False} | arguments)


def make_data(**arguments: Any) -> DigitsDataModule:
    return DigitsDataModule(**{"source": "digits", "train_size": 20, "test_size": 10} | arguments)


def test_more_threads_than_one_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    for number, told in ((1, 0), (2, 1)):
        torch.set_num_threads(number)
        try:
            make_trainer(max_epochs=1).fit(make_module(), make_data())
        finally:
            torch.set_num_threads(threads)
        assert capsys.readouterr().out.count("one is fastest") == told


def test_other_data_is_refused_in_one_line() -> None:
    digits = [(torch.zeros(1, 16, 16), 0)] * 8
    theirs = LightningDataModule.from_datasets(digits, digits, batch_size=4)
    told = ": {}; allowed: a lecun_repro.DigitsDataModule, whose `source` may be a lecun_repro.Source of your own"
    for fit in (make_trainer(max_epochs=1).fit, make_trainer().validate):
        with pytest.raises(BadArgument, match=told.format("LightningDataModule")):
            fit(make_module(), datamodule=theirs)
    with pytest.raises(BadArgument, match=told.format("a data loader")):
        make_trainer(max_epochs=1).fit(make_module(), theirs.train_dataloader())


class Fitted:
    """A fit that has ended."""

    def __init__(
        self, module: DigitClassifier | None = None, data: DigitsDataModule | None = None, **trainer: Any
    ) -> None:
        self.watch = Watch()
        self.module, self.data = module or make_module(), data or make_data()
        self.trainer = make_trainer(self.watch, **{"max_epochs": 2} | trainer)
        self.trainer.fit(self.module, datamodule=self.data)


# Updates and passes as Lightning counts them


def test_global_step_counts_updates() -> None:
    fitted = Fitted(max_epochs=3)
    assert (fitted.trainer.global_step, fitted.trainer.current_epoch) == (60, 3)
    assert fitted.watch.evaluated_at == [20, 40, 60]
    assert fitted.module.updates_done == 60
    assert fitted.module.update_seconds > 0


def test_a_batch_is_one_update_and_so_is_what_is_left_of_a_pass() -> None:
    assert Fitted(data=make_data(batch_size=8), max_epochs=2).trainer.global_step == 2 * 3
    assert Fitted(data=make_data(batch_size="full"), max_epochs=2).trainer.global_step == 2


@pytest.mark.parametrize("block_size", [4, 2048])
def test_max_steps_in_the_midst_of_a_pass_trains_so_many_and_evaluates(block_size: int) -> None:
    cut = Fitted(data=make_data(block_size=block_size), max_epochs=-1, max_steps=50)
    assert cut.trainer.global_step == 50
    assert cut.watch.evaluated_at == [20, 40, 50]
    # Not one update more than those 50: two whole passes and the first ten digits once more.
    whole = Fitted(max_epochs=2)
    images, labels = whole.data.train.part(0, 10)
    network, optimizer = whole.module.network, whole.trainer.optimizers[0]
    updates.eager_updates(
        updates.Updates(network, TanhMSE(), optimizer), (network.prepare(images[:, None]), labels[:, None])
    )
    for ours, expected in zip(cut.module.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, expected)


def test_max_steps_at_the_end_of_a_pass_evaluates_it_once() -> None:
    fitted = Fitted(max_epochs=-1, max_steps=40)
    assert (fitted.trainer.global_step, fitted.watch.evaluated_at) == (40, [20, 40])


@pytest.mark.parametrize("limit, updates", [(7, 7), (0.25, 5), (1.0, 20), (100, 20)])
@pytest.mark.parametrize("block_size", [4, 2048])
def test_limit_train_batches_counts_updates(limit: int | float, updates: int, block_size: int) -> None:
    fitted = Fitted(data=make_data(block_size=block_size), limit_train_batches=limit)
    assert fitted.watch.evaluated_at == [updates, 2 * updates]


@pytest.mark.usefixtures("own_folder")
def test_fast_dev_run_is_one_update() -> None:
    fitted = Fitted(fast_dev_run=True)
    assert fitted.trainer.global_step == 1
    assert list(Path().iterdir()) == []


# The schedule


def article_schedule() -> tuple[functools.partial, functools.partial]:
    config = yaml.safe_load((CONFIGS / "article/3_adamw.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 46
    assert config["optimizer"]["class_path"] == "torch.optim.AdamW"
    assert config["lr_scheduler"]["class_path"] == "torch.optim.lr_scheduler.LinearLR"
    optimizer, schedule = config["optimizer"]["init_args"], config["lr_scheduler"]["init_args"]
    return functools.partial(AdamW, **optimizer), functools.partial(LinearLR, **schedule)


@pytest.mark.parametrize("passes", [46, 3])
def test_the_articles_rate_falls_to_a_third_in_the_last_of_46_passes(passes: int) -> None:
    optimizer, schedule = article_schedule()
    module = make_module(optimizer, lr_scheduler=schedule, head=CrossEntropy())
    rates = Fitted(module, make_data(train_size=2, test_size=1), max_epochs=passes).watch.rates
    # A fit cut short has the first rates of the same schedule.
    expected = [3e-4 - 2e-4 * index / 45 for index in range(46)]
    assert rates == pytest.approx(expected[:passes], rel=1e-9)


def test_a_plateau_is_one_of_the_training_loss() -> None:
    seen: list[float] = []

    class Plateau(ReduceLROnPlateau):
        def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
            seen.append(float(metrics))
            super().step(metrics)

    # At next to no rate a pass's training loss is the evaluated one.
    module = make_module(
        functools.partial(SGD, lr=1e-9), lr_scheduler=functools.partial(Plateau, patience=0, threshold=0.5, eps=0)
    )
    fitted = Fitted(module, make_data(block_size=6), max_epochs=4)
    results = fitted.module.results
    assert seen == pytest.approx([results["train"].loss] * 4, rel=1e-5)
    assert seen[0] != pytest.approx(results["test"].loss, rel=1e-3)
    assert fitted.watch.rates == pytest.approx([1e-9, 1e-9, 1e-10, 1e-11])


def test_a_schedule_may_be_stepped_with_every_update() -> None:
    one_cycle = functools.partial(OneCycleLR, max_lr=0.1, total_steps=41)
    module = make_module(functools.partial(SGD, lr=0.01, momentum=0.9), lr_scheduler=one_cycle, lr_interval="step")
    fitted = Fitted(module)
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01, momentum=0.9)
    schedule = OneCycleLR(optimizer, max_lr=0.1, total_steps=41)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert fitted.watch.rates == [rates[0], rates[20]]
    assert fitted.trainer.optimizers[0].param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


# Gradients, groups and averages


@pytest.mark.parametrize("kind, clip", [("norm", Clip(norm=0.01)), ("value", Clip(value=0.001))])
def test_the_trainer_s_clipping_is_that_of_the_updates(kind: str, clip: Clip) -> None:
    limit = clip.norm or clip.value
    fitted = Fitted(max_epochs=1, gradient_clip_val=limit, gradient_clip_algorithm=kind)
    assert fitted.module.clip == clip
    plain = Fitted(max_epochs=1)
    moved = [
        torch.cat([(a - b).flatten() for a, b in zip(weights(each.module), weights(make_module()), strict=True)]).norm()
        for each in (fitted, plain)
    ]
    assert moved[0] < moved[1] / 2


def test_parameters_may_have_groups_of_their_own() -> None:
    module = make_module(
        functools.partial(AdamW, lr=0.001, weight_decay=0.1), param_groups={"b$": {"weight_decay": 0.0}}
    )
    groups = Fitted(module).trainer.optimizers[0].param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.1, 4), (0.0, 4)]


@pytest.mark.parametrize(
    "patterns, told", [({"(": {}}, "regular expressions"), ({"bias": {}}, "match some of H1w, H1b")]
)
def test_patterns_of_parameters_that_are_none_are_refused(patterns: dict, told: str) -> None:
    with pytest.raises(BadArgument, match=f"param_groups: .*{told}"):
        Fitted(make_module(param_groups=patterns))


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_averaged_weights_are_evaluated_and_the_raw_ones_as_well(kind: Any) -> None:
    fitted = Fitted(make_module(average=kind, average_decay=0.9, average_start=1))
    results, module = fitted.module.results, fitted.module
    assert list(results) == ["train", "train_raw", "test", "test_raw"]
    images, labels = fitted.data.splits["test"]
    for name, network in (("test", module.evaluated_network), ("test_raw", module.network)):
        with torch.no_grad():
            loss = module.head.loss(network(images), labels)
        assert results[name].loss == pytest.approx(float(loss), rel=1e-5)
    assert results["test"].loss != results["test_raw"].loss
    assert torch.equal(module(images).argmax(1), module.evaluated_network(images).argmax(1))


# Evaluation


def test_evaluates_without_dropout_or_shifts(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lecun_repro.data.blocks.EVAL_CHUNK", 8)  # several for a split, the last one smaller
    fitted = Fitted(make_module(dropout=0.5), make_data(shift="roll"))
    assert not any(fitted.watch.modes)
    lines = []
    for split, (images, labels) in (("train", fitted.data.train), ("test", fitted.data.splits["test"])):
        with torch.no_grad():
            outputs = fitted.module.network(images)
            loss = fitted.module.head.loss(outputs, labels)  # type: ignore[operator]
        result = fitted.module.results[split]
        missed = (outputs.argmax(1) != labels).nonzero().flatten().tolist()
        assert (result.n, result.misses, result.missed) == (len(labels), len(missed), missed)
        assert result.loss == pytest.approx(float(loss), rel=1e-5)
        lines.append(result.line(split, 2))
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4  # two of each pass
    assert printed[2:] == lines


def test_digits_held_out_are_the_evaluation_split(capsys: pytest.CaptureFixture[str]) -> None:
    fitted = Fitted(data=make_data(holdout=5))
    assert set(fitted.module.results) == {"train", "holdout"}
    assert "eval: pass 1, split holdout. loss " in capsys.readouterr().out


def test_predicts_probabilities() -> None:
    module, data = make_module(), make_data()
    [probabilities] = make_trainer().predict(module, datamodule=data)  # type: ignore[misc]
    assert probabilities.shape == (10, 10)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(10))
    assert torch.equal(module(data.splits["test"].images).argmax(1), probabilities.argmax(1))


# Randomness


def weights(module: DigitClassifier) -> list[torch.Tensor]:
    return [p.detach() for p in module.network.parameters()]


def test_results_depend_on_the_seed_and_not_on_the_blocks() -> None:
    def trained(seed: int, block_size: int) -> list[torch.Tensor]:
        module = make_module(dropout=0.25, seed=seed)
        return weights(Fitted(module, make_data(shift="roll", block_size=block_size, seed=seed)).module)

    base = trained(1, 2048)
    for block_size in (1, 7):
        assert all(torch.equal(a, b) for a, b in zip(base, trained(1, block_size), strict=True))
    assert not torch.equal(base[0], trained(2, 2048)[0])


def test_every_pass_has_masks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    def masks(updates: Updates, examples: Examples) -> torch.Tensor:
        kept.append(examples[2].flatten(0, 1))
        return eager_updates(updates, examples)

    monkeypatch.setattr(module_under_test, "eager_updates", masks)
    make_trainer(max_epochs=2).fit(make_module(dropout=0.25), datamodule=make_data())
    first, second = kept
    assert first.shape == second.shape == (20, 192)
    assert not torch.equal(first, second)
    assert 0.7 < first.float().mean() < 0.8


# What `compile` comes to


@pytest.fixture
def short_runs_earn_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_under_test, "EARNS_COMPILING", 40)
    monkeypatch.setattr(module_under_test, "compiler", lambda: "g++ 1")


def compile_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("eval: ")]


def test_compile_false_says_nothing(capsys: pytest.CaptureFixture[str], short_runs_earn_compiling) -> None:
    assert Fitted(make_module(compile=False)).module.compiled is False
    assert compile_lines(capsys) == []


@pytest.mark.parametrize(
    "trainer, updates",
    [
        ({"max_epochs": 2}, 40),
        ({"max_epochs": -1, "max_steps": 30}, 30),
        ({"max_epochs": 3, "limit_train_batches": 5}, 15),
    ],
)
def test_the_configured_run_as_a_whole_decides(
    trainer: dict, updates: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One update more would have been enough.
    monkeypatch.setattr(module_under_test, "EARNS_COMPILING", updates + 1)
    assert Fitted(make_module(compile="auto"), **trainer).module.compiled is False
    assert compile_lines(capsys) == [NOT_COMPILED + f"this run has {updates}, and compiling pays from {updates + 1}"]


def test_a_run_of_medium_length_uses_what_was_compiled_before_and_compiles_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def load_or_build(scan, carry, xs, unless_built: str):
        asked.append(unless_built)
        raise CompileError(unless_built)

    monkeypatch.setattr(module_under_test, "EARNS_TRACING", 40)
    monkeypatch.setattr(module_under_test, "compiler", lambda: "g++ 1")
    monkeypatch.setattr(updates, "load_or_build", load_or_build)
    assert Fitted(make_module(compile="auto")).module.compiled is False
    assert asked == ["this run has 40, and compiling pays from 20,000"]
    assert compile_lines(capsys) == [NOT_COMPILED + asked[0]]


def test_where_plain_updates_take_long_it_is_told_once_by_what_factor_and_how_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_under_test, "LONG", 0)
    fitted = Fitted(make_module(compile="auto"))
    why, how_long = compile_lines(capsys)
    assert why == NOT_COMPILED + "this run has 40, and compiling pays from 20,000"
    assert re.fullmatch(
        r"an update takes [\d.]+ ms, 20 to 40 times as long as a compiled one; the other 20 some \d+ s", how_long
    )
    assert fitted.module.notice == f"{why}; {how_long}"
    Fitted(make_module(compile=False))
    assert compile_lines(capsys) == []


@pytest.mark.parametrize("seconds, words", [(39.6, "40 s"), (150, "2 min"), (7000, "117 min"), (12_600, "3.5 h")])
def test_durations(seconds: float, words: str) -> None:
    assert module_under_test.duration(seconds) == words


class CountsInPython(torch.optim.Optimizer):
    """What cannot be traced: its step count is no tensor."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["step"] = self.state[p].get("step", 0) + 1
                p.sub_(group["lr"] / self.state[p]["step"] * p.grad)


WHY = "CountsInPython's own step() is used, as it keeps step in its state as int and not as a tensor"


@pytest.mark.parametrize(
    "optimizer, version, why",
    [(CountsInPython, "g++ 1", WHY), (functools.partial(SGD, lr=0.03), None, "there is no working C++ compiler")],
)
def test_what_cannot_be_compiled_says_why(
    optimizer, version, why: str, capsys, monkeypatch: pytest.MonkeyPatch, short_runs_earn_compiling
) -> None:
    monkeypatch.setattr(module_under_test, "compiler", lambda: version)
    assert Fitted(make_module(optimizer, compile="auto")).module.compiled is False
    assert compile_lines(capsys) == [NOT_COMPILED + why]


def test_compile_true_refuses_an_optimizer_that_cannot_be_traced() -> None:
    with pytest.raises(BadArgument, match=r"model\.compile: true with CountsInPython; allowed: auto, false; Counts"):
        Fitted(make_module(CountsInPython, compile=True))


@pytest.fixture
def compiling_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise CompileError("OSError: No space left on device")

    monkeypatch.setattr(updates, "load_or_build", fail)


def test_where_compiling_fails_auto_goes_on_eagerly(
    capsys: pytest.CaptureFixture[str], short_runs_earn_compiling, compiling_fails
) -> None:
    fitted = Fitted(make_module(compile="auto"))
    assert fitted.module.compiled is False
    assert compile_lines(capsys) == [NOT_COMPILED + "OSError: No space left on device"]
    assert all(torch.equal(a, b) for a, b in zip(weights(fitted.module), weights(Fitted().module), strict=True))


def test_where_compiling_fails_true_stops(compiling_fails) -> None:
    with pytest.raises(CompileError, match="No space left on device"):
        Fitted(make_module(compile=True))


@pytest.mark.slow
@needs_compiler
def test_a_compiled_fit_has_the_losses_of_an_eager_one(short_runs_earn_compiling) -> None:
    # The package of test_updates' float32 case.
    def fitted(compile: Any) -> Fitted:
        network = ConvNet1989("relu", dropout=0.25, output_bias=0.0, seed=1337)
        module = DigitClassifier(network, CrossEntropy(), functools.partial(AdamW, lr=3e-4), compile=compile)
        return Fitted(module, make_data(train_size=100, test_size=50, shift="roll"), max_epochs=3)

    eager, compiled = fitted(False), fitted("auto")
    assert (eager.module.compiled, compiled.module.compiled) == (False, True)
    assert compiled.trainer.global_step == 300
    for split, result in compiled.module.results.items():
        assert result.loss == pytest.approx(eager.module.results[split].loss, rel=0.01)


# What is refused


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_refuses_other_precisions(precision: Any) -> None:
    with pytest.raises(ValueError, match=rf"trainer\.precision is {precision}; allowed: 32-true, 64-true"):
        Fitted(precision=precision)


def test_trains_in_float64() -> None:
    assert Fitted(precision="64-true").module.network.H1w.dtype == torch.float64


def test_without_an_optimizer_it_is_the_articles() -> None:
    model = DigitClassifier(ConvNet1989(), TanhMSE(), optimizer=None)  # as a YAML that names none gives it
    optimizer = model.make_optimizer(model.network.parameters())
    assert type(optimizer) is torch.optim.SGD and optimizer.defaults["lr"] == 0.03
