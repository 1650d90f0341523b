"""Installed, and not cloned: the wheel has all that is needed, and the command works in any folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHORT = ["--data.source=digits", "--data.train_size=20", "--data.test_size=20", "--trainer.max_epochs=1"]
COMMAND = "from lecun_repro.__main__ import main; main()"  # what the script `lecun-repro` does


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_folder(tmp_path: Path) -> None:
    clone, here = tmp_path / "clone", tmp_path / "here"
    for name in ("src", "configs"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([sys.executable, *build, "-w", tmp_path, clone], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    shutil.rmtree(clone)
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.json"), *(ROOT / "src").rglob("*.safetensors")]
    assert {path.relative_to(ROOT / "src").as_posix() for path in sources} <= names
    assert {f"lecun_repro/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("configs/**/*.yaml")} <= names

    here.mkdir()
    (here / "tqdm.py").write_text("raise SystemExit('tqdm.py of the working directory')")
    (here / "own.py").write_text("from lecun_repro import ConvNet1989\nclass Own(ConvNet1989): pass\n")
    (here / "mine.yaml").write_text("base: article/1_baseline\nmodel: {network: {class_path: own.Own}}\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", COMMAND, *arguments]
        return subprocess.run(command, cwd=here, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    assert "article/1_baseline  " in run("configs")
    run("fit", "--config", "mine.yaml", *SHORT)
    assert "class_path: own.Own" in (here / "lightning_logs/mine/version_0/config.yaml").read_text()
