"""Every YAML in configs/ is able to run, and prints itself in full."""

import json
from pathlib import Path

import pytest
import yaml

from lecun_repro.__main__ import main
from lecun_repro.cli.overlays import configuration

pytestmark = pytest.mark.usefixtures("own_folder")

CONFIGS = {path.stem: path for path in sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))}
CONFIGS = {row: path for row, path in CONFIGS.items() if path.parent.name != "search"}  # which are spaces
# One of each kind of network, head, optimizer, schedule and batch, for two passes; the others for an update.
BY_DEFAULT = ["quickstart", "4_shift", "3_paper", "4_fully_connected", "3_adam", "5_micro_vit", "1_silu"]
BY_DEFAULT += ["5_batch_full"]


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=pytest.mark.drawn if row in BY_DEFAULT else pytest.mark.slow) for row in CONFIGS]
)
def test_fits_a_shortened_run_or_a_single_update(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = configuration(str(CONFIGS[row]))[0]
    given = config["data"]["batch_size"]
    batch, whole = 60 if given == "full" else min(given, 30), row in BY_DEFAULT
    flags = "--data.source digits --data.draw article --data.train_size 60 --data.test_size 40 --model.compile false"
    flags += f" --data.batch_size {given if given == 'full' else batch} --trainer.max_epochs 2"
    flags += " --trainer.check_val_every_n_epoch 1 --data.frame article"
    flags += "" if whole else " --trainer.fast_dev_run true"
    if config["model"]["head"]["class_path"] == "lecun_repro.Taught":
        main(["fit", "--config", str(CONFIGS["teacher"]), *flags.split()[:-2], "--trainer.max_epochs", "1"])
        flags += " --data.copies 2 --model.head.teachers lightning_logs/teacher/version_0/checkpoints/last.ckpt"
    capsys.readouterr()
    main(["fit", "--config", str(CONFIGS[row]), *flags.split()])
    lines = [line for line in capsys.readouterr().out.splitlines() if "eval: pass" in line and "_raw" not in line]
    assert len(lines) == (4 if whole else 2)
    if whole:
        record = json.loads(Path(f"lightning_logs/{row}/version_0/results.json").read_text())
        assert (record["row"], record["passes"], record["updates"]) == (row, 2, 2 * -(-60 // batch))
        assert given != 1 or record["curve"]["train"]["loss"][-1] < 2.4


@pytest.mark.parametrize("row", ["quickstart", "5_dropout_relu", "5_adam"])
def test_prints_itself_in_full(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--config", str(CONFIGS[row]), "--print_config"])
    assert not ended.value.code
    printed = yaml.safe_load(capsys.readouterr().out)
    given, _ = configuration(str(CONFIGS[row]))
    for section in ("optimizer", "lr_scheduler"):
        assert printed[section]["class_path"] == given[section]["class_path"]
        assert printed[section]["init_args"].items() >= given[section]["init_args"].items()
    assert printed["data"].items() >= given["data"].items()
    assert "base" not in printed
