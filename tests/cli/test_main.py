"""The command line: its four subcommands, its help, and what it leaves behind."""

import csv
import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from lecun_repro.__main__ import main
from lecun_repro.cli.build import resolve
from lecun_repro.cli.main import DigitsCLI, with_checkpoint_config
from lecun_repro.cli.main import run as run_cli
from lecun_repro.cli.predictions import accuracy, prediction_table, with_images
from lecun_repro.data.images import READ
from lecun_repro.training.evaluation import SplitResult
from lecun_repro.training.module import DigitClassifier

pytestmark = pytest.mark.usefixtures("own_folder")

# Of every kind of network, head and optimizer, and one with a base.
PRINTED = ["quickstart.yaml", "1989/3_paper.yaml", "article/7_50k_modern.yaml", "claims/5_micro_vit.yaml"]
SHORT = ["--trainer.max_epochs=1", "--data.source=digits", "--data.train_size=20", "--model.compile=false"]
FIT = ["fit", "--config", "quickstart", *SHORT]


def run(*args: object, code: int = 0) -> None:
    """`main`, which has to end with `code`."""
    try:
        main([str(arg) for arg in args])
        ended = 0
    except SystemExit as end:
        ended = end.code or 0
    assert ended == code


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short fit."""
    folder = tmp_path_factory.mktemp("fitted")
    run(*FIT, "--trainer.max_epochs=2", f"--trainer.logger.save_dir={folder}")
    return folder / "quickstart/version_0"


@pytest.fixture
def last(fitted: Path) -> Path:
    """Its checkpoint."""
    return fitted / "checkpoints/last.ckpt"


# Fit ------------------------------------------------------------------------------------------------------------------


def test_a_fit_prints_its_splits_and_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    run(*FIT)
    out, err = capfd.readouterr()
    assert len(re.findall("^eval: pass 1, split ", out, re.M)) == 2
    assert not err


@pytest.mark.slow
@pytest.mark.parametrize("config", PRINTED)
def test_printed_config_fits_again(config: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = str(Path(__file__).parents[2] / "configs" / config)
    run("fit", "--config", config, *SHORT, "--print_config")
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    run("fit", "--config", "printed.yaml")
    first = (tmp_path / f"lightning_logs/{Path(config).stem}/version_0/config.yaml").read_text()
    run("fit", "--config", config, *SHORT)
    again = (tmp_path / f"lightning_logs/{Path(config).stem}/version_1/config.yaml").read_text()
    assert first.replace("printed.yaml", "") == again.replace(config, "")
    results = [json.loads(path.read_text()) for path in sorted(tmp_path.rglob("results.json"))]
    assert results[0]["test"] == results[1]["test"]
    assert results[0]["config_hash"] == results[1]["config_hash"]


def test_what_is_printed_without_defaults_is_the_same_configuration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run("fit", "--config", "quickstart", "--print_config=skip_default")
    (tmp_path / "short.yaml").write_text(printed := capsys.readouterr().out)
    assert "CrossEntropy" in printed
    assert "block_size" not in printed
    assert resolve("short.yaml", []) | {"config": None} == resolve("quickstart", []) | {"config": None}


SEQUENCE = """
base: quickstart
lr_scheduler:
  class_path: SequentialLR
  init_args:
    milestones: [2]
    schedulers:
    - {class_path: LinearLR, init_args: {start_factor: 0.5, total_iters: 2}}
    - {class_path: ExponentialLR, init_args: {gamma: 0.1}}
