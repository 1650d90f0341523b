"""What other commands need of the trainer's command line: a resolved configuration, a built or trained model."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from lecun_repro.cli.main import DigitsCLI, ParsedOnly, resolve, run, shipped_weights, with_checkpoint_config
from lecun_repro.runs.checkpoints import load_checkpoint
from lecun_repro.runs.weights import SHIPPED
from lecun_repro.training.module import DigitClassifier

__all__ = ["build_model", "resolve", "trained"]


class _BuiltOnly(ParsedOnly):
    """Builds data module and model as the subcommand would, loads no digits, and stops there."""

    instantiate_classes = DigitsCLI.instantiate_classes

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        return None  # type: ignore[return-value]

    def after_instantiate_classes(self) -> None:
        self.check_checkpoint()


class _LoadedOnly(_BuiltOnly):
    """The same, and leaves seeds and threads of the process as they are."""

    def _set_seed(self) -> None:
        pass

    def before_instantiate_classes(self) -> None:
        pass


def build_model(args: list[str]) -> DigitClassifier:
    """The model that a command line of the trainer would train or evaluate, with the weights it would start with.

    Raises:
        UserError: a bad key or value.
    """
    return run(args, time.perf_counter(), _BuiltOnly).model  # type: ignore[return-value]


def trained(ckpt_path: str | Path | None, trust: Sequence[str] = ()) -> tuple[DigitClassifier, dict[str, Any]]:
    """The model that `test --ckpt_path` would evaluate, with its weights, and what the checkpoint says of itself.

    Args:
        ckpt_path: The checkpoint, or exported weights; None for those that ship with the package, which a line says.
        trust: Import paths of classes that it may name, beside ours and torch's.

    Raises:
        UserError: not a checkpoint, or one whose configuration or weights are not those of a network and a head.
    """
    ckpt_path = ckpt_path or shipped_weights()
    args = with_checkpoint_config(["test", f"--ckpt_path={ckpt_path}"], trust)
    with torch.random.fork_rng(devices=[]):
        model: DigitClassifier = run(args, time.perf_counter(), _LoadedOnly).model  # type: ignore[assignment]
    return model.eval(), load_checkpoint(ckpt_path)["lecun_repro"]


def load(path: str | Path | None = None, trust: str | Sequence[str] = ()) -> DigitClassifier:
    """A trained model from a checkpoint that `fit` wrote, or from weights that `export` wrote, in evaluation mode.

    Called with digits (n, 1, 16, 16) in [-1, 1] it gives the head's ten outputs, (n, 10), by the averaged weights where
    the run averaged them. `network` and `head` are its parts.

    Args:
        path: The file; None for the network that ships with the package.
        trust: Import path of a network or head of your own that the file may name, or several; they are then imported.

    Raises:
        BadArgument: No such file, or one whose contents are not those of a network and a head.
    """
    return trained(SHIPPED if path is None else path, [trust] if isinstance(trust, str) else trust)[0]
