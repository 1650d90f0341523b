"""What a fit leaves behind, by whole `fit` commands in the test's own folder."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fits import TIMES, difference, left
from lightning import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lecun_repro import CrossEntropy, DigitClassifier, DigitsDataModule
from lecun_repro.__main__ import main
from lecun_repro.cli.build import resolve
from lecun_repro.data.splits import EvaluatedSplit
from lecun_repro.models.base import Network
from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.runs.identity import config_hash
from lecun_repro.runs.record import RULES, size_table
from lecun_repro.training.compile_cache import compiler

pytestmark = pytest.mark.usefixtures("own_folder")

CONFIG = Path(__file__).parents[2] / "configs/article/5_dropout_relu.yaml"  # AdamW, shifts and dropout
WEIGHT_NORM = ["--model.network.weight_norm", "true"]
NEEDS_COMPILER = pytest.mark.skipif(compiler() is None, reason="there is no working C++ compiler")


def fit(
    *flags: Any, train_size: int = 60, compile: str = "false", version: str = "run", after: Path | None = None
) -> Path:
    """Fits a shortened row 5, or goes on with the fit of another log folder, and returns its log folder."""
    arguments = ["fit", "--config", CONFIG, "--data.source", "digits", "--data.train_size", train_size]
    arguments += ["--data.test_size", 40, "--model.compile", compile, "--trainer.logger.init_args.version", version]
    arguments += [] if after is None else ["--ckpt_path", after / "checkpoints/last.ckpt"]
    main([str(argument) for argument in (*arguments, *flags)])
    return Path("lightning_logs/5_dropout_relu") / version


def checkpoint(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


def results(folder: Path, *without: str) -> dict[str, Any]:
    return {k: v for k, v in json.loads((folder / "results.json").read_text()).items() if k not in without}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# Files


def test_a_fit_leaves_its_configuration_events_checkpoint_and_results() -> None:
    folder = fit("--trainer.max_epochs", 2)
    events = {name for name in files(folder) if name.startswith("events.out.tfevents.")}
    assert len(events) == 1
    assert files(folder) - events <= {"config.yaml", "checkpoints/last.ckpt", "results.json", "hparams.yaml"}
    assert {"config.yaml", "checkpoints/last.ckpt", "results.json"} <= files(folder)  # and nothing half-written
    assert files(Path()) == {f"{folder.as_posix()}/{name}" for name in files(folder)}


def test_a_fit_without_a_logger_or_of_one_batch_leaves_nothing() -> None:
    for flags in (["--trainer.logger", "false", "--trainer.max_epochs", 1], ["--trainer.fast_dev_run", "true"]):
        arguments = ["fit", "--config", CONFIG, "--data.source", "digits", "--data.train_size", 20, *flags]
        main([str(argument) for argument in arguments])
        assert files(Path()) == set()


def test_prints_the_sizes_of_the_network_two_lines_a_pass_and_what_is_next(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["a folder/cli.py"])
    fit("--trainer.max_epochs", 2, "--trainer.logger.init_args.save_dir", "my logs")
    folder = Path("my logs/5_dropout_relu/run")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "shape", "parameters", "multiply-accumulates", "activations"]
    assert lines[5].split() == ["sum", "9,760", "63,660", "1,000"]
    splits = ("train.", "test .")
    assert [line[:26] for line in lines[6:10]] == [f"eval: pass {n}, split {split}" for n in (1, 2) for split in splits]
    next_one = "next:    python 'a folder/cli.py' export --ckpt_path"
    assert lines[10:] == [
        f"results: {folder}/results.json",
        "next:    tensorboard --logdir 'my logs'",
        f"{next_one} '{folder}/checkpoints/last.ckpt' --to '{folder}/draw.html'",
    ]
    main(shlex.split(lines[12])[3:])
    assert (folder / "draw.html").is_file()
    fit("--trainer.max_epochs", 1, "--model.network", "FullyConnected1989", version="other")
    assert capsys.readouterr().out.splitlines()[-1].startswith("next:    python 'a folder/cli.py' test --ckpt_path ")


def test_a_fit_without_a_progress_bar_leaves_the_same() -> None:
    folder = fit("--trainer.max_epochs", 1, "--trainer.enable_progress_bar", "false")
    assert results(folder)["updates"] == checkpoint(folder)["global_step"] == 60


# results.json


def test_results_have_the_keys_that_are_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RULES, "of the rules")
    record = results(fit("--trainer.max_epochs", 2))
    types = {
        "row": str, "seed": int, "source": str, "draw": str, "passes": int, "updates": int, "parameters": int,
        "compiled": bool, "fit_seconds": float, "us_per_update": float, "train": dict, "test": dict, "curve": dict,
        "versions": dict, "config_hash": str, "rules": str,
    }  # fmt: skip
    assert {key: type(value) for key, value in record.items()} == types
    given = {
        "row": "5_dropout_relu", "seed": 1337, "source": "digits", "draw": "article", "passes": 2, "updates": 120,
        "parameters": 9760, "compiled": False,
    }  # fmt: skip
    assert given.items() <= record.items()
    assert record["fit_seconds"] > 120e-6 * record["us_per_update"] > 0
    assert record["versions"].keys() == {"python", "torch", "lightning", "lecun_repro"}

    for split, n in (("train", 60), ("test", 40)):
        result = record[split]
        assert {"n", "loss", "error", "misses", "missed"} <= result.keys()
        assert (result["n"], len(result["missed"])) == (n, result["misses"])
        assert result["error"] == pytest.approx(100 * result["misses"] / n)
        assert all(type(index) is int and 0 <= index < n for index in result["missed"])
    assert record["curve"].keys() == {"train", "test"}
    for split, curve in record["curve"].items():
        assert {name: column[1:] for name, column in curve.items()} == {
            "pass": [2], "misses": [record[split]["misses"]], "loss": [float(f"{record[split]['loss']:.6g}")],
        }  # fmt: skip


def test_digits_held_out_take_the_place_of_the_test_digits() -> None:
    record = results(fit("--trainer.max_epochs", 1, "--data.holdout", 10))
    assert "test" not in record
    assert (record["train"]["n"], record["holdout"]["n"], record["updates"]) == (50, 10, 50)
    assert record["curve"].keys() == {"train", "holdout"} and "fold" not in record
    fold = results(fit("--trainer.max_epochs", 1, "--data.fold", "1/3"))
    assert (fold["train"]["n"], fold["holdout"]["n"], fold["fold"]) == (40, 20, "1/3")
    assert fold["config_hash"] != record["config_hash"]


@pytest.mark.slow
@pytest.mark.parametrize("passes", [1, 2])
def test_a_split_of_the_end_is_evaluated_once_after_the_last_pass(
    passes: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    splits, load = DigitsDataModule.evaluated, DigitsDataModule.load
    late = EvaluatedSplit("late", "end")
    monkeypatch.setattr(DigitsDataModule, "evaluated", property(lambda data: [late, *splits.fget(data)]))  # type: ignore[attr-defined]
    monkeypatch.setattr(DigitsDataModule, "load", lambda data: load(data) | {"late": load(data)["test"].part(0, 7)})
    flags = ("--trainer.max_epochs", passes)
    folder = fit(*flags)
    record = results(folder, *TIMES)
    lines = [line[:25] for line in capsys.readouterr().out.splitlines() if line.startswith("eval:")]
    of_passes = [f"eval: pass {n}, split {split}" for n in range(1, passes + 1) for split in ("train", "test ")]
    assert lines == [*of_passes, f"eval: pass {passes}, split late "]
    assert {split: len(curve["pass"]) for split, curve in record["curve"].items()} == {"train": passes, "test": passes}
    assert (record["late"]["n"], record["late"]["missed"]) == (7, [i for i in record["test"]["missed"] if i < 7])
    again = fit(*flags, after=folder, version="again")  # there is nothing to train
    assert results(again, *TIMES) == record
    logged = EventAccumulator(str(folder)).Reload().Scalars("misses/late")
    assert [(event.step, event.value) for event in logged] == [(passes, record["late"]["misses"])]


def test_the_hash_tells_configurations_apart_and_not_their_places(tmp_path: Path) -> None:
    def of(*flags: Any) -> str:
        return config_hash(resolve(str(CONFIG), ["--data.source=digits", *map(str, flags)]))

    base = of()
    assert results(fit("--trainer.max_epochs", 1, train_size=2))["config_hash"] == of(
        "--trainer.max_epochs", 1, "--data.train_size", 2, "--data.test_size", 40, "--model.compile", "false"
    )
    same = [of("--data.root", tmp_path), of("--data.block_size", 7), of("--threads", 2)]
    same += [of("--trainer.logger.init_args.flush_secs", 7), of("--trainer.logger.init_args.version", "again")]
    assert same == [base] * len(same)
    others = [of("--optimizer.init_args.lr", 1e-3), of("--seed_everything", 1), of("--data.shift", "pad")]
    others += [of("--data.batch_size", 2), of("--model.network.init_args.dropout", 0.1)]
    others += [of("--trainer.max_epochs", 2)]
    assert len({base, *others}) == 1 + len(others)


def test_the_hash_tells_augmentations_apart_and_not_their_spelling() -> None:
    def of(*augment: dict[str, Any]) -> str:
        return config_hash({"data": {"augment": list(augment)}})

    shift = {"class_path": "lecun_repro.Shift"}
    assert of(shift) == of(shift | {"class_path": "lecun_repro.data.augment.Shift"})
    assert of(shift) == of(shift | {"init_args": {"kind": "roll"}})
    assert config_hash({"data": {"augment": None}}) == config_hash({"data": {}})
    assert len({of(), of(shift), of(shift, shift), of(shift | {"init_args": {"kind": "pad"}})}) == 4


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    config = {"data": {"root": "here", "draw": "article"}, "optimizer": {"lr": 0.03, "groups": [{"b": 1, "a": 2}]}}
    reordered = {"optimizer": {"groups": [{"a": 2, "b": 1}], "lr": 0.03}, "data": {"draw": "article", "root": "there"}}
    assert config_hash(config) == config_hash(reordered)
    assert config_hash(config) != config_hash(config | {"optimizer": {"lr": 0.01}})


# Checkpoints


def test_a_checkpoint_holds_plain_weights_and_an_optimizers_own_state() -> None:
    saved = checkpoint(fit("--trainer.max_epochs", 2))
    network = ConvNet1989(activation="relu", seed=1337)
    names = {name.removeprefix("network.") for name in saved["state_dict"]}
    assert names == set(network.state_dict())
    network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in saved["state_dict"].items()})
    optimizer = torch.optim.AdamW(network.parameters())
    optimizer.load_state_dict(saved["optimizer_states"][0])
    assert all(optimizer.state[p]["step"] == 120 for p in network.parameters())
    assert (saved["epoch"], saved["global_step"]) == (1, 120)
    assert saved["lecun_repro"]["format"] == 1
    assert saved["lecun_repro"]["compiled"] is False


@pytest.mark.slow
@pytest.mark.parametrize(
    "compile, flags, parameters",
    [("false", [], 9_760), pytest.param("true", [], 9_760, marks=NEEDS_COMPILER), ("false", WEIGHT_NORM, 9_824)],
)
def test_a_resumed_fit_is_the_undisturbed_one_to_the_last_bit(compile: str, flags: list[str], parameters: int) -> None:
    size: dict[str, Any] = {"train_size": 150, "compile": compile}
    flags = [*flags, "--trainer.max_epochs", "4"]
    whole = fit(*flags, version="whole", **size)
    # Stopped in the third pass, which is then repeated.
    cut = fit(*flags, "--trainer.max_steps", 380, "--data.block_size", 40, version="cut", **size)
    assert (checkpoint(cut)["epoch"], checkpoint(cut)["global_step"]) == (1, 300)
    resumed = fit(*flags, after=cut, version="resumed", **size)
    assert difference(left(resumed), left(whole)) is None
    assert results(whole)["parameters"] == parameters


@pytest.mark.slow
def test_passes_may_go_without_an_evaluation_but_the_last() -> None:
    often = fit("--trainer.max_epochs", 4, version="often")
    seldom = fit("--trainer.max_epochs", 4, "--trainer.check_val_every_n_epoch", 2, version="seldom")
    curves = [results(folder)["curve"]["test"] for folder in (seldom, often)]
    assert curves[0]["pass"] == [2, 4]
    assert difference(curves[0], {name: column[1::2] for name, column in curves[1].items()}) is None
    for key in ("passes", "updates", "train", "test"):
        assert difference(results(seldom)[key], results(often)[key]) is None
    assert difference(checkpoint(seldom)["state_dict"], checkpoint(often)["state_dict"]) is None
    flags = ["--trainer.max_epochs", 4, "--trainer.check_val_every_n_epoch", 2]
    cut = fit("--trainer.max_epochs", 2, *flags[2:], version="cut")
    resumed = fit(*flags, after=cut, version="resumed")
    assert difference(results(resumed, *TIMES), results(seldom, *TIMES)) is None


def test_a_fit_that_went_to_its_end_has_nothing_left_to_do_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    whole = fit("--trainer.max_epochs", 2, version="whole")
    assert "nothing is left" not in capsys.readouterr().out
    again = fit("--trainer.max_epochs", 2, after=whole, version="again")
    told = capsys.readouterr().out
    assert "\nnothing is left to train: the checkpoint has all 2 passes; a larger --trainer." in told
    shown = [int(line.split()[-1]) for line in told.splitlines() if line.startswith("eval: ")]
    assert shown == [results(whole)[split]["misses"] for split in ("train", "test")]
    assert difference(results(again, *TIMES), results(whole, *TIMES)) is None


@pytest.mark.slow
@NEEDS_COMPILER
def test_checkpoints_load_both_ways() -> None:
    first = fit("--trainer.max_epochs", 1, compile="true", version="first")
    second = fit("--trainer.max_epochs", 2, after=first, version="second")
    third = fit("--trainer.max_epochs", 3, after=second, compile="true", version="third")
    eager = fit("--trainer.max_epochs", 3, version="eager")
    assert [results(folder)["compiled"] for folder in (first, second, third, eager)] == [True, False, True, False]
    losses, expected = (results(folder)["curve"]["train"]["loss"] for folder in (third, eager))
    assert losses == pytest.approx(expected, rel=0.01)


@pytest.mark.slow
@NEEDS_COMPILER
def test_a_resumed_fit_keeps_the_choice_that_auto_came_to() -> None:
    first = fit("--trainer.max_epochs", 1, compile="true", version="first")
    # By itself so short a run would not be compiled.
    second = fit("--trainer.max_epochs", 2, after=first, compile="auto", version="second")
    assert results(second)["compiled"] is True


@pytest.mark.parametrize("block_size", [7, 2048])
@pytest.mark.parametrize("updates, kept", [(50, []), (119, [60]), (120, [120])])  # the second in its last block
def test_the_checkpoint_is_of_the_last_whole_pass(updates: int, kept: list[int], block_size: int) -> None:
    folder = fit("--trainer.max_steps", updates, "--data.block_size", block_size)
    assert results(folder)["updates"] == updates
    assert [checkpoint(path.parents[1])["global_step"] for path in folder.rglob("last.ckpt")] == kept


# `test` and `predict` from a checkpoint alone


def test_test_prints_what_the_fit_ended_with_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit("--trainer.max_epochs", 2)
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("eval: ")]
    expected = [line.replace("pass 2, ", "") for line in shown[-2:]]
    before, record = files(Path()), (folder / "results.json").read_bytes()
    main(["test", "--ckpt_path", str(folder / "checkpoints/last.ckpt")])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("eval: ")]
    assert lines == expected
    assert files(Path()) == before
    assert (folder / "results.json").read_bytes() == record


def test_a_network_of_one_s_own_need_not_count_its_sizes() -> None:
    class Linear(Network):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(256, 10)

        def outputs(self, prepared: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
            return self.layer(prepared.flatten(1))

    module = DigitClassifier(Linear(), CrossEntropy())
    assert size_table(module) == "Linear: 2,570 parameters"
    trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, log_every_n_steps=1)
    trainer.fit(module, DigitsDataModule("digits", train_size=30, test_size=20))
    assert trainer.global_step == 30