"""


def test_a_schedule_gets_all_of_the_runs_steps_where_none_are_given() -> None:
    flags = ["--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=0.1", "--trainer.max_epochs=3"]
    flags += ["--data.source=digits", "--data.train_size=20"]

    def total_steps(*more: str) -> int:
        return resolve("quickstart", [*flags, *more])["lr_scheduler"]["init_args"]["total_steps"]

    assert total_steps() == 3
    assert total_steps("--model.lr_interval", "step", "--data.batch_size", "8") == 3 * 3
    assert total_steps("--lr_scheduler.total_steps", "7") == 7


def test_schedules_of_schedules(tmp_path: Path) -> None:
    (tmp_path / "sequence.yaml").write_text(SEQUENCE)
    run("fit", "--config", "sequence.yaml", *SHORT, "--trainer.max_epochs=3")
    last = next(tmp_path.rglob("last.ckpt"))
    run("fit", "--config", "sequence.yaml", *SHORT, "--trainer.max_epochs=4", "--ckpt_path", last)
    rates = [torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"][0]["lr"]
             for path in sorted(tmp_path.rglob("last.ckpt"))]  # fmt: skip
    assert rates == pytest.approx([3e-5, 3e-6])


def test_short_names(tmp_path: Path) -> None:
    run("fit", "--config", "article/1_baseline", *SHORT, "--optimizer=AdamW", "--optimizer.lr=3e-4",
        "--model.head=CrossEntropy", "--model.network.activation=relu", "--model.network.dropout", 0.25)  # fmt: skip
    config = yaml.safe_load(next(tmp_path.rglob("config.yaml")).read_text())
    assert config["optimizer"]["class_path"] == "torch.optim.AdamW"
    assert config["optimizer"]["init_args"]["lr"] == 3e-4
    assert config["model"]["head"]["class_path"].endswith("CrossEntropy")
    assert config["model"]["network"]["init_args"]["activation"] == "relu"
    assert config["model"]["network"]["init_args"]["dropout"] == 0.25


OWN = """
from lecun_repro import ConvNet1989
class Own(ConvNet1989):
    def __init__(self, dropout: float = 0.0):
        super().__init__(dropout=dropout)
