"""Where a configuration may write, to the letter; that a run writes nowhere else, see `runs/test_folders.py`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonargparse import Namespace

from lecun_repro.__main__ import main
from lecun_repro.cli.paths import check_paths, leads_out, may_download
from lecun_repro.data.download import closed_to_downloads, obtain
from lecun_repro.errors import BadArgument, UserError

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.parametrize("path", ["lightning_logs", "a/b/../c", ".", "", "a..b", "...", "auto", "32-true"])
def test_stays_inside(path: str) -> None:
    assert not leads_out(path)


@pytest.mark.parametrize("path", ["/etc", "..", "../x", "a/../../x", "~/x", "~", "$HOME/x", "s3://x/y", "file:///etc"])
def test_leads_out(path: str) -> None:
    assert leads_out(path)


def test_an_absolute_path_inside_is_inside() -> None:
    assert not leads_out(str(Path.cwd() / "logs"))
    assert leads_out(str(Path.cwd()) + "_too")


def logger(**arguments: object) -> Namespace:
    return Namespace(trainer={"logger": {"class_path": "a.Logger", "init_args": arguments}})


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--trainer.logger.name=/"],  # the same value, of another key
        ["--trainer.logger.save_dir=/tmp"],  # that holds it
        ["--trainer.logger.save_dir", "/x", "--trainer.logger.name", "/"],
        ["--trainer.logger.save_dir.x=/"],
        ["--config", "{trainer: {logger: {init_args: {save_dir: /}}}}"],
    ],
)
def test_nothing_but_a_flag_of_that_key_and_value_lets_a_path_out(args: list[str]) -> None:
    with pytest.raises(UserError, match=r"^trainer\.logger\.init_args\.save_dir: /; allowed: "):
        check_paths(logger(save_dir="/"), args)
    check_paths(logger(save_dir="/"), [*args, "--trainer.logger.save_dir", "/"])
    check_paths(logger(save_dir="/"), [*args, "--trainer.logger.init_args.save_dir=/"])


def test_a_flag_names_no_place_in_a_list() -> None:
    config = Namespace(trainer={"callbacks": [{"class_path": "x.Y", "init_args": {"dirpath": "/elsewhere"}}]})
    check_paths(config, ["--trainer.callbacks=Y", "--trainer.callbacks.dirpath=/elsewhere"])
    for args in ([], ["--data.root=/elsewhere"], ["--config", "{trainer: {callbacks: [{dirpath: /elsewhere}]}}"]):
        with pytest.raises(UserError, match=r"^trainer\.callbacks\[0\]\.init_args\.dirpath: /elsewhere; allowed: "):
            check_paths(config, args)


@pytest.mark.parametrize("name", ["my_class_path", "init_args_path", "dirpath"])
def test_no_name_of_an_argument_hides_a_path(name: str) -> None:
    with pytest.raises(UserError, match=rf"{name}: /elsewhere; allowed: "):
        check_paths(logger(**{name: "/elsewhere"}), ["--trainer.logger_path=/elsewhere"])
    check_paths(logger(**{name: "/elsewhere"}), [f"--trainer.logger.{name}=/elsewhere"])


def test_a_path_is_one_however_it_is_typed() -> None:
    with pytest.raises(UserError, match=r"dirpath: /elsewhere; allowed: "):
        check_paths(logger(dirpath=Path("/elsewhere")), [])
    check_paths(logger(dirpath=Path("/elsewhere")), ["--trainer.logger.dirpath=/elsewhere"])


def test_downloads_go_where_the_user_says() -> None:
    def data(root: str | None) -> Namespace:
        return Namespace(data=Namespace(root=root))

    assert may_download(data(None), [])
    assert may_download(data("data"), [])
    assert not may_download(data("/elsewhere"), [])
    assert not may_download(data("../elsewhere"), ["--data.root=/elsewhere"])
    assert may_download(data("/elsewhere"), ["--data.root=/elsewhere"])


def test_where_downloads_are_closed_data_are_read_and_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"content")
    mirrors = ("http://127.0.0.1:9/",)
    with closed_to_downloads(True):
        assert obtain("there", tmp_path, ("",), mirrors, bytes) == b"content"
        with pytest.raises(BadArgument, match=rf"^data\.root: {tmp_path}, where missing\.gz is missing; allowed: "):
            obtain("missing", tmp_path, ("",), mirrors, bytes)
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9"):
        obtain("missing", tmp_path, ("",), mirrors, bytes)


@pytest.mark.parametrize("by_flag", [False, True])
def test_a_configuration_downloads_nothing_to_elsewhere(
    by_flag: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lecun_repro.data.sources.mnist.MIRRORS", ("http://127.0.0.1:9/",))
    root = tmp_path.parent / "not here"
    Path("root.yaml").write_text(f"data: {{root: {root}}}")
    flags = ["--config", "root.yaml", "--data.source=mnist", *([f"--data.root={root}"] if by_flag else [])]
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", "quickstart", *flags])
    assert end.value.code == 2
    error = capfd.readouterr().err
    assert ("127.0.0.1:9" in error) == by_flag
    assert by_flag or error.startswith(f"lecun-repro: error: data.root: {root}, where train-labels-idx1-ubyte.gz is mi")
    assert not root.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["root.yaml"]


@pytest.mark.slow
def test_configurations_are_utf_8_whatever_the_locale() -> None:
    Path("row.yaml").write_text("seed_everything: 7  # é\n", encoding="utf-8")
    command = "from pathlib import Path; from lecun_repro.cli.overlays import text_in_full as text; "
    command += "print(ascii(text(Path('row.yaml'))))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    shown = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == r"'seed_everything: 7  # \xe9\n'" + "\n"


@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_a_configuration_is_a_file(name: str, refused) -> None:
    os.mkfifo("pipe")
    assert refused("fit", "--config", name).startswith(f"config: {name}: a pipe or a device; allowed: a YAML")
