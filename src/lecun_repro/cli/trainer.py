"""The trainer: what `predict` writes, and the folder of a run."""

import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lecun_repro.cli.predictions import accuracy, prediction_table, readable_table
from lecun_repro.files import write_atomically


class DigitsTrainer(Trainer):
    """A trainer whose `predict` writes what it predicts, and whose runs have a folder whatever loggers they have.

    Attributes:
        names_folder: The logger after which the run's folder is named, one of its own or one in their place.
    """

    names_folder: TensorBoardLogger | CSVLogger | None = None

    @property
    def log_dir(self) -> str | None:
        """The run's folder."""
        return super().log_dir if self.names_folder is None else self.names_folder.log_dir

    def predict(  # type: ignore[override]
        self,
        model: Any = None,
        dataloaders: Any = None,
        datamodule: Any = None,
        return_predictions: bool | None = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
        output: str | None = None,
    ) -> Any:
        """Predict the digits of the evaluation split, as lines of CSV, or those of image files, as a table.

        Lightning's `return_predictions` and `weights_only` are ignored: what is predicted is always returned, and
        checkpoints hold nothing else.

        Args:
            output: File for the lines, as CSV, which are otherwise printed.
        """
        image_digits = getattr(datamodule, "image_digits", None)
        files = None if image_digits is None else image_digits.files
        predictions: list[Any] = []
        if files != []:  # of no digits at all Lightning warns
            predictions = super().predict(model, dataloaders, datamodule, True, ckpt_path, True)  # type: ignore[assignment]
        probabilities = torch.cat([torch.empty(0, 10), *predictions])
        if output is not None:
            write_atomically(Path(output), prediction_table(probabilities, files))
        else:
            table = prediction_table(probabilities) if files is None else readable_table(probabilities, files)
            sys.stdout.write(table)
        if image_digits is not None:
            sys.stdout.write(accuracy(probabilities, image_digits.digits.labels))
        sys.stdout.flush()
        return predictions
