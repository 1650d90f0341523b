"""What other commands need of the trainer's command line: a resolved configuration, a built or trained model."""

import time
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer

from lecun_repro.cli.main import DigitsCLI, ParsedOnly, resolve, run, shipped_weights, with_checkpoint_config
from lecun_repro.runs.checkpoints import load_checkpoint
from lecun_repro.training.module import DigitClassifier

__all__ = ["build_model", "resolve", "trained"]


class _BuiltOnly(ParsedOnly):
    """Builds data module and model as the subcommand would, loads no digits, and stops there."""

    instantiate_classes = DigitsCLI.instantiate_classes

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        return None  # type: ignore[return-value]

    def after_instantiate_classes(self) -> None:
        self.check_checkpoint()


def build_model(args: list[str]) -> DigitClassifier:
    """The model that a command line of the trainer would train or evaluate, with the weights it would start with.

    Raises:
        UserError: a bad key or value.
    """
    return run(args, time.perf_counter(), _BuiltOnly).model  # type: ignore[return-value]


def trained(ckpt_path: str | None, trust: Sequence[str] = ()) -> tuple[DigitClassifier, dict[str, Any]]:
    """The model that `test --ckpt_path` would evaluate, with its weights, and what the checkpoint says of itself.

    Args:
        ckpt_path: The checkpoint, or exported weights; None for those that ship with the package, which a line says.
        trust: Import paths of classes that it may name, beside ours and torch's.

    Raises:
        UserError: not a checkpoint, or one whose configuration or weights are not those of a network and a head.
    """
    ckpt_path = ckpt_path or shipped_weights()
    model = build_model(with_checkpoint_config(["test", f"--ckpt_path={ckpt_path}"], trust))
    return model.eval(), load_checkpoint(ckpt_path)["lecun_repro"]
