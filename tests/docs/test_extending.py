"""Every swap of docs/EXTENDING.md, made in a copy of the package and used by the command beside it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
_, *SECTIONS = (ROOT / "docs/EXTENDING.md").read_text().split("\n## ")
SWAPS = {section.splitlines()[0]: section for section in SECTIONS}
BLOCK = re.compile(r"^```(python|diff|toml)\n# (\S+)\n(.*?\n)```$", re.M | re.S)

# A file that the command of a swap leaves, and what it says if the swap was made.
EVIDENCE = {
    "A network": ("lightning_logs/**/config.yaml", "class_path: my_network.Perceptron"),
    "An activation": ("lightning_logs/**/config.yaml", "activation: mish"),
    "A loss, or its targets": ("lightning_logs/**/config.yaml", "class_path: my_head.Focal"),
    "A source of digits": ("lightning_logs/**/results.json", '"source": "my_source.Letters"'),
    "A folder of labelled images": ("lightning_logs/**/results.json", '"source": "my_folder.Folder"'),
    "Fashion-MNIST, EMNIST": ("lightning_logs/**/results.json", '"source": "my_fashion.Fashion"'),
    "A split": ("lightning_logs/**/results.json", '"first": {"n": 60'),
    "An augmentation": ("lightning_logs/**/config.yaml", "class_path: my_augmentation.Fade"),
    "An optimizer": ("lightning_logs/**/config.yaml", "class_path: my_optimizer.SignSGD"),
    "A schedule": ("lightning_logs/**/config.yaml", "class_path: my_schedule.WarmUpCosine"),
    "Averaged weights": ("lightning_logs/**/config.yaml", "average: polynomial"),
    "An export format": ("digits.npz", "H1w.npy"),
    "A kind of claim": ("results/claims.md", "*holds* | 95 % of the mean 1.22 to 1.44 % (n = 10)"),
}

# One process for all commands, as importing torch takes longer than any of them.
ALL_COMMANDS = """
import json, sys, traceback
from lecun_repro.__main__ import main
outcomes = {}
for swap, command in json.loads(sys.argv[1]).items():
    try:
        main(command)
        outcomes[swap] = None
    except BaseException:
        outcomes[swap] = traceback.format_exc()
open("outcomes.json", "w").write(json.dumps(outcomes))
"""


def apply(language: str, file: Path, code: str) -> None:
    """Writes a new file, appends to one of claims, or changes lines that a diff quotes."""
    if language == "python":
        assert not file.exists()
        file.write_text(code)
    elif language == "toml":
        file.write_text(f"{file.read_text()}\n{code}")
    else:
        for hunk in code.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            before, after = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
            assert file.read_text().count(f"\n{before}") == 1, f"{file.name} has these lines once: {before}"
            file.write_text(file.read_text().replace(before, after))


@pytest.fixture(scope="module")
def outcomes(clone: Path, shortened: Callable[[list[str]], list[str]]) -> dict[str, str | None]:
    """What each swap's command raised, if anything, with all the swaps made."""
    shutil.copytree(ROOT / "src", clone / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "letters").mkdir()
    for part, n in (("train", 6000), ("test", 1000)):
        images, labels = np.zeros((n, 16, 16), np.uint8), np.arange(n, dtype=np.uint8) % 10
        np.savez(clone / "letters" / part, images=images, labels=labels)
    for part, n in (("train", 6), ("test", 4)):
        for digit in range(10):
            (clone / f"numbered/{part}/{digit}").mkdir(parents=True)
            for number in range(n):
                shutil.copy(clone / "photos/one.png", clone / f"numbered/{part}/{digit}/{number}.png")
    (clone / "fashion").mkdir()
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        for kind, shape in (("images-idx3", (n, 28, 28)), ("labels-idx1", (n,))):
            header = bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()
            (clone / f"fashion/{part}-{kind}-ubyte").write_bytes(header + bytes(int(np.prod(shape))))
    commands = {}
    for swap, section in SWAPS.items():
        for language, name, code in BLOCK.findall(section):
            apply(language, clone / name, code)
        (command,) = re.findall(r"^```bash\npython cli\.py (.*?)\n```$", section, re.M)
        commands[swap] = shortened(shlex.split(command))
    environment = os.environ | {"PYTHONPATH": str(clone / "src")}
    subprocess.run([sys.executable, "-c", ALL_COMMANDS, json.dumps(commands)], cwd=clone, env=environment, check=True)
    return json.loads((clone / "outcomes.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("swap", SWAPS)
def test_swap(swap: str, outcomes: dict[str, str | None], clone: Path) -> None:
    assert outcomes[swap] is None, outcomes[swap]
    pattern, text = EVIDENCE[swap]
    assert any(text.encode() in file.read_bytes() for file in clone.glob(pattern))


@pytest.mark.parametrize("section", SWAPS.values(), ids=SWAPS)
def test_an_example_is_short_and_its_file_is_named(section: str) -> None:
    for language, _, code in BLOCK.findall(section):
        assert len([line for line in code.splitlines() if line.strip()]) <= (10 if language == "python" else 6)
    assert "](../src/lecun_repro/" in section
