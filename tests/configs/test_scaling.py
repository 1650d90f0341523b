"""Every YAML in configs/scaling: the taught network in another size, or trained for longer, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from lecun_repro import ConvNet1989
from lecun_repro.cli.overlays import configuration
from lecun_repro.data.plan import plan

FOLDER = Path(__file__).parents[2] / "configs" / "scaling"
TEXTS = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.yaml"))}
CONFIGS = {row: configuration(str(FOLDER / f"{row}.yaml"))[0] for row in TEXTS}
TAUGHT = configuration(str(FOLDER.with_name("beyond") / "8_normalised.yaml"))[0]


def passes(config: dict[str, Any]) -> int:
    return config["trainer"]["max_epochs"]


@pytest.mark.parametrize("row", CONFIGS)
def test_only_size_and_length_differ(row: str) -> None:
    config, arguments = CONFIGS[row], dict(CONFIGS[row]["model"]["network"]["init_args"])
    for key in ("maps", "units"):
        arguments.pop(key, None)
    assert arguments == TAUGHT["model"]["network"]["init_args"]
    assert config["data"] == TAUGHT["data"] and config["optimizer"] == TAUGHT["optimizer"]
    assert config["model"]["head"] == TAUGHT["model"]["head"]
    counts = plan(**{"train_size": None, "test_size": None, "holdout": 0} | config["data"])
    assert config["trainer"]["check_val_every_n_epoch"] == passes(config)
    assert config["lr_scheduler"]["init_args"]["total_steps"] == passes(config) * counts.updates()


@pytest.mark.parametrize("row", CONFIGS)
def test_the_header_tells_the_size_or_the_length(row: str) -> None:
    network = ConvNet1989(**CONFIGS[row]["model"]["network"]["init_args"])
    parameters, title = sum(p.numel() for p in network.parameters()), TEXTS[row].splitlines()[0]
    if parameters != 9760:
        assert title.endswith(f"{parameters:,} parameters.") and passes(CONFIGS[row]) == 360
    elif row != "12_maps":
        assert title.startswith(f"# {passes(CONFIGS[row]):,} passes")
