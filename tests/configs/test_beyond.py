"""Every YAML in configs/beyond: one step after the other, each with the schedule of its passes."""

from pathlib import Path
from typing import Any

import pytest

from lecun_repro.cli.overlays import configuration
from lecun_repro.data.plan import plan

FOLDER = Path(__file__).parents[2] / "configs" / "beyond"
CONFIGS = {path.stem: configuration(str(path))[0] for path in sorted(FOLDER.glob("*.yaml"))}


def counts(config: dict[str, Any]) -> Any:
    sizes: dict[str, Any] = {"train_size": None, "test_size": None, "holdout": 0}
    return plan(**sizes | config["data"])


@pytest.mark.parametrize("row", CONFIGS)
def test_the_schedule_ends_with_the_run_and_the_test_digits_are_evaluated_then(row: str) -> None:
    config = CONFIGS[row]
    passes, schedule = config["trainer"]["max_epochs"], config["lr_scheduler"]["init_args"]
    assert schedule["total_steps"] in (None, passes * counts(config).updates())  # None is all of them
    assert schedule["max_lr"] == config["optimizer"]["init_args"]["lr"]
    assert config["trainer"]["check_val_every_n_epoch"] == passes
    assert config["model"]["lr_interval"] == "step"


@pytest.mark.parametrize("row", [row for row in CONFIGS if row[0].isdecimal()])
def test_the_network_is_that_of_1989(row: str) -> None:
    network = CONFIGS[row]["model"]["network"]
    assert network == {
        "class_path": "lecun_repro.ConvNet1989",
        "init_args": {"activation": "gelu", "dropout": 0.0, "output_bias": 0.0},
    }


@pytest.mark.parametrize("row", [row for row, config in CONFIGS.items() if "Taught" in str(config["model"]["head"])])
def test_teachers_know_the_digits_that_they_teach_and_no_others(row: str) -> None:
    head = CONFIGS[row]["model"]["head"]["init_args"]
    teacher = CONFIGS[Path(head["teachers"]).stem]
    assert Path(head["teachers"]).is_relative_to("configs/beyond")
    assert [teacher["data"][key] for key in ("source", "draw", "frame")] == [
        CONFIGS[row]["data"][key] for key in ("source", "draw", "frame")
    ]


def test_the_steps_follow_one_another() -> None:
    for row, base in {"2_distortions": "1_recipe", "3_averaged": "2_distortions", "4_frame": "3_averaged",
                      "5_taught": "4_frame", "6_50k": "4_frame", "7_50k_taught": "5_taught",
                      "8_normalised": "5_taught", "9_50k_normalised": "8_normalised"}.items():  # fmt: skip
        bases = [Path(path).stem for path in configuration(str(FOLDER / f"{row}.yaml"))[1]]
        assert bases[0] == base and bases[-1] == "5_dropout_relu"
