"""`python -m lecun_repro`, `python cli.py` and `lecun-repro`: one table of commands, and errors of one line."""

# ruff: noqa: E402
import gc

# The imports make a million objects that stay to the end. Not looking for garbage among them, then and ever after,
# saves a command a second and a half.
gc.disable()

from lecun_repro.cli.imports import import_torchmetrics

import_torchmetrics()

import errno
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

from jsonargparse import set_parsing_settings
from jsonargparse._typehints import get_all_subclass_paths
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lecun_repro.cli.help import set_subcommand_help
from lecun_repro.cli.main import DISK, PROGRAM, DigitsCLI, disk_fault, run, with_checkpoint_config
from lecun_repro.cli.output import lasting_output
from lecun_repro.cli.parser import DigitsParser, flags
from lecun_repro.cli.predictions import with_images
from lecun_repro.errors import BadArgument, DataError, UserError, one_line, printable
from lecun_repro.runs.signals import Interrupted, StopSignals
from lecun_repro.training.compile_cache import CompileError
from lecun_repro.training.divergence import Diverged

gc.freeze()
gc.enable()

# Commands that are no methods of the trainer: each the function of its name in `commands`, with its line in the help.
COMMANDS = {
    "reproduce": "Trains configurations over several seeds, and writes the results with their report.",
    "search": "Chooses hyperparameters on digits held out of training, and writes what was tried and what was best.",
    "export": "Writes a checkpoint's network for use elsewhere: ONNX, safetensors, or a page to draw digits on.",
    "configs": "Lists the configurations that ship with the package.",
    "report": "Writes the tables and figures of raw results, beside them. Trains nothing.",
}

COMPLETION = "--print_completion"
OFFERED = (Optimizer, LRScheduler)

# A pipe's other end, or closed from the start; the last on Windows.
READER_LEFT = (errno.EPIPE, errno.EBADF, errno.EINVAL)
OF_FIT = ("--optimizer", "--lr_scheduler", "--threads", "--from_weights")  # beside its flags with a dot


class Program(DigitsCLI):
    """The trainer's subcommands, with the others in the list of the help; `main` takes those first.

    For a shell that completes flags, the others have theirs.
    """

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        completes = self.asked.startswith(COMPLETION)
        for name, line in COMMANDS.items():
            other = command(name)[1] if completes else DigitsParser(description=line)
            parser._subcommands_action.add_subcommand(name, other, help=line)  # type: ignore[union-attr]
        set_subcommand_help(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        with mock.patch("jsonargparse._completions.get_all_subclass_paths", offered):
            super().parse_arguments(parser, args)


def offered(base: Any) -> list[str]:
    """The subclasses that a shell offers for a type: those of some packages, as all of numpy's, say, are thousands."""
    package = getattr(base, "__module__", "").split(".")[0]
    return get_all_subclass_paths(base) if package in ("lecun_repro", "lightning") or base in OFFERED else []


def known_subcommand(args: list[str]) -> None:
    """Raises UserError unless the first argument is a subcommand, or one that shows something and ends."""
    names = [*DigitsCLI.subcommands(), *COMMANDS]
    if args and args[0].startswith(COMPLETION):
        if find_spec("shtab") is None:
            raise UserError(f"{COMPLETION} needs shtab, which is not installed: pip install shtab")
        set_parsing_settings(add_print_completion_argument=True)
    elif not args or args[0] not in (*names, "-h", "--help", "--version"):
        raise BadArgument("subcommand", args[0] if args else "missing", f"one of {', '.join(names)}, before any flag")


def asked_for(record: logging.LogRecord) -> bool:
    """Whether a message is a warning, or what a callback was told to say."""
    return record.levelno >= logging.WARNING or "callbacks" in Path(record.pathname).parts


def quiet() -> None:
    """No tips, advertisements, seeds or devices that are not used."""
    for name in ("lightning.fabric.utilities.seed", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.callbacks").setLevel(logging.INFO)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.INFO)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(asked_for)
    warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)  # Lightning 2.6 on torch 2.13
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of Lightning's calls, which are not ours
    # The module names one because a schedule on a plateau needs it, and steps every schedule itself.
    warnings.filterwarnings("ignore", ".*lr scheduler dict contains the key")


def main(args: list[str] | None = None) -> None:
    """Runs a command line, by default this process's own.

    Raises:
        SystemExit: with 2 for what a user can put right, after one line on standard error; with 130 for Ctrl-C and
            143 for SIGTERM.
    """
    started = time.perf_counter()
    quiet()
    if args is None:
        # Modules of one's own in the working directory are found, but none in place of an installed one: it comes last.
        with suppress(OSError):
            sys.path += {os.getcwd()} - {*sys.path}
    arguments = list(sys.argv[1:] if args is None else args)
    with StopSignals() as signals, lasting_output() as fault:
        _main(arguments, started, signals)
        # What these two make are files, and what they print is said beside.
        if arguments[0] not in ("fit", "reproduce", "search") and (error := fault()) is not None:
            if error.errno in READER_LEFT:
                raise SystemExit(1)
            fail(f"standard output: {error.strerror}", 2)


def _main(arguments: list[str], started: float, signals: StopSignals) -> None:
    try:
        known_subcommand(arguments)
        if arguments[0] in COMMANDS:
            run_command(arguments[0], arguments[1:])
        else:
            run(with_checkpoint_config(with_images(arguments)), started, Program)
    except (UserError, DataError, Diverged) as error:
        fail(str(error), 2)
    except MisconfigurationException as error:
        fail(f"trainer: {one_line(str(error))}", 2)
    except CompileError as error:
        fail(f"model.compile: true; allowed: auto or false, as {one_line(str(error))}", 2)
    except Interrupted as error:
        fail(str(error), error.exit_code, kind="")
    except KeyboardInterrupt:
        fail("interrupted", signals.exit_code, kind="")
    except OSError as error:
        if error.errno not in DISK:
            raise
        fail(disk_fault(error), 2)


def fail(message: str, code: int, kind: str = "error: ") -> None:
    """One line on standard error, and the end. What a terminal would obey is escaped."""
    shown = "\n".join(map(printable, message.split("\n")))
    print(f"{PROGRAM}: {kind}{shown}", file=sys.stderr)
    raise SystemExit(code) from None


def command(name: str) -> tuple[Callable[..., None], DigitsParser]:
    """`lecun_repro.<name>.<name>`, and the parser of its arguments as flags."""
    function = getattr(import_module(f"lecun_repro.commands.{name}"), name)  # some take long to import
    parser = DigitsParser(prog=f"{PROGRAM} {name}", description=COMMANDS[name])
    parser.add_function_arguments(function, skip={"overrides"})
    return function, parser


def run_command(name: str, args: list[str]) -> None:
    """Runs a command whose arguments are the flags. Flags of `fit` become its `overrides`.

    Raises:
        UserError: a bad flag or value.
    """
    function, parser = command(name)
    own, overrides = split_flags(args) if name in ("reproduce", "search") else (args, [])
    function(**parser.parse_args(own).as_dict(), **({"overrides": overrides} if overrides else {}))


def split_flags(args: list[str]) -> tuple[list[str], list[str]]:
    """A command line as its own flags and those of `fit`, which are a few by name and whatever has a dot."""
    own: list[str] = []
    overrides: list[str] = []
    for name, value in flags(args, lambda name: name not in ("--help", "-h")):
        of_fit = name in OF_FIT or ("." in name and not name.startswith(("--sampler.", "--pruner.")))
        (overrides if of_fit else own).extend([name] if value is None else [f"{name}={value}"] if name else [value])
    return own, overrides


if __name__ == "__main__":
    main()
