"""The command line: a LightningCLI whose errors are one line."""

import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, LRSchedulerTypeTuple
from torch.optim import Optimizer

from lecun_repro.callbacks import FitProgress, LastPass, RecordRun
from lecun_repro.data import DataError, DigitsDataModule
from lecun_repro.module import DigitClassifier

PROGRAM = "lecun-repro"


class UserError(Exception):
    """What a user can put right; shown as one line."""


class DigitsParser(LightningArgumentParser):
    """A parser whose errors are one line on standard error and exit code 2."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        raise UserError(one_line(message))


def one_line(message: str) -> str:
    return " ".join(message.split())


class DigitsCLI(LightningCLI):
    """`fit`, `validate`, `test` and `predict`, with the optimizer and its schedule at the top of the YAML."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--threads", type=PositiveInt, default=1, help="Threads that torch uses; one is fastest for a net this small."
        )
        # Typed by their base classes, so that nothing but an optimizer and a schedule gets through.
        parser.add_subclass_arguments(
            (Optimizer,), "optimizer", skip={"params"}, required=False, instantiate=False, fail_untyped=False,
            help="The optimizer, any of torch.optim: class_path and init_args.",
        )  # fmt: skip
        parser.add_subclass_arguments(
            LRSchedulerTypeTuple, "lr_scheduler", skip={"optimizer"}, required=False, instantiate=False, fail_untyped=False,
            help="The learning rate's schedule, stepped once per pass: class_path and init_args.",
        )  # fmt: skip
        parser.link_arguments("optimizer", "model.optimizer")
        parser.link_arguments("lr_scheduler", "model.lr_scheduler")
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Trainer methods and which of their arguments are no flags."""
        # weights_only: no flag may turn the safe loading of checkpoints off.
        skip = {"model", "datamodule", "weights_only"}
        return {
            "fit": skip | {"train_dataloaders", "val_dataloaders"},
            "validate": skip | {"dataloaders"},
            "test": skip | {"dataloaders"},
            "predict": skip | {"dataloaders", "return_predictions"},
        }

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)  # LightningCLI's own warns where both args and sys.argv are there

    def before_instantiate_classes(self) -> None:
        torch.set_num_threads(self.config[self.subcommand].threads)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        if self.subcommand != "fit":
            kwargs["logger"] = False  # such a call leaves no folder behind
        return super().instantiate_trainer(**kwargs)


def with_checkpoint_config(args: list[str]) -> list[str]:
    """Puts the configuration that a checkpoint carries before the flags of `test` and `predict`."""
    if not args or args[0] not in ("validate", "test", "predict"):
        return args
    paths = [b for a, b in zip(args, [*args[1:], ""], strict=True) if a == "--ckpt_path"]
    paths += [a.split("=", 1)[1] for a in args if a.startswith("--ckpt_path=")]
    if not paths:
        return args
    saved = load_checkpoint(Path(paths[-1])).get("lecun_repro", {})
    if "config" not in saved:
        raise UserError(f"--ckpt_path {paths[-1]}: the checkpoint names no configuration; give one with --config")
    return [args[0], "--config", json.dumps(saved["config"]), *args[1:]]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's contents, plain values and tensors only.

    Raises:
        UserError: no such local file, or one that holds anything else.
    """
    if not path.is_file():
        raise UserError(f"--ckpt_path {path}: no such file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"--ckpt_path {path}: not a checkpoint of plain values: {one_line(str(error))[:200]}") from error


def main(args: list[str] | None = None) -> None:
    """Runs a command line, by default this process's own.

    Raises:
        SystemExit: with 2 for what a user can put right, after one line on standard error.
    """
    started = time.perf_counter()
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)  # tips, advertisements, the devices not used
    warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)  # Lightning 2.6 on torch 2.13
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        DigitsCLI(
            DigitClassifier,
            DigitsDataModule,
            save_config_callback=RecordRun,
            save_config_kwargs={"started": started},
            trainer_defaults={
                "accelerator": "cpu",
                "devices": 1,
                "callbacks": [LastPass(), FitProgress()],
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
                "log_every_n_steps": 1,
            },
            seed_everything_default=1337,
            parser_kwargs={"prog": PROGRAM},
            parser_class=DigitsParser,
            auto_configure_optimizers=False,
            args=with_checkpoint_config(arguments),
        )
    except (UserError, DataError) as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
