"""Every YAML in configs/: what it opens with, what it says in full, and the article's and the paper's numbers."""

from pathlib import Path
from typing import Any

import pytest

from lecun_repro.cli.config_files import load_config
from lecun_repro.cli.overlays import configuration
from lecun_repro.report.published import BY_CONFIG, BY_ROW, PAPER_PASSES

ROOT = Path(__file__).parents[2]
CONFIGS = [path for path in sorted((ROOT / "configs").rglob("*.yaml")) if path.parent.name != "search"]
ROWS = [path for path in CONFIGS if path.parent.name == "article"]
SECTIONS = {"seed_everything", "trainer", "model", "optimizer", "lr_scheduler", "data"}

every_config = pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
every_row = pytest.mark.parametrize("path", ROWS, ids=[path.stem for path in ROWS])


def in_full(path: Path) -> dict[str, Any]:
    return configuration(str(path))[0]


def header(path: Path) -> list[str]:
    """The comment that the file opens with."""
    lines = path.read_text().splitlines()
    return lines[: next(index for index, line in enumerate(lines) if not line.startswith("#"))]


def test_all_rows_of_the_article_are_there() -> None:
    assert {path.stem for path in ROWS} == set(BY_ROW)
    assert "quickstart" in {path.stem for path in CONFIGS}


@every_config
def test_opens_with_its_own_command(path: Path) -> None:
    assert header(path)[1:3] == ["#", f"#   python cli.py fit --config {path.relative_to(ROOT).as_posix()}"]


@every_config
def test_says_what_to_expect(path: Path) -> None:
    assert any(line.startswith(("# Expect", "# Article:")) for line in header(path))


@every_row
def test_names_the_articles_numbers(path: Path) -> None:
    text, published = " ".join(line.lstrip("# ") for line in header(path)), BY_ROW[path.stem]
    for error, misses, n in (
        (published.train_error, published.train_misses, published.train_n),
        (published.test_error, published.test_misses, published.test_n),
    ):
        assert f"{error:.2f} %" in text
        assert f"{misses} " in text
        assert f"{n:,}" in text
    for printed, misses in (
        (published.train_printed, published.train_misses),
        (published.test_printed, published.test_misses),
    ):
        if printed != misses and published.train_n == 7291:
            assert f"printed as {printed}" in text


@pytest.mark.parametrize("name", [*(f"article/{path.stem}" for path in ROWS), "quickstart", "1989/3_paper"])
def test_is_complete_in_itself(name: str) -> None:
    assert "base" not in load_config(str(ROOT / "configs" / f"{name}.yaml"))


@every_config
def test_in_full_says_all_that_rows_differ_in(path: Path) -> None:
    config = in_full(path)
    assert config.keys() == SECTIONS
    assert {"accelerator", "max_epochs", "logger"} <= config["trainer"].keys()
    assert config["trainer"]["accelerator"] == "cpu"
    assert {"network", "head", "compile"} <= config["model"].keys()
    network = config["model"]["network"]
    wanted = {
        "lecun_repro.ConvNet1989": {"activation", "dropout", "output_bias"},
        "lecun_repro.FullyConnected1989": {"activation", "output_bias"},
        "lecun_repro.MicroViT": {"patch", "width", "heads", "blocks", "hidden", "dropout"},
        "lecun_repro.LaterConvNet": {"activation", "output_bias"},
        "lecun_repro.WideConvNet": {"widths", "dropout"},
    }
    assert wanted[network["class_path"]] <= network["init_args"].keys()
    assert {"source", "draw", "shift", "batch_size"} <= config["data"].keys()
    assert config["trainer"]["logger"]["init_args"]["name"] == path.stem


@every_config
def test_a_rate_that_falls_is_that_of_all_its_passes(path: Path) -> None:
    config = in_full(path)
    schedule = config["lr_scheduler"]
    if schedule is not None and schedule["class_path"].endswith("LinearLR"):
        assert schedule["init_args"]["total_iters"] == config["trainer"]["max_epochs"] - 1
        assert schedule["init_args"]["end_factor"] == pytest.approx(1 / 3)


@every_row
def test_differs_from_other_rows_only_as_the_article_says(path: Path) -> None:
    config = in_full(path)
    passes = {1: 23, 2: 23, 3: 46, 4: 60, 5: 80, 6: 100, 7: 80}[row := int(path.stem[0])]
    modern = row in (5, 7)
    assert config["seed_everything"] == 1337
    assert config["trainer"]["max_epochs"] == passes
    assert config["data"] == {
        "source": "mnist",
        "draw": "full" if row > 5 else "article",
        "shift": "roll" if row in (4, 5, 7) else None,
        "batch_size": 1,
    }
    assert config["model"]["network"]["init_args"] == {
        "activation": "relu" if modern else "tanh",
        "dropout": 0.25 if modern else 0.0,
        "output_bias": -1.0 if row in (1, 6) else 0.0,
    }
    assert config["model"]["head"]["class_path"].rsplit(".")[-1] == ("TanhMSE" if row in (1, 6) else "CrossEntropy")
    assert config["optimizer"]["init_args"]["lr"] == {1: 0.03, 2: 0.01, 6: 0.03}.get(row, 3e-4)


@pytest.mark.parametrize(
    "ours, articles", [("1_article_baseline_on_usps", "1_baseline"), ("5_modern", "5_dropout_relu")]
)
def test_of_1989_two_are_the_articles_rows_on_other_digits(ours: str, articles: str) -> None:
    changes = load_config(str(ROOT / "configs/1989" / f"{ours}.yaml"))
    assert changes == {"base": f"../article/{articles}.yaml", "data": {"source": "usps"}}


def cell(config: dict[str, Any]) -> tuple[str, str, float]:
    """Optimizer, initial range and target, where all else is the same."""
    model = config["model"]
    head = {"activation": "tanh", "target": 1.0} | model["head"].get("init_args", {})
    network = {"init": "article"} | model["network"]["init_args"]
    assert (head["activation"], network["activation"]) == ("tanh", "tanh")
    return config["optimizer"]["class_path"], network["init"], head["target"]


def test_all_configs_of_1989_are_there_and_hold_the_paper_s_passes_and_digits() -> None:
    configs = {path.stem: in_full(path) for path in CONFIGS if path.parent.name == "1989"}
    cells = {name: config for name, config in configs.items() if name.startswith(("1_", "2_", "6_"))}
    assert configs.keys() == {*BY_CONFIG, "5_modern", *cells}
    assert len(cells) == len({cell(config) for config in cells.values()}) == 2 * 2 * 2
    for config in configs.values():
        assert config["data"]["source"] == "usps" and config["data"]["batch_size"] == 1
    for name, printed in BY_CONFIG.items():
        assert configs[name]["trainer"]["max_epochs"] == PAPER_PASSES
        text = " ".join(line.lstrip("# ") for line in header(ROOT / "configs" / "1989" / f"{name}.yaml"))
        assert f"train error {printed.train_error} %" in text
        assert f"test error {printed.test_error:.{2 if printed.test_misses else 1}f} %" in text
