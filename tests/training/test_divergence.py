"""Training that diverges ends in its pass, and is never taken for a result."""

import json
from pathlib import Path

import pytest
import torch
from lightning import Trainer

from lecun_repro import CrossEntropy, DigitClassifier, DigitsDataModule
from lecun_repro.__main__ import main
from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.report.tables import diverged_note
from lecun_repro.runs.results import DivergedRun
from lecun_repro.training.divergence import Diverged, check_loss, check_losses

pytestmark = pytest.mark.usefixtures("own_folder")

ROOT = Path(__file__).parents[2]
SHORT = ["--data.train_size", "60", "--data.test_size", "40", "--trainer.max_epochs", "3", "--model.compile", "false"]
# Of one pass at a rate that works, and of one at a rate at which no float is large enough.
RATES = ["--lr_scheduler=MultiStepLR", "--lr_scheduler.milestones=[1]", "--lr_scheduler.gamma=1e12", "--optimizer=SGD"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_first_loss_that_is_no_number_is_named(bad: float) -> None:
    losses = torch.tensor([1.0, 2.0, bad, float("nan")])
    check_losses(losses[:2], first=1000, passes=3, rate=0.5)
    with pytest.raises(Diverged, match=f"update 1,003 in pass 3 is {bad} with a learning rate of 0.5") as caught:
        check_losses(losses, first=1000, passes=3, rate=0.5)
    assert caught.value.record() == {"pass": 3, "of": "update 1,003", "loss": str(bad), "rate": 0.5}
    with pytest.raises(Diverged, match="the test split in pass 1"):
        check_loss("test", bad, 1, 0.5)


def test_a_fit_stops_at_its_pass_with_the_rate_and_a_hint(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", str(ROOT / "configs/quickstart.yaml"), *SHORT, *RATES, "--optimizer.lr", "0.01"])
    out, err = capfd.readouterr()
    assert end.value.code == 2
    (line,) = err.splitlines()
    assert line.startswith("lecun-repro: error: diverged: the loss of update 6")
    assert "in pass 2 is nan with a learning rate of 1e+10; try a smaller optimizer.init_args.lr" in line
    assert out.count("eval: pass 1, split train.") == 1
    folder = Path("lightning_logs/quickstart/version_0")
    assert not (folder / "results.json").exists()
    record = json.loads((folder / "diverged.json").read_text())
    assert record["diverged"] | {"of": ""} == {"pass": 2, "of": "", "loss": "nan", "rate": 1e10}
    assert record["curve"]["train"]["pass"] == [1]
    assert not {"train", "test"} & record.keys()
    # What is left to go on from is the last whole pass, whose weights are numbers.
    saved = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert saved["epoch"] == 0
    assert all(weights.isfinite().all() for weights in saved["state_dict"].values())


def test_without_the_command_line_it_is_an_exception() -> None:
    module = DigitClassifier(ConvNet1989("relu"), CrossEntropy(), lambda weights: torch.optim.SGD(weights, lr=1e12))
    trainer = Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, log_every_n_steps=1)
    with pytest.raises(Diverged, match="in pass 1"):
        trainer.fit(module, DigitsDataModule("digits", train_size=30, test_size=20))


@pytest.mark.slow
def test_reproduce_keeps_a_diverged_run_apart_and_does_not_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("configs").mkdir()
    good = (ROOT / "configs/article/1_baseline.yaml").read_text()
    Path("configs/1_good.yaml").write_text(good)
    bad = (ROOT / "configs/article/5_dropout_relu.yaml").read_text().replace("lr: 3.0e-4", "lr: 1.0e+30")
    Path("configs/2_bad.yaml").write_text(bad)
    command = ["reproduce", "--configs", "configs", "--seeds", "1", "--jobs", "2", "--source", "digits", *SHORT]

    main(command)  # which has found something out, and has not failed
    err = capsys.readouterr().err
    out = Path("lightning_logs/results_digits")
    assert {(r["row"], r["test"]["n"]) for r in json.loads((out / "configs.json").read_text())} == {("1_good", 40)}
    apart = json.loads((out / "configs_diverged.json").read_text())
    assert [(r["row"], r["seed"], r["diverged"]["pass"]) for r in apart] == [("2_bad", 1337, 1)]
    assert "diverged: 2_bad, seed 1337: the loss of update " in err
    report = (out / "configs.md").read_text()
    assert "## Diverged\n\n- `2_bad`: 1 of 1 runs diverged and are in no table. seed 1337: the loss of" in report

    times = {path: path.stat().st_mtime_ns for path in Path("lightning_logs").rglob("*.json") if "seed" in str(path)}
    main(command)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert json.loads((out / "configs_diverged.json").read_text()) == apart

    Path("configs/2_bad.yaml").write_text(good)  # put right: nothing says any more that it diverged
    main(command)
    assert not (out / "configs_diverged.json").exists()
    assert len(json.loads((out / "configs.json").read_text())) == 2
    assert "Diverged" not in (out / "configs.md").read_text()


def test_the_report_says_how_many_of_a_row_diverged() -> None:
    record = {"row": "row", "seed": 7, "diverged": {"pass": 3, "of": "the test split", "loss": "inf", "rate": 0.3}}
    (line,) = diverged_note({"row": [None, None]}, {"row": [DivergedRun.read(record, "")]})
    assert line == (
        "- `row`: 1 of 3 runs diverged and are in no table. "
        "seed 7: the loss of the test split in pass 3 was inf (learning rate 0.3)."
    )
