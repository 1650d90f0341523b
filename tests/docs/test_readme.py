"""Every example in the README does what it says, long ones shortened by appended flags."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from lecun_repro.__main__ import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^```bash\n(.*?)\n```$", README, re.M | re.S)
SHORT = ["--data.source", "digits", "--data.draw", "article", "--data.train_size", "60", "--data.test_size", "40"]
SHORT += ["--model.compile", "false"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone, as far as the examples can tell; they follow one another in it."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "configs/claims").mkdir(parents=True)
    for name in ("article", "1989", "quickstart.yaml"):
        (folder / "configs" / name).symlink_to(ROOT / "configs" / name)
    for name in ("1_60_passes.yaml", "5_6_maps.yaml"):  # two of sixty
        (folder / "configs/claims" / name).symlink_to(ROOT / "configs/claims" / name)
    (folder / "results").mkdir()
    shutil.copy(ROOT / "results/claims.toml", folder / "results")
    shutil.copy(ROOT / "configs/article/5_dropout_relu.yaml", folder / "my_row.yaml")
    (folder / "photos").mkdir()
    drawn = Image.new("L", (40, 60), "white")
    ImageDraw.Draw(drawn).line([(20, 8), (20, 52)], width=5)
    drawn.save(folder / "photos/one.png")
    return folder


def test_there_are_the_two_commands() -> None:
    install = [c for c in COMMANDS if "pip install" in c]
    assert len(install) == 2
    assert install[0].endswith(".venv/bin/python cli.py fit --config configs/quickstart.yaml")
    assert install[1].endswith(".venv/bin/python -m pytest")


def python_commands() -> list[list[str]]:
    lines = [c.split("&& ")[-1].removeprefix(".venv/bin/") for c in COMMANDS]
    return [shlex.split(line)[2:] for line in lines if line.startswith("python cli.py")]


@pytest.mark.parametrize("arguments", python_commands(), ids=" ".join)
def test_command(arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    match arguments[0]:
        case "fit":
            passes = "1" if "--ckpt_path" not in arguments else "2"
            holdout = ["--data.holdout", "20"] if "--data.holdout" in arguments else []
            arguments = [*arguments, *SHORT, *holdout, "--trainer.max_epochs", passes]
        case "reproduce":
            arguments = [*arguments, "--source", "digits", *SHORT[2:], "--trainer.max_epochs", "1"]
            arguments += ["--seeds", "1"]
            arguments += ["--out", "results"]
            if "--vary_draw" in arguments:
                arguments = [a for a in arguments if a not in ("--data.draw", "article")]
        case "report":
            Path("results/article.json").write_bytes((ROOT / "results" / "article.json").read_bytes())
    main(arguments)
    if "configs/claims" in arguments:
        assert "## More passes alone" in Path("results/claims.md").read_text()
    if "my_row.yaml" in arguments:
        assert Path("results/my_row.md").is_file()


def test_python_example(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"^```python\n(.*?)\n```$", README, re.M | re.S)
    monkeypatch.chdir(folder)
    short = example.replace('draw="article"', 'source="digits", train_size=60').replace("max_epochs=3", "max_epochs=1")
    assert short != example
    exec(compile(short, "README.md", "exec"), {})


def test_tensorboard_command_names_the_folder_of_the_logs() -> None:
    assert "tensorboard --logdir lightning_logs" in COMMANDS
    assert (Path(sys.executable).parent / "tensorboard").exists()
