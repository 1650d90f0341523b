"""`base` in a configuration: what a file says in full, where a base may lie, and what is told where it may not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lecun_repro.__main__ import main
from lecun_repro.cli.build import resolve
from lecun_repro.cli.config_files import found
from lecun_repro.cli.overlays import as_yaml, configuration, in_full, merged
from lecun_repro.commands.reproduce import plan
from lecun_repro.errors import UserError
from lecun_repro.runs.identity import config_hash

pytestmark = pytest.mark.usefixtures("own_folder")

CONFIGS = Path(__file__).parents[2] / "configs"
LOGGER = "lightning.pytorch.loggers.TensorBoardLogger"
ROW = str(CONFIGS / "article/5_dropout_relu.yaml")
SHORT = "--data.source digits --data.train_size 20 --data.test_size 20 --trainer.max_epochs 1 --model.compile false"


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 1, "eps": 2}}


@pytest.mark.parametrize(
    "base, change, expected",
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}, "d": 4}, {"a": {"b": 1, "c": 3}, "d": 4}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        # Arguments alone, or with the same class in whatever spelling: merged.
        (ADAM, {"init_args": {"lr": 3}}, {**ADAM, "init_args": {"lr": 3, "eps": 2}}),
        (ADAM, {**ADAM, "init_args": {"lr": 3}}, {**ADAM, "init_args": {"lr": 3, "eps": 2}}),
        (ADAM, {"class_path": "Adam", "init_args": {}}, {**ADAM, "class_path": "Adam"}),
        (ADAM, {"class_path": "torch.optim.adam.Adam"}, {**ADAM, "class_path": "torch.optim.adam.Adam"}),
        ("Adam", {"init_args": {"lr": 3}}, {"class_path": "Adam", "init_args": {"lr": 3}}),
        # Another class: nothing of the base's is left.
        (ADAM, {"class_path": "torch.optim.AdamW"}, {"class_path": "torch.optim.AdamW"}),
        (ADAM, {"class_path": "mine.Adam", "init_args": {}}, {"class_path": "mine.Adam", "init_args": {}}),
        (ADAM, "SGD", "SGD"),
    ],
)
def test_a_change_is_put_onto_its_base(base: Any, change: Any, expected: Any) -> None:
    before = json.dumps([base, change])
    assert merged(base, change) == expected
    assert json.dumps([base, change]) == before


def test_a_chain_resolves_and_each_file_names_its_own_logs() -> None:
    write(
        {
            "configs/rows/one.yaml": Path(ROW).read_text(),
            "configs/two.yaml": "base: rows/one.yaml\noptimizer: {init_args: {lr: 0.5}}\ndata: {shift: null}\n",
            "configs/more/three.yaml": "base: ../two.yaml\ndata: {shift: pad}\n",
            "configs/more/four.yaml": "base: three.yaml\ntrainer: {logger: {init_args: {name: chosen}}}\n",
            "configs/more/five.yaml": "base: three.yaml\ntrainer: {logger: false}\n",
        }
    )
    row, (three, bases) = configuration(ROW)[0], configuration("configs/more/three.yaml")
    row["optimizer"]["init_args"]["lr"], row["data"]["shift"] = 0.5, "pad"
    row["trainer"]["logger"]["init_args"]["name"] = "three"
    assert three == row
    assert [Path(base).name for base in bases] == ["two.yaml", "one.yaml"]
    assert configuration("configs/more/four.yaml")[0]["trainer"]["logger"]["init_args"]["name"] == "chosen"
    assert configuration("configs/more/five.yaml")[0]["trainer"]["logger"] is False


def test_what_is_in_full_is_what_is_shown_run_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    change = "optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.05}}\n"
    write({"configs/row.yaml": Path(ROW).read_text(), "configs/mine/sgd.yaml": f"base: ../row.yaml\n{change}"})
    with pytest.raises(SystemExit):
        main(["fit", "--print_config", "--config", "configs/mine/sgd.yaml"])
    printed = yaml.safe_load(capsys.readouterr().out)
    main(["fit", "--config=configs/mine/sgd.yaml", *SHORT.split()])
    kept = yaml.safe_load(Path("lightning_logs/sgd/version_0/config.yaml").read_text())
    for config in (printed, kept):
        assert "base" not in config
        assert config["optimizer"]["class_path"] == "torch.optim.SGD"
        assert config["optimizer"]["init_args"]["lr"] == 0.05
        assert config["optimizer"]["init_args"]["weight_decay"] == 0  # SGD's own default, not the base's
        assert config["model"]["network"]["init_args"]["dropout"] == 0.25
    record = json.loads(Path("lightning_logs/sgd/version_0/results.json").read_text())
    assert record["config_hash"] == config_hash(resolve("configs/mine/sgd.yaml", SHORT.split()))


def test_a_run_for_another_machine_carries_its_configuration_in_full() -> None:
    file = CONFIGS / "claims/5_adam.yaml"
    resolved = resolve(str(file), [])
    (run,) = plan(file, resolved, [1337], False, [])
    write({"alone/5_adam.yaml": run.yaml})
    assert "base" not in yaml.safe_load(run.yaml)
    assert resolve("alone/5_adam.yaml", []) == resolved
    (complete,) = plan(Path(ROW), resolve(ROW, []), [1337], False, [])
    assert complete.yaml == Path(ROW).read_text()


BAD: dict[str, tuple[dict[str, str], str]] = {
    "missing": ({"a.yaml": "base: b.yaml"}, "base: b.yaml in a.yaml, no such file; allowed: a YAML file"),
    "folder": ({"a.yaml": "base: c", "c/d.yaml": "{}"}, "base: c in a.yaml, a folder; allowed: a YAML file"),
    "itself": ({"a.yaml": "base: a.yaml"}, "base: a.yaml in a.yaml, which leads back to itself"),
    "circle": (
        {"a.yaml": "base: c/b.yaml", "c/b.yaml": "base: ../a.yaml"},
        "base: ../a.yaml in c/b.yaml, which leads back to itself",
    ),
    "above": ({"c/a.yaml": "base: ../b.yaml", "b.yaml": "data: {}"}, "base: ../b.yaml in c/a.yaml, outside of "),
    "absolute": ({"a.yaml": f"base: {ROW}"}, f"base: {ROW} in a.yaml, outside of "),
    "out of configs": (
        {"configs/c/a.yaml": "base: ../../b.yaml", "b.yaml": "data: {}"},
        "base: ../../b.yaml in configs/c/a.yaml, outside of ",
    ),
    "out at the second step": (
        {"c/a.yaml": "base: d/b.yaml", "c/d/b.yaml": "base: ../../e.yaml", "e.yaml": "data: {}"},
        "base: ../../e.yaml in c/d/b.yaml, outside of ",
    ),
    "no path": ({"a.yaml": "base: [b.yaml]"}, "base: ['b.yaml'] in a.yaml; allowed: the path of a YAML file"),
    "nothing": ({"a.yaml": "base:"}, "base: None in a.yaml; allowed: the path of a YAML file"),
    "address": ({"a.yaml": "base: http://x.org/b.yaml"}, "base: http://x.org/b.yaml in a.yaml, no such file"),
    "no YAML": ({"a.yaml": "base: b.yaml", "b.yaml": "{"}, "config: "),
    "twice": ({"a.yaml": "base: b.yaml\nbase: b.yaml"}, "config: a.yaml line 2: key base is there twice"),
    "within": ({"a.yaml": "data: {base: b.yaml}"}, "data.base: unknown key"),
}


@pytest.mark.parametrize("files, told", BAD.values(), ids=BAD)
def test_a_bad_base_is_one_line(files: dict[str, str], told: str, refused) -> None:
    write(files)
    line = refused("fit", "--config", next(iter(files)))
    assert line.startswith(told) and "; allowed: " in line


def test_a_base_outside_may_be_named_on_the_command_line_and_leaves_nothing_behind() -> None:
    row = Path(ROW).read_text().replace("weight_decay: 0.01", "amsgrad: true")
    change = "base: ../row.yaml\noptimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.5}}\n"
    write({"row.yaml": row, "mine/adam.yaml": change})
    with pytest.raises(UserError, match="outside of"):
        in_full(["--config", "mine/adam.yaml"])
    args = in_full(["--config", "row.yaml", "--data.shift=pad", "-c", "mine/adam.yaml"])
    assert args[0] == "--data.shift=pad" and len(args) == 3
    full = yaml.safe_load(args[2])
    assert full["optimizer"] == {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.5}}
    # Named after it, it wins as any later file does.
    assert in_full(["--config", "mine/adam.yaml", "--config", "row.yaml"])[0::2] == ["--config", "--config"]


def test_a_base_may_lie_in_the_configs_of_the_working_directory() -> None:
    write({"configs/row.yaml": Path(ROW).read_text(), "results/best.yaml": "base: ../configs/row.yaml"})
    full, _ = configuration("results/best.yaml")
    assert full["optimizer"] == configuration(ROW)[0]["optimizer"]
    assert full["trainer"]["logger"]["init_args"]["name"] == "best"


def test_in_braces_a_base_is_relative_to_the_working_directory() -> None:
    write({"row.yaml": Path(ROW).read_text()})
    full, _ = configuration("{base: row.yaml, seed_everything: 7}")
    assert full == configuration(ROW)[0] | {"seed_everything": 7}


# A class of each kind, by the module it was once in.
NETWORK, HEAD, OPTIMIZER = (
    "lecun_repro.network_vit.MicroViT",
    "lecun_repro.heads.TanhMSE",
    "lecun_repro.newton.StochasticDiagonalLM",
)


def classes(config: dict[str, Any]) -> list[str]:
    specs = [config["model"]["network"], config["model"]["head"], config["optimizer"], config["trainer"]["logger"]]
    return [spec["class_path"] for spec in specs]


@pytest.mark.parametrize("how", ["file", "braces", "flags", "class_path flags", "part in braces", "part in a file"])
def test_old_names_of_classes_work_wherever_they_are_given(how: str) -> None:
    tree = {"model": {"network": {"class_path": NETWORK}, "head": HEAD}, "optimizer": {"class_path": OPTIMIZER}}
    write({"old.yaml": as_yaml(tree), "model.yaml": as_yaml(tree["model"])})
    flags = {
        "file": ["--config", "old.yaml"],
        "braces": ["--config", json.dumps(tree)],
        "flags": ["--model.network", NETWORK, f"--model.head={HEAD}", "--optimizer", OPTIMIZER],
        "class_path flags": ["--model.network.class_path", NETWORK, "--model.head", HEAD, f"--optimizer={OPTIMIZER}"],
        "part in braces": [f"--model={json.dumps(tree['model'])}", "--optimizer", json.dumps(tree["optimizer"])],
        "part in a file": ["--model", "model.yaml", "--optimizer", OPTIMIZER],
    }[how]
    names = ["MicroViT", "TanhMSE", "StochasticDiagonalLM"]
    assert classes(resolve(ROW, flags)) == [*(f"lecun_repro.{name}" for name in names), LOGGER]


@pytest.mark.parametrize("spelling", ["AdamW", "torch.optim.AdamW", "torch.optim.adamw.AdamW"])
def test_a_class_has_one_spelling_in_what_is_resolved(spelling: str) -> None:
    flags = ["--optimizer", spelling, "--model.network", "lecun_repro.models.vit.MicroViT", "--model.head=TanhMSE"]
    flags += ["--trainer.logger", "lightning.pytorch.loggers.tensorboard.TensorBoardLogger"]
    flags += ["--trainer.callbacks+", "lightning.pytorch.callbacks.device_stats_monitor.DeviceStatsMonitor"]
    config = resolve(ROW, flags)
    assert classes(config) == ["lecun_repro.MicroViT", "lecun_repro.TanhMSE", "torch.optim.AdamW", LOGGER]
    assert config["trainer"]["callbacks"][0]["class_path"] == "lightning.pytorch.callbacks.DeviceStatsMonitor"


VALUES: list[Callable[[], Any]] = [
    lambda: [1e-05, 3e-4, 0.1, float("inf"), -float("inf"), 10**30, True, None, [], {}],
    lambda: ["1e-3", "3", "null", "true", "2020-01-01", ".inf", "a: b", "#", "ä\U0001f600", "\x7f\u2028", "", " "],
]


@pytest.mark.parametrize("in_braces", [True, False])
@pytest.mark.parametrize("values", VALUES, ids=["numbers", "texts"])
def test_what_is_written_in_full_is_read_as_the_same(values: Callable[[], Any], in_braces: bool) -> None:
    tree = {"a": values(), "b": {"c": values()}}
    text = as_yaml(tree, in_braces)
    Path("x.yaml").write_text(text)
    for read in (text, "x.yaml") if in_braces else ("x.yaml",):
        assert repr(configuration(read)[0]) == repr(tree)


# Packaged configurations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["article/1_baseline", "article/1_baseline.yaml", "configs/article/1_baseline.yaml"])
def test_a_packaged_configuration_is_found_in_any_folder(name: str) -> None:
    assert found(name) == str(CONFIGS / "article/1_baseline.yaml")
    assert found("configs/article") == str(CONFIGS / "article")


def test_a_file_goes_before_a_packaged_one_of_its_name() -> None:
    Path("quickstart").write_text("seed_everything: 7")
    assert found("quickstart") == "quickstart"
    assert configuration(found("quickstart"))[0] == {"seed_everything": 7}


@pytest.mark.parametrize("name", ["none", "../pyproject.toml", "/etc/passwd", "a\0b", "{seed_everything: 1}", ""])
def test_what_is_neither_stays_as_it_is(name: str) -> None:
    assert found(name) == name


def test_a_packaged_base_of_one_s_own_configuration() -> None:
    Path("mine.yaml").write_text("base: article/5_dropout_relu\ntrainer: {max_epochs: 2}")
    full, _ = configuration("mine.yaml")
    assert full["trainer"]["max_epochs"] == 2
    assert full["trainer"]["logger"]["init_args"]["name"] == "mine"
    assert full["model"] == configuration(found("article/5_dropout_relu"))[0]["model"]
    of_claims, _ = configuration(found("claims/5_adam"))
    assert of_claims["model"] == full["model"]


def test_they_are_listed_with_their_first_lines(capsys: pytest.CaptureFixture[str]) -> None:
    main(["configs"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len([path for path in CONFIGS.rglob("*.yaml") if path.parent.name != "search"])
    assert all(found(line.split()[0]).endswith(".yaml") and len(line.split()) > 3 for line in lines)
