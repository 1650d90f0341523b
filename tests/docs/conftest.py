"""A clone of the repository, as far as the documents' examples can tell, and those examples shortened."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from lecun_repro.__main__ import main

ROOT = Path(__file__).parents[2]
SHORT = ["--data.draw", "article", "--data.train_size", "60", "--data.test_size", "40", "--model.compile", "false"]
# Of each folder one or two, as the others are tested with the configurations.
CONFIGS = ["quickstart.yaml", "article/1_baseline.yaml", "article/5_dropout_relu.yaml", "1989/3_paper.yaml"]
CONFIGS += ["1989/5_modern.yaml", "claims/1_60_passes.yaml", "claims/5_batch_64.yaml"]
CONFIGS += ["claims_later/5_batch_64_batch_norm.yaml"]
CONFIGS += ["search/adamw.yaml", "search/rmsprop.yaml", "optimizers/0_untuned.yaml", "optimizers/adamw.yaml"]


def shorten(arguments: list[str]) -> list[str]:
    """A command on a few digits that need no file, unless it names a source, and for one pass."""
    match arguments[0]:
        case "fit":
            holdout = ["--data.holdout", "20"] if "--data.holdout" in arguments else []
            passes = "2" if "--ckpt_path" in arguments else "1"
            source = [] if "--data.source" in arguments else ["--data.source", "digits"]
            return [*arguments, *source, *SHORT, *holdout, "--trainer.max_epochs", passes]
        case "reproduce":
            short = SHORT[2:] if "--vary_draw" in arguments else SHORT
            short = ["--source", "digits", *short, "--trainer.max_epochs", "1"]
            short += ["--data.batch_size", "30"] if "configs/claims" in " ".join(arguments) else []  # some have 64
            return [*arguments, *short, "--seeds", "1", "--out", "results", "--replace", "true"]
        case "search":
            short = [*SHORT, "--data.source", "digits", "--trainer.max_epochs", "1"]
            files = [Path(arguments[arguments.index(flag) + 1]).stem for flag in ("--config", "--space")]
            short += [] if "--name" in arguments else ["--name", "_".join(files)]  # without these flags' own
            return [*arguments, *short, "--trials", "1", "--seeds", "1", "--folds", "2"]
    return arguments


@pytest.fixture(scope="session")
def shortened() -> Callable[[list[str]], list[str]]:
    return shorten


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that examples name, a row and a photo of one's own, and the checkpoint of the quickstart."""
    clone = tmp_path_factory.mktemp("clone")
    results = ["article.json", "claims.json", "claims.toml", "claims_later.toml", "claims_search.json"]
    for name in [*(f"configs/{name}" for name in CONFIGS), *(f"results/{name}" for name in results), "docs/digit.png"]:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    shutil.copy(ROOT / "configs/article/5_dropout_relu.yaml", clone / "my_row.yaml")
    (clone / "photos").mkdir()
    drawn = Image.new("L", (40, 60), "white")
    ImageDraw.Draw(drawn).line([(20, 8), (20, 52)], width=5)
    drawn.save(clone / "photos/one.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clone)
        main(shorten(["fit", "--config", "configs/quickstart.yaml"]))
    return clone
