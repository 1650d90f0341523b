"""A fit goes on from a checkpoint with its own configuration alone, or as a new run that starts from its weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lecun_repro.__main__ import main

pytestmark = pytest.mark.usefixtures("own_folder")

SHORT = ["--data.train_size=20", "--data.test_size=20", "--model.compile=false"]
BOTH = ["--config", "quickstart", *SHORT]
THREE = [*BOTH, "--trainer.max_epochs=3", "--trainer.logger.version=run"]
MINE = "from lecun_repro import ConvNet1989\nclass Mine(ConvNet1989):\n    pass\n"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a fit of two passes."""
    folder = tmp_path_factory.mktemp("fitted")
    main(["fit", *BOTH, "--trainer.max_epochs=2", f"--trainer.logger.save_dir={folder}"])
    return folder / "quickstart/version_0/checkpoints/last.ckpt"


def fit(*flags: Any) -> dict[str, Any]:
    """What the fit leaves in `results.json`."""
    main(["fit", *THREE, *map(str, flags)])
    return json.loads(Path("lightning_logs/quickstart/run/results.json").read_text())


@pytest.fixture
def refused_fit(refused: Callable[..., str]) -> Callable[..., str]:
    """The one line of a fit, as `fit` has them, that is refused."""
    return lambda *flags: refused("fit", *THREE, *flags)


OTHERS = {
    "--optimizer.lr=1e-3": "optimizer.init_args.lr: 0.001; allowed: 0.0003, as in",
    "--optimizer.weight_decay=0.1": "optimizer.init_args.weight_decay: 0.1; allowed: 0.01, as in",
    "--optimizer=torch.optim.SGD": "optimizer.class_path: torch.optim.SGD; allowed: torch.optim.AdamW, as in",
    "--lr_scheduler=null": 'lr_scheduler: null; allowed: {"class_path": "torch.optim.lr_scheduler.LinearLR"',
    "--lr_scheduler.total_iters=2": "lr_scheduler.init_args.total_iters: 2; allowed: 39, as in",
    "--seed_everything=7": "seed_everything: 7; allowed: 1337, as in",
    "--data.holdout=10": "data.holdout: 10; allowed: 0, as in",
    "--data.shift=roll": "data.shift: roll; allowed: pad, as in",
    "--data.train_size=30": "data.train_size: 30; allowed: 20, as in",
    "--data.batch_size=2": "data.batch_size: 2; allowed: 1, as in",
    "--model.network.dropout=0.5": "model.network.init_args.dropout: 0.5; allowed: 0.25, as in",
    "--model.average=ema": "model.average: ema; allowed: null, as in",
    "--trainer.gradient_clip_val=1": "trainer.gradient_clip_val: 1; allowed: null, as in",
    "--trainer.limit_train_batches=10": "trainer.limit_train_batches: 10; allowed: null, as in",
    "--trainer.max_epochs=1": "trainer.max_epochs: 1; allowed: an integer from 2, the passes that",
    "--trainer.max_steps=39": "trainer.max_steps: 39; allowed: an integer from 40, the updates that",
}


@pytest.mark.parametrize("flag", OTHERS)
def test_another_configuration_is_refused(flag: str, first: Path, refused_fit) -> None:
    line = refused_fit("--ckpt_path", first, flag)
    assert line.startswith(OTHERS[flag])
    assert str(first) in line


