"""What a fit says last: where its results lie, and commands that go on from them, to be copied as they are."""

import shlex
import sys
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from lecun_repro.models.base import scaled_tanh_skip
from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.models.heads import CrossEntropy, TanhMSE, Taught
from lecun_repro.runs.record import RESULTS
from lecun_repro.tensorboard.writer import log_dir
from lecun_repro.training.module import DigitClassifier


def program() -> list[str]:
    """How this process was started, as a command line begins."""
    started = Path(sys.argv[0])
    ways = {"cli.py": ["python", str(started)], "__main__.py": ["python", "-m", "lecun_repro"]}
    return ways.get(started.name, ["lecun-repro"])


def of_ones_own(trainer: Trainer, model: DigitClassifier) -> list[str]:
    """The flags that name classes of one's own, without which a checkpoint's are not imported."""
    parts = {"--model.network": type(model.network.own), "--model.head": type(model.head)}
    named = {flag: f"{kind.__module__}.{kind.__qualname__}" for flag, kind in parts.items()}
    named["--data.source"] = trainer.datamodule.source  # type: ignore[attr-defined]
    own = {flag: name for flag, name in named.items() if "." in name and not name.startswith("lecun_repro.")}
    return [word for flag_and_name in own.items() for word in flag_and_name]


def drawable(model: DigitClassifier) -> bool:
    """Whether `export` makes a page of it; of an activation of one's own it says itself if it does not."""
    if type(model.network) is not ConvNet1989 or type(model.head) not in (CrossEntropy, Taught, TanhMSE):
        return False
    return model.network.activation is not scaled_tanh_skip


def said_last(trainer: Trainer, model: DigitClassifier) -> list[str]:
    """The lines; none of a run that keeps no log, or was cut short."""
    folder = log_dir(trainer)
    if folder is None or not (folder / RESULTS).is_file():
        return []
    logs = [logger.save_dir for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    commands = [["tensorboard", "--logdir", logs[0]]] if logs else []
    from_checkpoint = ["--ckpt_path", str(folder / "checkpoints" / "last.ckpt")]
    if not Path(from_checkpoint[1]).is_file():
        pass
    elif drawable(model):
        commands.append([*program(), "export", *from_checkpoint, "--to", str(folder / "draw.html")])
    else:
        commands.append([*program(), "test", *from_checkpoint, *of_ones_own(trainer, model)])
    return [f"results: {folder / RESULTS}", *(f"next:    {shlex.join(command)}" for command in commands)]