"""


def test_a_users_own_network(tmp_path: Path, own_module) -> None:
    own_module("own_network", OWN)
    run(*FIT, "--model.network=own_network.Own")  # dropout survives from the YAML
    assert "own_network.Own" in next(tmp_path.rglob("config.yaml")).read_text()


def test_no_checkpointing(tmp_path: Path) -> None:
    run(*FIT, "--trainer.enable_checkpointing=false")
    assert not list(tmp_path.rglob("*.ckpt"))


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    start = DigitClassifier.on_train_epoch_start

    def interrupt(self: DigitClassifier) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        start(self)

    monkeypatch.setattr(DigitClassifier, "on_train_epoch_start", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    run(*FIT, "--trainer.max_epochs=2", code=130)
    assert signal.getsignal(signal.SIGINT) is handler
    (line,) = capfd.readouterr().err.strip().splitlines()
    path = line.split("--ckpt_path ")[1]
    assert line.startswith("lecun-repro: interrupted; ")
    assert Path(path).is_file()


def test_ctrl_c_outside_of_a_fit(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DigitsCLI, "parse_arguments", interrupt)
    run("fit", "--config", "quickstart", code=130)
    assert capfd.readouterr().err == "lecun-repro: interrupted\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(self: DigitClassifier) -> None:
        raise AttributeError("a bug")

    monkeypatch.setattr(DigitClassifier, "on_fit_start", bug)
    with pytest.raises(AttributeError, match="a bug"):
        main(FIT)


# From a checkpoint alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subcommand", ["test", "validate"])
@pytest.mark.parametrize("form", ["--ckpt_path={}", "--ckpt_path {}"])
def test_evaluates_a_checkpoint(
    subcommand: str, form: str, fitted: Path, last: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(subcommand, *form.format(last).split())
    out, err = capfd.readouterr()
    results = json.loads((fitted / "results.json").read_text())
    lines = [SplitResult(**results[split]).line(split) for split in ("train", "test")]
    assert out.splitlines() == lines
    assert not err
    assert not list(tmp_path.iterdir())


def test_flags_win_over_the_checkpoint(last: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("test", "--ckpt_path", last, "--data.train_size=100", "--data.holdout=30")
    assert "split holdout." in capsys.readouterr().out


def test_predicts(last: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("predict", "--ckpt_path", last)
    out, err = capfd.readouterr()
    head, *rows = out.splitlines()
    assert head == "index,digit,probability,margin,runner_up"
    assert len(rows) == 500
    assert not err
    for index, row in enumerate(rows):
        number, digit, probability, margin, runner_up = row.split(",")
        assert int(number) == index
        assert 0 <= float(margin) <= float(probability) <= 1
        assert digit != runner_up
    assert not list(tmp_path.iterdir())
    run("predict", "--ckpt_path", last, "--output", "digits.csv")
    assert not capfd.readouterr().out
    assert (tmp_path / "digits.csv").read_text() == out
    assert [path.name for path in tmp_path.iterdir()] == ["digits.csv"]


def test_prediction_table() -> None:
    table = prediction_table(torch.tensor([[0.1, 0.6, 0.3] + [0.0] * 7]))
    assert table.splitlines()[1] == "0,1,0.600000,0.300000,2"


def test_a_test_gives_the_very_numbers_of_the_results(fitted: Path, last: Path) -> None:
    cli = run_cli(with_checkpoint_config(["test", "--ckpt_path", str(last)]), 0.0)
    saved = json.loads((fitted / "results.json").read_text())
    assert cli.model.results.keys() == {"train", "test"}
    for split, result in cli.model.results.items():
        assert json.loads(json.dumps(result._asdict())) == saved[split]  # misses, loss, error, missed, predicted ...
    assert saved["test"]["misses"] == len(saved["test"]["missed"]) == len(saved["test"]["predicted"]) > 0


# Image files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three digits, of names that are not easy, and with no data set anywhere."""
    folder = tmp_path / "photos"
    folder.mkdir()
    digits = load_digits().images
    for name, digit in (('10 "a, b".png', 7), ("9.png", 3), ("lines\n\x1b[2J.png", 1)):
        page = np.full((60, 60), 240, np.uint8)
        page[10:50, 10:50] = np.kron(240 - 15 * digits[digit], np.ones((5, 5))).astype(np.uint8)
        Image.fromarray(page).save(folder / name)
    monkeypatch.setenv("LECUN_REPRO_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr("lecun_repro.data.download.urlopen", lambda *args, **kwargs: pytest.fail("a download"))
    return folder


def test_predicts_image_files(last: Path, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ("--data.source=mnist", "--data.train_size=null", "--data.images", "photos/*.png")  # which is not there
    run("predict", "--ckpt_path", last, *flags)
    out, err = capfd.readouterr()
    assert not err
    head, *lines = out.splitlines()
    assert head.split() == ["file", "digit", "probability", "margin", "runner-up"]
    names = ["photos/9.png", 'photos/10 "a, b".png', r"photos/lines\n\x1b[2J.png"]
    assert [line[: line.rindex("  ", 0, head.index("digit") + 1)].strip() for line in lines] == names
    assert {len(line) for line in lines} == {len(head)}
    run("predict", "--ckpt_path", last, *flags, "--output", "digits.csv")
    out, err = capfd.readouterr()
    assert not out + err
    with Path("digits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["photos/9.png", 'photos/10 "a, b".png', "photos/lines\n\x1b[2J.png"]
    assert list(rows[0]) == ["file", "digit", "probability", "margin", "runner_up"]
    for row, line in zip(rows, lines, strict=True):
        assert line.split()[-4::3] == [row["digit"], row["runner_up"]]
        assert 0 <= float(row["margin"]) <= float(row["probability"]) <= 1


def test_bytes_of_a_file_s_name_survive(last: Path, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    strange = os.fsencode(photos) + b"/\xff.png"
    try:
        (photos / "9.png").rename(os.fsdecode(strange))
    except OSError:
        pytest.skip("names are text on this file system")
    run("predict", "--ckpt_path", last, "--data.images", f"{photos}/*", "--output", "digits.csv")
    assert strange in Path("digits.csv").read_bytes()
    run("predict", "--ckpt_path", last, "--data.images", f"{photos}/*")
    out, err = capfd.readouterr()
    assert r"\udcff.png" in out
    assert not err


def test_what_gives_no_digit_is_named_and_the_rest_done(
    last: Path, photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (photos / "a.svg").write_text("<svg/>")
    (photos / "z\n.png").mkdir()
    Image.new("L", (40, 40), 230).save(photos / "blank.png")
    run("predict", "--ckpt_path", last, "--data.images", "photos/*", "--output", "digits.csv", code=1)
    out, err = capfd.readouterr()
    assert not out
    assert err.splitlines() == [
        f"lecun-repro: skipped photos/a.svg: not an image; allowed: {READ}; save others as PNG or JPEG",
        "lecun-repro: skipped photos/blank.png: blank",
        r"lecun-repro: skipped photos/z\n.png: a folder without images",
    ]
    assert Path("digits.csv").read_text().count(".png") == 3
    run("predict", "--ckpt_path", last, "--data.images", "[photos/a.svg,photos/b*.png]", "--output", "none.csv", code=1)
    assert Path("none.csv").read_text() == "file,digit,probability,margin,runner_up\n"
    run("predict", "--ckpt_path", last, "--data.images", "photos/blank.png", code=1)
    out, err = capfd.readouterr()
    assert out.split() == ["file", "digit", "probability", "margin", "runner-up"]
    assert len(err.splitlines()) == 3


@pytest.mark.parametrize(
    "given, images",
    [
        ("a.png", ["a.png"]),
        ("photos/1.png photos/2.png --output x.csv", ["photos/1.png", "photos/2.png"]),
        ("--output x.csv a.png b.png", ["a.png", "b.png"]),
        ("--data.images a.png b.png --threads=2 c.png", ["a.png", "b.png", "c.png"]),
        ("--data.images=[a.png,b.png] [1].png", ["a.png", "b.png", "[1].png"]),
    ],
)
def test_files_one_after_another_are_one_list(given: str, images: list[str]) -> None:
    *others, last = with_images(["predict", *given.split()])
    assert last == "--data.images=" + json.dumps(images)
    assert len(others) in (1, 2, 3)
    assert with_images(["test", *given.split()]) == ["test", *given.split()]


def test_accuracy_is_of_the_digits_that_are_known() -> None:
    probabilities = torch.eye(10)
    assert accuracy(probabilities, torch.tensor([0, 1, 3, *[-1] * 7])) == (
        "accuracy 66.67%: 2 of 3 in folders named by their digit\n"
    )
    assert accuracy(probabilities, torch.full((10,), -1)) == ""


def test_images_that_cannot_be_predicted(last: Path, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("predict", "--ckpt_path", last, "--data.images", "photos/*.jpg", "--output", "digits.csv", code=2)
    images = ("--data.images", "photos/*.png")
    for command in ("test", "validate"):
        run(command, "--ckpt_path", last, *images, code=2)
    run("fit", "--config", "quickstart", *images, code=2)
    run("reproduce", "--configs", "quickstart", *images, "--seeds", 1, code=2)
    out, err = capfd.readouterr()
    nothing, *others = err.splitlines()
    assert nothing == (
        "lecun-repro: error: data.images: 'photos/*.jpg' matches no file; allowed: files, folders, patterns in quotes"
    )
    commands = ("test", "validate", "fit", "fit")
    assert others == [
        f"lecun-repro: error: data.images: photos/*.png; allowed: null; only predict reads images, {name} does not"
        for name in commands
    ]
    assert not out
    assert not Path("digits.csv").exists()


@pytest.mark.parametrize(
    "planted",
    [
        {"data": {"images": "photos/*.png"}},
        {"data": {"images+": ["photos/9.png"]}},
        {"data": {"images": ["photos/9.png", "/etc/passwd"], "root": "photos"}},
        {"data.images": "photos/*.png"},
        {"output": "written.csv"},
        {"predict": {"data": {"images": "photos/*.png"}}},
        {"config": "photos/other.yaml"},
    ],
)
def test_no_checkpoint_names_files_of_this_machine(
    planted: dict, last: Path, photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(last, weights_only=True)
    config = content["lecun_repro"]["config"]
    assert not {"root", "images"} & config["data"].keys()
    for key, value in planted.items():
        config[key] = config[key] | value if key == "data" else value
    (photos / "other.yaml").write_text("data: {images: photos/9.png}")
    torch.save(content, "planted.ckpt")
    run("predict", "--ckpt_path", "planted.ckpt")
    out, err = capfd.readouterr()
    assert out.startswith("index,digit,")
    assert len(out.splitlines()) == 501
    assert not err
    assert not Path("written.csv").exists()
