"""What teachers say of the digits: computed once for all runs that ask the same about the same copies, and kept."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from tqdm import tqdm

from lecun_repro.data.blocks import EVAL_CHUNK
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.errors import BadArgument
from lecun_repro.files import write_atomically
from lecun_repro.models.base import Network
from lecun_repro.models.heads import Taught
from lecun_repro.runs.folders import alone
from lecun_repro.runs.loading import network_of
from lecun_repro.runs.signals import StopAfterBlock
from lecun_repro.runs.weights import digest
from lecun_repro.tensorboard.writer import log_dir

FOLDER = "taught"  # among the logs, beside the rows
TEACHERS = "model.head.init_args.teachers"


class Teach(Callback):
    """Has the teachers of a head `Taught` label the copies of the digits before the first update."""

    def __init__(self) -> None:
        self.teachers: list[Network] = []

    def prepare(self, head: Any, data: DigitsDataModule) -> None:
        """Loads the teachers. Raises BadArgument for checkpoints that are none, or without copies to ask about."""
        if not isinstance(head, Taught) or self.teachers:
            return
        if data.copies is None:
            raise BadArgument("data.copies", None, "an integer from 1, the copies of the digits that teachers label")
        self.teachers = [network_of(path, TEACHERS) for path in head.checkpoints]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data, directory = trainer.datamodule, log_dir(trainer)  # type: ignore[attr-defined]
        self.prepare(pl_module.head, data)
        if self.teachers:
            stops = [callback.signals for callback in trainer.callbacks if isinstance(callback, StopAfterBlock)]  # type: ignore[attr-defined]

            def check() -> None:
                if any(signals.received is not None for signals in stops):
                    raise KeyboardInterrupt

            folder = None if directory is None else directory.parents[1] / FOLDER
            pl_module.lessons = lessons(self.teachers, data, folder, check).to(pl_module.device)


def lessons(
    teachers: Sequence[Network], data: DigitsDataModule, folder: Path | None = None, check: Any = lambda: None
) -> Tensor:
    """The teachers' mean log-probability of each digit for all copies of the training digits, (copies, n, 10) float16.

    Args:
        teachers: Networks whose outputs are logits.
        data: The digits, set up, with `copies`.
        folder: Where that is kept, in a file named after all that it depends on; None keeps nothing.
        check: Called between copies; what it raises ends the work.
    """
    copies, n = data.copies or 1, data.n_train
    if folder is None:
        return said(teachers, data, check)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key(teachers, data)}.npy"
    with alone(folder, 0.5, check):  # another run may be at it
        if (kept := read(path, (copies, n, 10))) is None:
            kept = said(teachers, data, check)
            np.save(buffer := io.BytesIO(), kept.numpy(), allow_pickle=False)
            write_atomically(path, buffer.getbuffer())
        return kept


def key(teachers: Sequence[Network], data: DigitsDataModule) -> str:
    """A digest of the teachers' weights and of the first and last copy, in which all that makes copies has a part."""
    sha = hashlib.sha256(f"{data.copies} copies, {torch.__version__}".encode())
    for network in teachers:
        sha.update(digest(dict(network.state_dict())).encode())
    for number in {0, (data.copies or 1) - 1}:
        sha.update(data.copy(number).numpy().tobytes())
    return sha.hexdigest()[:16]


def read(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """What is kept; None where that is nothing, or not whole."""
    try:
        kept = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = kept.shape == shape and kept.dtype == np.float16 and np.isfinite(kept).all()
    return torch.from_numpy(kept) if whole else None


@torch.no_grad()
def said(teachers: Sequence[Network], data: DigitsDataModule, check: Any) -> Tensor:
    """As `lessons`, computed, with a bar on a terminal."""
    result = torch.empty(data.copies or 1, data.n_train, 10, dtype=torch.float16)
    for number in tqdm(range(len(result)), desc="teachers label", unit=" copies", leave=False, disable=None):
        for digits, place in zip(data.copy(number).split(EVAL_CHUNK), result[number].split(EVAL_CHUNK), strict=True):
            check()
            logs = torch.stack([network(digits).float().log_softmax(1) for network in teachers])
            place.copy_(logs.mean(0))
    return result