def test_more_passes_and_other_places_go_on(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = ["--data.shift=pad", "--optimizer=torch.optim.adamw.AdamW", "--optimizer.lr=3e-4", "--data.block_size=7"]
    places = ["--threads=2", f"--data.root={tmp_path}", "--trainer.max_time=00:01:00:00"]
    capsys.readouterr()
    record = fit("--ckpt_path", first, *same, *places)
    assert record["curve"]["train"]["pass"] == [1, 2, 3]
    assert "origin" not in record
    lines = [line[:25] for line in capsys.readouterr().out.splitlines() if line.startswith("eval: ")]
    assert lines == ["eval: pass 3, split train", "eval: pass 3, split test "]


def test_what_an_older_checkpoint_does_not_carry_is_not_compared(first: Path, refused_fit) -> None:
    content = torch.load(first, weights_only=True)
    for key in ("trainer", "sources", "from_weights"):
        del content["lecun_repro"]["config"][key]
    torch.save(content, "old.ckpt")
    line = refused_fit("--ckpt_path", "old.ckpt", "--seed_everything=7")
    assert line.startswith("seed_everything: 7; allowed: 1337")
    assert fit("--ckpt_path", "old.ckpt")["passes"] == 3


@pytest.mark.parametrize("absurd", [{"trainer": 3}, {"data": [1]}, {"sources": "x"}, {"model": None}, {"optimizer": 3}])
def test_an_absurd_configuration_is_one_line(absurd: dict, first: Path, refused_fit, own_module) -> None:
    content = torch.load(first, weights_only=True)
    content["lecun_repro"]["config"] |= absurd
    torch.save(content, "bad.ckpt")
    own = ["--model.network=own_network_to_resume.Mine"] if "sources" in absurd else []
    own_module("own_network_to_resume", MINE)
    assert refused_fit("--ckpt_path", "bad.ckpt", *own)


def test_a_former_class_is_not_imported(first: Path, refused_fit, own_module) -> None:
    own_module("trap_to_resume", "from pathlib import Path\nPath('imported').touch()\n")
    content = torch.load(first, weights_only=True)
    content["lecun_repro"]["config"]["optimizer"]["class_path"] = "trap_to_resume.Trap"
    torch.save(content, "bad.ckpt")
    line = refused_fit("--ckpt_path", "bad.ckpt")
    assert line.startswith("optimizer.class_path: torch.optim.AdamW; allowed: trap_to_resume.Trap, as in")


# New runs


def test_a_new_run_starts_from_the_weights_alone(first: Path) -> None:
    record = fit("--from_weights", first, "--optimizer.lr=0", "--optimizer.weight_decay=0", "--seed_everything=7")
    assert record["curve"]["train"]["pass"] == [1, 2, 3]  # the counter starts anew
    assert record["updates"] == 60
    assert record["origin"]["from_weights"] == str(first)
    assert f"from_weights: {first}" in Path("lightning_logs/quickstart/run/config.yaml").read_text()
    before, after = (
        torch.load(path, weights_only=True) for path in (first, "lightning_logs/quickstart/run/checkpoints/last.ckpt")
    )
    assert all(torch.equal(after["state_dict"][name], weights) for name, weights in before["state_dict"].items())
    assert after["optimizer_states"][0]["state"][0]["step"] == 60


@pytest.mark.slow
def test_the_origin_is_part_of_the_identity(first: Path, refused_fit) -> None:
    Path("same.ckpt").write_bytes(first.read_bytes())
    content = torch.load(first, weights_only=True)
    next(iter(content["state_dict"].values()))[0] += 1
    torch.save(content, "other.ckpt")
    hashes = [
        fit(*(["--from_weights", path] if path else []))["config_hash"]
        for path in (first, "same.ckpt", "other.ckpt", None)
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    Path("lightning_logs").rename("before")
    last = "before/quickstart/run/checkpoints/last.ckpt"  # of the run without an origin
    assert refused_fit("--ckpt_path", last, "--from_weights", first).startswith("from_weights: ")


@pytest.mark.slow
def test_a_run_from_weights_goes_on_as_any_other(first: Path) -> None:
    whole = fit("--from_weights", first)
    main(["fit", *BOTH, "--from_weights", str(first), "--trainer.max_epochs=1", "--trainer.logger.version=cut"])
    resumed = fit("--from_weights", first, "--ckpt_path", "lightning_logs/quickstart/cut/checkpoints/last.ckpt")
    times = ("fit_seconds", "us_per_update")
    assert {k: v for k, v in resumed.items() if k not in times} == {k: v for k, v in whole.items() if k not in times}


def test_weights_that_are_none(first: Path, refused_fit) -> None:
    content = torch.load(first, weights_only=True)
    name = next(iter(content["state_dict"]))
    for change, line in (
        (torch.zeros(1).expand(10**9, 10**9), "which has no finite weights"),
        (torch.tensor(float("nan")), "which has no finite weights"),
        (torch.zeros(3), "which does not fit"),
    ):
        content["state_dict"][name] = change
        torch.save(content, "bad.ckpt")
        assert refused_fit("--from_weights", "bad.ckpt").startswith(f"from_weights: bad.ckpt, {line}")
    for path, line in (("nowhere.ckpt", ", no such file"), ("http://a/b.ckpt", "; allowed: a local")):
        assert refused_fit("--from_weights", path).startswith(f"from_weights: {path}{line}")


# The user's own classes


@pytest.mark.slow
def test_an_edited_network_is_another_run(refused_fit, own_module) -> None:
    own_module("edited_network", MINE)
    own = "--model.network=edited_network.Mine"
    before, again = fit(own)["config_hash"], fit(own)["config_hash"]
    own_module("edited_network", f"{MINE}    scale = 2\n")
    assert fit(own)["config_hash"] != before == again
    own_module("edited_network", MINE)
    assert fit(own)["config_hash"] == before
    Path("lightning_logs").rename("before")
    own_module("edited_network", f"{MINE}    scale = 2\n")
    line = refused_fit(own, "--ckpt_path", "before/quickstart/run/checkpoints/last.ckpt")
    assert line.startswith("edited_network.Mine: source ")
    assert "; allowed: source " in line
