"""Where a fit may write, and that nobody else writes there."""

import os
import signal
from pathlib import Path

import pytest
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lecun_repro.__main__ import main
from lecun_repro.cli.paths import check_paths, leads_out
from lecun_repro.errors import UserError
from lecun_repro.runs.folders import claimed, in_use

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "configs/quickstart.yaml")
SHORT = ["--trainer.max_epochs=1", "--data.train_size=20", "--data.test_size=20", "--model.compile=false"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


# Which folders


@pytest.mark.parametrize("path", ["lightning_logs", "a/b/../c", ".", "", "a..b", "...", "auto", "32-true"])
def test_stays_inside(path: str) -> None:
    assert not leads_out(path)


@pytest.mark.parametrize("path", ["/etc", "..", "../x", "a/../../x", "~/x", "~", "$HOME/x", "s3://x/y", "file:///etc"])
def test_leads_out(path: str) -> None:
    assert leads_out(path)


def test_an_absolute_path_inside_is_inside() -> None:
    assert not leads_out(str(Path.cwd() / "logs"))
    assert leads_out(str(Path.cwd()) + "_too")


def test_what_leads_out_has_to_be_on_the_command_line() -> None:
    config = Namespace(trainer={"callbacks": [{"class_path": "x.Y", "init_args": {"dirpath": "/elsewhere"}}]})
    check_paths(config, ["--trainer.callbacks=Y", "--trainer.callbacks.dirpath=/elsewhere"])
    for args in (
        [],
        ["--data.root=/elsewhere"],
        ["--config", '{"trainer": {"callbacks": [{"init_args": {"dirpath": "/elsewhere"}}]}}'],
    ):
        with pytest.raises(UserError, match=r"^trainer\.callbacks\[0\]\.init_args\.dirpath: /elsewhere; allowed: "):
            check_paths(config, args)


LOGGER = "class_path: TensorBoardLogger, init_args: {save_dir: SAVE, name: NAME, version: VERSION}"
OUT = [
    ("/tmp/x", "a", "b", "save_dir"),
    ("../x", "a", "b", "save_dir"),
    ("logs", "../../x", "b", "name"),
    ("logs", "/tmp/x", "b", "name"),
    ("logs", "a", "../../../x", "version"),
    ("logs", "a", "/tmp/x", "version"),
    ("s3://bucket", "a", "b", "save_dir"),
]


@pytest.mark.parametrize("save_dir, name, version, key", OUT)
@pytest.mark.parametrize("where", ["file", "flags"])
def test_no_configuration_leads_out_and_no_name_leaves_save_dir(
    where: str, save_dir: str, name: str, version: str, key: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ["--config", "logger.yaml"]
    if where == "file":
        logger = LOGGER.replace("SAVE", save_dir).replace("NAME", name).replace("VERSION", version)
        Path("logger.yaml").write_text(f"trainer: {{logger: {{{logger}}}}}")
    else:
        flags = [f"--trainer.logger.{k}={v}" for k, v in (("name", name), ("version", version))]
        if key == "save_dir":
            pytest.skip("a user's own folder")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", QUICKSTART, *SHORT, *flags])
    (line,) = capfd.readouterr().err.splitlines()
    assert end.value.code == 2
    assert f"trainer.logger.init_args.{key}: " in line or "names of folders below save_dir" in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_users_own_folder_and_a_link_of_his_are_his_to_choose(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    Path("logs").mkdir()
    Path("logs/linked").symlink_to(tmp_path / "scratch")
    main(["fit", "--config", QUICKSTART, *SHORT, f"--trainer.logger.save_dir={tmp_path}/own"])
    assert (tmp_path / "own/quickstart/version_0/results.json").is_file()
    main(["fit", "--config", QUICKSTART, *SHORT, "--trainer.logger.save_dir=logs", "--trainer.logger.name=linked/x"])
    assert (tmp_path / "scratch/x/version_0/results.json").is_file()


def test_output_named_by_a_file_stays_inside(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--config", QUICKSTART, *SHORT])
    Path("output.yaml").write_text(f"output: {tmp_path}/digits.csv")
    capfd.readouterr()
    command = ["predict", "--ckpt_path", "lightning_logs/quickstart/version_0/checkpoints/last.ckpt"]
    with pytest.raises(SystemExit):
        main([*command, "--config", "output.yaml"])
    assert capfd.readouterr().err.startswith(f"lecun-repro: error: output: {tmp_path}/digits.csv; allowed: a path ins")
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
    with claimed(None):
        assert not os.listdir()


def test_an_earlier_runs_results_do_not_outlive_it_in_its_folder() -> None:
    run = ["fit", "--config", QUICKSTART, *SHORT, "--trainer.logger.version=run"]
    main(run)
    results = Path("lightning_logs/quickstart/run/results.json")
    assert results.is_file()
    with pytest.raises(SystemExit):
        main([*run, "--optimizer=SGD", "--optimizer.lr=1e30", "--lr_scheduler=null"])
    assert not results.exists()
    assert results.with_name("diverged.json").is_file()
