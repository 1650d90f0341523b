"""Where a fit may write, and that nobody else writes there."""

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lecun_repro.__main__ import main
from lecun_repro.errors import UserError
from lecun_repro.runs import folders
from lecun_repro.runs.folders import claimed, in_use, save_dir

FIT = ["fit", "--config", "quickstart", "--trainer.max_epochs=1", "--data.train_size=20", "--data.test_size=20"]
FIT += ["--model.compile=false"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


# Which folders


OUT = [
    {"save_dir": "/tmp/x"},
    {"save_dir": "../x"},
    {"save_dir": "s3://bucket"},
    {"name": "../../x"},
    {"name": "/tmp/x"},
    {"version": "../../../x"},
    {"version": "/tmp/x"},
]


@pytest.mark.parametrize(
    "where, out", [*(("file", out) for out in OUT), *(("flags", out) for out in OUT if "save_dir" not in out)]
)
def test_no_configuration_leads_out_and_no_name_leaves_save_dir(
    where: str, out: dict[str, str], tmp_path: Path, refused
) -> None:
    names = {"save_dir": "logs", "name": "a", "version": "b"} | out
    flags = ["--config", "logger.yaml"]
    if where == "file":
        logger = {"class_path": "TensorBoardLogger", "init_args": names}
        Path("logger.yaml").write_text(json.dumps({"trainer": {"logger": logger}}))
    else:  # which may lead to a folder of the user's own
        flags = [f"--trainer.logger.{key}={names[key]}" for key in ("name", "version")]
    before = sorted(tmp_path.rglob("*"))
    line = refused(*FIT, *flags)
    (key,) = out
    assert line.startswith(f"trainer.logger.init_args.{key}: ") or "names of folders below save_dir" in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_users_own_folder_and_a_link_of_his_are_his_to_choose(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    Path("logs").mkdir()
    Path("logs/linked").symlink_to(tmp_path / "scratch")
    main([*FIT, f"--trainer.logger.save_dir={tmp_path}/own"])
    assert (tmp_path / "own/quickstart/version_0/results.json").is_file()
    main([*FIT, "--trainer.logger.save_dir=logs", "--trainer.logger.name=linked/x"])
    assert (tmp_path / "scratch/x/version_0/results.json").is_file()


def test_output_named_by_a_file_stays_inside(tmp_path: Path, refused) -> None:
    main(FIT)
    Path("output.yaml").write_text(f"output: {tmp_path}/digits.csv")
    command = ["predict", "--ckpt_path", "lightning_logs/quickstart/version_0/checkpoints/last.ckpt"]
    line = refused(*command, "--config", "output.yaml")
    assert line.startswith(f"output: {tmp_path}/digits.csv; allowed: a path inside")
    main([*command, f"--output={tmp_path}/digits.csv"])
    assert (tmp_path / "digits.csv").is_file()


# One fit per folder


@pytest.mark.parametrize("kind", [TensorBoardLogger, CSVLogger])
def test_a_claimed_folder_is_nobody_elses(kind: type) -> None:
    path = Path("logs/row/run")
    assert not in_use(path)
    with claimed(kind("logs", "row", "run")):
        assert in_use(path)
        with pytest.raises(UserError, match="where another fit is writing"), claimed(kind("logs", "row", "run")):
            pass
        with claimed(kind("logs", "row", "other")):
            assert in_use(path.with_name("other"))
    assert not in_use(path)
    assert not list(path.iterdir())


def test_an_open_version_is_the_next_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two that look at the same moment both see version 0.
    loggers = [TensorBoardLogger("logs", "row") for _ in range(2)]
    following = TensorBoardLogger._get_next_version
    seen = iter([0, 0])
    monkeypatch.setattr(TensorBoardLogger, "_get_next_version", lambda self: next(seen, None) or following(self))
    with claimed(loggers[0]), claimed(loggers[1]):
        assert [logger.version for logger in loggers] == [0, 1]


@pytest.mark.parametrize("kind", [TensorBoardLogger, CSVLogger])
@pytest.mark.parametrize("link", ["logs", "logs/row", "logs/row/version_0"])
def test_a_link_to_nowhere_ends_in_a_line(link: str, kind: type) -> None:
    Path(link).parent.mkdir(parents=True, exist_ok=True)
    Path(link).symlink_to("nowhere")
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(20)
    try:
        with pytest.raises(UserError, match=r"version_0, which is no folder; allowed: "), claimed(kind("logs", "row")):
            pass
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_fit_sweeps_what_killed_writers_left() -> None:
    with claimed(TensorBoardLogger("logs", "row", "run")):
        pass
    Path("logs/row/run/checkpoints").mkdir()
    Path(f"logs/row/run/checkpoints/.{'0a' * 8}.part").touch()
    Path("logs/row/run/.mine.part").touch()
    with claimed(TensorBoardLogger("logs", "row", "run")):
        assert sorted(path.name for path in Path("logs/row/run").rglob("*")) == [".mine.part", "checkpoints"]


def test_without_a_folder_there_is_nothing_to_claim() -> None:
    with claimed():
        assert not os.listdir()


def test_an_earlier_runs_results_do_not_outlive_it_in_its_folder() -> None:
    run = [*FIT, "--trainer.logger.version=run"]
    main(run)
    results = Path("lightning_logs/quickstart/run/results.json")
    assert results.is_file()
    with pytest.raises(SystemExit):
        main([*run, "--optimizer=SGD", "--optimizer.lr=1e30", "--lr_scheduler=null"])
    assert not results.exists()
    assert results.with_name("diverged.json").is_file()


# Whatever loggers

NO_FOLDER = """
from lightning.pytorch.loggers.logger import Logger
class Noted(Logger):
    version = 0
    def __init__(self, name: str | None = None) -> None:
        self._name = name
    @property
    def name(self) -> str:
        return "everybody's"
    def log_metrics(self, metrics, step=None):
        with open("noted.txt", "a") as file:
            print(step, metrics["error/test"], file=file)
    def log_hyperparams(self, params):
        with open("noted.txt", "a") as file:
            print(params["row"], file=file)
"""
RUN = {"checkpoints/last.ckpt", "config.yaml", "results.json"}


@pytest.fixture
def noted(own_module) -> str:
    """The class path of a logger that has no folder and one name for all its runs."""
    own_module("noting", NO_FOLDER)
    return "noting.Noted"


def left(folder: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def rows() -> list[str]:
    return sorted(json.loads(path.read_text())["row"] for path in Path().rglob("results.json"))


def test_two_runs_of_a_logger_without_a_folder_have_one_each(noted: str) -> None:
    run = [*FIT, f"--trainer.logger={noted}", "--trainer.logger.name=null"]
    for _ in range(2):
        main(run)
    assert all(left(f"lightning_logs/quickstart/version_{n}") == RUN for n in (0, 1))
    main([*run, "--trainer.logger.name=mine", "--trainer.callbacks=ModelCheckpoint"])
    assert left("lightning_logs/mine/version_0") == RUN | {"checkpoints/epoch=0-step=20.ckpt"}
    assert rows() == ["mine", "quickstart", "quickstart"]
    steps = [line.split()[0] for line in Path("noted.txt").read_text().splitlines()]
    assert steps == ["1", "quickstart", "1", "quickstart", "1", "mine"]


def test_reproduce_looks_for_its_runs_where_they_are() -> None:
    arguments = {"init_args": {"save_dir": "logs"}}
    assert save_dir({"class_path": "lightning.pytorch.loggers.CSVLogger", **arguments}) == "logs"
    assert save_dir({"class_path": "lightning.pytorch.loggers.WandbLogger", **arguments}) == "lightning_logs"
    assert save_dir(True) == "lightning_logs"


@pytest.mark.slow
def test_two_loggers_are_both_complete_and_share_the_folder(noted: str) -> None:
    names = {"save_dir": "logs", "name": "both"}
    loggers = [
        {"class_path": noted},
        {"class_path": "CSVLogger", "init_args": names},
        {"class_path": "TensorBoardLogger", "init_args": names},
    ]
    Path("both.yaml").write_text(json.dumps({"trainer": {"logger": loggers}}))
    for _ in range(2):
        main([*FIT, "--config", "both.yaml", "--trainer.max_epochs=2"])
    for folder in ("logs/both/version_0", "logs/both/version_1"):
        events = {name for name in left(folder) if name.startswith("events.")}
        assert left(folder) - events == RUN | {"metrics.csv", "hparams.yaml"}
        with open(f"{folder}/metrics.csv") as file:
            curve = {int(line["step"]): float(line["misses/test"]) for line in csv.DictReader(file)}
        scalars = EventAccumulator(folder).Reload().Scalars("misses/test")
        assert {event.step: event.value for event in scalars} == curve
        result = json.loads(Path(folder, "results.json").read_text())
        assert curve == dict(zip(result["curve"]["test"]["pass"], result["curve"]["test"]["misses"], strict=True))
    assert rows() == ["both", "both"]


@pytest.mark.slow
def test_a_checkpoint_of_the_users_is_beside_ours_and_can_be_gone_on_from() -> None:
    run = [*FIT, "--trainer.max_epochs=2"]
    main([*run, "--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.save_top_k=-1",
          "--trainer.callbacks.save_last=true"])  # fmt: skip
    saved = Path("lightning_logs/quickstart/version_0/checkpoints")
    names = ["epoch=0-step=20.ckpt", "epoch=1-step=40.ckpt", "last.ckpt", "model_checkpoint_last.ckpt"]
    assert sorted(path.name for path in saved.iterdir()) == names
    with pytest.warns(UserWarning, match="callbacks used to create the checkpoint"):
        main([*run, f"--ckpt_path={saved}/epoch=0-step=20.ckpt"])
    ours, others = (
        torch.load(f"lightning_logs/quickstart/version_{n}/checkpoints/last.ckpt", weights_only=True) for n in (0, 1)
    )
    assert all(torch.equal(ours["state_dict"][name], value) for name, value in others["state_dict"].items())


def test_a_bar_of_the_users_takes_the_place_of_ours(capfd: pytest.CaptureFixture[str]) -> None:
    main([*FIT, "--trainer.callbacks=TQDMProgressBar"])
    out = capfd.readouterr().out
    assert "9,760" in out
    assert out.count("eval: pass 1, split") == 2
    assert Path("lightning_logs/quickstart/version_0/results.json").is_file()


@pytest.mark.slow
def test_what_a_callback_was_told_to_say_is_said() -> None:
    flags = ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=error/test"]
    said = subprocess.run(
        [sys.executable, "-m", "lecun_repro", *FIT, *flags,
         "--trainer.callbacks.stopping_threshold=101", "--trainer.callbacks.verbose=true"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Stopping threshold reached: error/test" in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_without_fcntl_folders_are_used_without_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    there = runpy.run_path(folders.__file__)
    assert there["fcntl"] is None
    assert there["lock"](tmp_path) is None
    first, second = (CSVLogger("logs", "row", version="same") for _ in range(2))
    with there["claimed"](first), there["claimed"](second):
        assert Path(first.log_dir).is_dir()
        assert not there["in_use"](Path(first.log_dir))
