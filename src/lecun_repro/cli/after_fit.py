"""What a fit says last: where its results lie, and commands that go on from them, to be copied as they are."""

import shlex
import sys
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

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
    elif type(model.network) is ConvNet1989 and type(model.head) in (CrossEntropy, Taught, TanhMSE):
        commands.append([*program(), "export", *from_checkpoint, "--to", str(folder / "draw.html")])
    elif all(type(part).__module__.startswith("lecun_repro.") for part in (model.network, model.head)):
        commands.append([*program(), "test", *from_checkpoint])  # which needs more words for classes of one's own
    return [f"results: {folder / RESULTS}", *(f"next:    {shlex.join(command)}" for command in commands)]
