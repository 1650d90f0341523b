"""The checkpoint of the last whole pass."""

import io

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from lecun_repro.files import write_atomically
from lecun_repro.tensorboard.writer import log_dir
from lecun_repro.training.module import DigitClassifier


class LastPass(Checkpoint):
    """Keeps `checkpoints/last.ckpt`, always of a whole pass: written beside its place, then moved there."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: DigitClassifier) -> None:  # type: ignore[override]
        directory = log_dir(trainer)
        cut_short = pl_module.updates_this_pass < trainer.datamodule.updates_per_pass  # type: ignore[attr-defined]  # by max_steps
        if directory is None or trainer.fast_dev_run or cut_short:  # type: ignore[attr-defined]
            return
        folder = directory / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        # Not through trainer.save_checkpoint, which stages the file elsewhere and may end in a plain copy.
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        torch.save(checkpoint, buffer := io.BytesIO())  # torch's own writing to a file hides why it failed
        write_atomically(folder / "last.ckpt", buffer.getbuffer())


def place_checkpoints(trainer: Trainer) -> None:
    """Has the user's own ModelCheckpoints save into the run's folder, and leave `last.ckpt` to `LastPass`."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.CHECKPOINT_NAME_LAST = f"model_checkpoint_{ModelCheckpoint.CHECKPOINT_NAME_LAST}"
            if callback.dirpath is None and (folder := log_dir(trainer)) is not None:
                callback.dirpath = str(folder / "checkpoints")
