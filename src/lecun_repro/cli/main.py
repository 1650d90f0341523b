"""The command line: a LightningCLI whose errors are one line."""

import errno
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, LRSchedulerTypeTuple
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

import lecun_repro
from lecun_repro.cli.after_fit import said_last
from lecun_repro.cli.checks import at_fault, check
from lecun_repro.cli.config_files import found, load_config
from lecun_repro.cli.help import HelpfulParser
from lecun_repro.cli.overlays import in_full
from lecun_repro.cli.parser import LINKED, check_sections, config_flags, flags, with_optimizer
from lecun_repro.cli.paths import check_paths, may_download
from lecun_repro.cli.teachers import check_trained, fill_in
from lecun_repro.cli.trainer import DigitsTrainer
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.data.download import closed_to_downloads
from lecun_repro.errors import BadArgument, UserError, one_line, prefixed, printable
from lecun_repro.models.base import Network
from lecun_repro.models.heads import Head, Taught
from lecun_repro.runs.checkpoints import CHECKPOINT, checkpoint_config, load_checkpoint
from lecun_repro.runs.folders import LOGS, FolderLogger, claimed
from lecun_repro.runs.last_pass import LastPass, place_checkpoints
from lecun_repro.runs.loading import load_into, start_from
from lecun_repro.runs.progress import CountUpdates, FitProgress
from lecun_repro.runs.record import RecordRun
from lecun_repro.runs.resume import LOCAL, check_resumed
from lecun_repro.runs.signals import Interrupted, StopAfterBlock, StopSignals, say
from lecun_repro.runs.teaching import Teach
from lecun_repro.runs.weights import SHIPPED, SUFFIX, described
from lecun_repro.tensorboard.callback import Pictures
from lecun_repro.tensorboard.writer import log_dir, report_write_errors_once
from lecun_repro.training.compile_cache import CompileError
from lecun_repro.training.module import DigitClassifier

PROGRAM = "lecun-repro"
OTHERWISE = ("--config", "-c", "--help", "-h")  # flags with which `predict` takes no network by itself

# A disk that is full or may not be written to, or a name that none can be made of, which no program can put right.
DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
    errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG,
)  # fmt: skip


class DigitsCLI(LightningCLI):
    """`fit`, `validate`, `test` and `predict`, with the optimizer and its schedule at the top of the YAML."""

    row: str | None = None  # the stem of the first configuration
    teach: Teach  # of a fit
    refused: BadArgument | None = None  # a logger or callback that could not be built

    def __init__(self, *given: Any, args: list[str], **kwargs: Any) -> None:
        self.asked = args[0]
        super().__init__(*given, args=args, **kwargs)  # type: ignore[misc]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        for name in lecun_repro.CLASSES:
            getattr(lecun_repro, name)  # imports it: a class that is there goes by its name alone
        threads = "Threads that torch uses; one is fastest for a net this small."
        parser.add_argument("--threads", type=PositiveInt, default=1, help=threads)
        # Typed by their base classes, so that nothing but an optimizer and a schedule gets through.
        parser.add_subclass_arguments(
            (Optimizer,), "optimizer", skip={"params"}, required=False, instantiate=False, fail_untyped=False,
            help="The optimizer, any of torch.optim: class_path and init_args.",
        )  # fmt: skip
        parser.add_subclass_arguments(
            LRSchedulerTypeTuple, "lr_scheduler", skip={"optimizer"}, required=False, instantiate=False,
            fail_untyped=False, help="The learning rate's schedule, stepped once per pass: class_path and init_args.",
        )  # fmt: skip
        parser.add_lightning_class_args(Pictures, "pictures")
        for target, source in LINKED.items():
            parser.link_arguments(source, target)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Trainer methods and which of their arguments are no flags."""
        # weights_only: no flag may turn the safe loading of checkpoints off.
        no_flags = {"weights_only", "return_predictions"}
        return {name: skip | no_flags for name, skip in LightningCLI.subcommands().items()}

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        if self.asked in self.subcommands() and self.asked != subcommand:
            return self.init_parser(**kwargs)  # only for the list of subcommands: its arguments take a while
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":
            group = parser.add_argument_group("from_weights")
            group.add_argument("--from_weights", type=str | None, default=None)
        parser.set_help(subcommand)  # type: ignore[attr-defined]
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses and checks, so that nothing is built from what could not run."""
        files = map(found, config_flags(args[1:]))
        self.row = next((Path(file).stem for file in files if os.path.isfile(file)), None)
        args = [args[0], *in_full(args[1:])]
        for path in config_flags(args):
            check_sections(load_config(path))
        self.config = parser.parse_args(args)  # LightningCLI's own warns where both args and sys.argv are there
        for key, value in list(self.config.items()):
            if isinstance(value, int | float) and type(value) is not bool:
                # A number that has passed a range check, which a class without one could not write down.
                self.config[key] = int(value) if isinstance(value, int) else float(value)
        if args[0] == "fit":
            fill_in(self.config.fit.model.head, resolve)
        check(args[0], self.config[args[0]])
        check_paths(self.config[args[0]], args[1:])
        self.may_download = may_download(self.config[args[0]], args[1:])

    def _parse_ckpt_path(self) -> None:
        """A checkpoint's configuration has come first, see `with_checkpoint_config`; nothing in it beats a flag."""

    def before_instantiate_classes(self) -> None:
        torch.set_num_threads(self.config[self.subcommand].threads)

    def _add_instantiators(self) -> None:
        """Networks and heads whose arguments are refused by their keys. (Lightning's own keep hyperparameters.)"""
        for key, base in (("network", Network), ("head", Head), ("network", nn.Module)):
            self.parser.add_instantiator(partial(made, f"model.{key}.init_args."), base)
        self.parser.add_instantiator(with_optimizer, LRScheduler)
        self.parser.add_instantiator(partial(self.made_for_trainer, "trainer.logger"), Logger)
        self.parser.add_instantiator(partial(self.made_for_trainer, "trainer.callbacks"), Callback)

    def made_for_trainer(self, key: str, kind: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`kind(*args, **kwargs)`; keeps why that fails, as jsonargparse goes on to other types that `key` may have."""
        try:
            return kind(*args, **kwargs)
        except Exception as error:
            allowed = f"what can be built here ({one_line(str(error))[:600]})"
            self.refused = BadArgument(key, kind.__name__, allowed)
            raise

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError:
            if self.refused is None:
                raise
            raise self.refused from None

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        if self.subcommand != "fit":
            kwargs["logger"] = False  # such a call leaves no folder behind
        config = self.config[self.subcommand].trainer
        given = self._get(self.config_init, "trainer").callbacks or []
        has_bar = any(isinstance(callback, ProgressBar) for callback in (given if isinstance(given, list) else [given]))
        wanted = {LastPass: config.enable_checkpointing, FitProgress: False if has_bar else config.enable_progress_bar}
        self.trainer_defaults["callbacks"] = [kind() for kind, is_wanted in wanted.items() if is_wanted is not False]
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError, ImportError) as error:
            plain = {name: value for name, value in vars(config).items() if not isinstance(value, Namespace | list)}
            if (name := at_fault(Trainer, plain | {"logger": False})) is None:
                raise
            raise BadArgument(f"trainer.{name}", config[name], f"what Lightning takes ({error})") from None

    def after_instantiate_classes(self) -> None:
        self.model.check_callbacks(self.trainer.callbacks, self.datamodule)  # type: ignore[attr-defined]
        with closed_to_downloads(not self.may_download):
            self.datamodule.setup()  # what is wrong with data or checkpoint is told before there is a log folder
        if self.subcommand == "fit":
            updates = self.datamodule.counts.updates(self.trainer.limit_train_batches)  # type: ignore[attr-defined]
            self.model.check_network(self.datamodule, updates)  # type: ignore[operator]
            self.check_teachers()
        self.check_checkpoint()

    def resolved(self) -> dict[str, Any]:
        """The configuration as plain values."""
        parser = self._parser(self.subcommand)
        return json.loads(parser.dump(self.config[self.subcommand], format="json", skip_none=False))

    def check_teachers(self) -> None:
        """Loads them; BadArgument for those that are not there, not trained, or none."""
        if isinstance(self.model.head, Taught):
            check_trained(self.config.fit.model.head.init_args)
        self.teach = Teach()
        self.teach.prepare(self.model.head, self.datamodule)

    def check_checkpoint(self) -> None:
        """Loads its weights; BadArgument for a checkpoint that is not one of the configured network and fit."""
        config, resumes = self.config[self.subcommand], self.subcommand == "fit"
        if (path := config.ckpt_path) is None:
            if (origin := config.get("from_weights")) is not None:
                start_from(self.model, origin)
            return
        checkpoint = load_checkpoint(path)
        if resumes and Path(path).suffix == SUFFIX:
            allowed = "a checkpoint; a new run starts from exported weights by --from_weights"
            raise BadArgument("ckpt_path", f"{path}, weights without an optimizer or passes to go on from", allowed)
        if resumes:
            check_resumed(self.resolved(), checkpoint, path)
        try:
            load_into(self.model, checkpoint, resumes)
            for callback in self.trainer.callbacks if resumes else ():  # type: ignore[attr-defined]
                if isinstance(callback, RecordRun):
                    callback.on_load_checkpoint(self.trainer, self.model, checkpoint)
        except Exception as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else one_line(str(error))[:300]
            what = f"{path}, which does not fit: {reason or type(error).__name__}"
            raise BadArgument("ckpt_path", what, "a checkpoint of this network, optimizer and schedule") from None

    def after_fit(self) -> None:
        for line in said_last(self.trainer, self.model):  # type: ignore[arg-type]
            self.model.print(line)  # type: ignore[operator]

    def after_predict(self) -> None:
        """Names the image files that gave no digit; the exit code then tells that not all is done."""
        skipped = () if self.datamodule.image_digits is None else self.datamodule.image_digits.skipped
        for file, reason in skipped:
            print(f"{PROGRAM}: skipped {printable(file)}: {printable(one_line(reason))}", file=sys.stderr)
        if skipped:
            raise SystemExit(1)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        loaded = {} if subcommand == "fit" else {"ckpt_path": None}  # by `check_checkpoint`
        return super()._prepare_subcommand_kwargs(subcommand) | {"weights_only": True} | loaded

    def _run_subcommand(self, subcommand: str) -> None:
        fits = subcommand == "fit"
        notice = f"{PROGRAM}: stopping after the running block of updates; once more to stop at once"
        with StopSignals((lambda: say(notice)) if fits else None) as signals:
            if fits:
                self.trainer.callbacks += [CountUpdates(), StopAfterBlock(signals), self.teach]  # type: ignore[attr-defined]
            try:
                with claimed(*self.name_folder()), report_write_errors_once():
                    place_checkpoints(self.trainer)
                    super()._run_subcommand(subcommand)
            except (SystemExit, CompileError) as error:  # Lightning's way out, and that of a compiler hit as well
                if signals.received is None and not (isinstance(error, SystemExit) and self.trainer.interrupted):
                    raise
                raise Interrupted(f"interrupted{self._how_to_go_on() if fits else ''}", signals.exit_code) from None
            except OSError as error:
                if error.errno not in DISK or not fits:
                    raise
                raise UserError(f"{disk_fault(error)}{self._how_to_go_on()}") from None

    def name_folder(self) -> list[FolderLogger]:
        """The loggers that have folders, of which the first is the run's."""
        if self.subcommand != "fit" or self.trainer.fast_dev_run or not self.trainer.loggers:  # type: ignore[attr-defined]
            return []
        specs = self.config[self.subcommand].trainer.logger
        spec = specs[0] if isinstance(specs, list) else specs
        arguments = spec.get("init_args", {}) if isinstance(spec, Namespace) else {}
        row = arguments.get("name") or self.row or self.trainer.loggers[0].name or LOGS
        have = [logger for logger in self.trainer.loggers if isinstance(logger, FolderLogger)]
        loggers = have or [CSVLogger(LOGS, row, arguments.get("version"))]  # one that only names a folder
        self.trainer.names_folder = loggers[0]  # type: ignore[attr-defined]
        return loggers

    def _how_to_go_on(self) -> str:
        last = (log_dir(self.trainer) or Path()) / "checkpoints" / "last.ckpt"
        started_from = self.config[self.subcommand].ckpt_path
        path = last if last.is_file() else started_from
        if path is None:
            return "; nothing is kept, as no pass was whole"
        return f"; go on with the same command and --ckpt_path {path}"


def made(prefix: str, kind: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`kind(*args, **kwargs)`, whose arguments are the keys that begin with `prefix`."""
    with prefixed(prefix):
        return kind(*args, **kwargs)


def with_checkpoint_config(args: list[str], trusted: Sequence[str] = ()) -> list[str]:
    """Puts the configuration that a checkpoint carries before the flags of `validate`, `test` and `predict`.

    It may name our classes and torch's, and those that are `trusted` or named in the flags as well.
    """
    if not args or args[0] not in ("validate", "test", "predict"):
        return args
    given = {arg.partition("=")[0] for arg in args}
    paths = [value for name, value in flags(args[1:]) if name == "--ckpt_path" and value is not None]
    if args[0] == "predict" and not {"--ckpt_path", *OTHERWISE} & given:
        paths = [shipped_weights()]
        args = [*args, f"--ckpt_path={paths[0]}"]
    if not paths:
        if not {*OTHERWISE, "--print_config"} & given:
            raise BadArgument("ckpt_path", "missing", CHECKPOINT)
        return args
    saved = load_checkpoint(paths[-1])["lecun_repro"]
    try:
        config = json.dumps(checkpoint_config(saved, [*trusted, *(value for _, value in flags(args[1:]) if value)]))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        what = f"{paths[-1]}, which {one_line(str(error))}"
        raise BadArgument("ckpt_path", what, "a checkpoint that fit wrote") from None
    # Of this machine's files a checkpoint names none, in whatever way it may try.
    places = [f"--data.{name}=null" for name in LOCAL]
    return [args[0], "--config", config, *places, *args[1:]]


def shipped_weights() -> str:
    """The path of the weights that ship with the package, in the place of a checkpoint; a line says which they are."""
    saved = load_checkpoint(SHIPPED)["lecun_repro"]
    told = f"{PROGRAM}: no --ckpt_path, so the network that ships with the package: {described(saved)}"
    print(printable(told), file=sys.stderr)
    return str(SHIPPED)


def disk_fault(error: OSError) -> str:
    """What the disk refused."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}; what was written before is whole"


def run(arguments: list[str], started: float, cli: type[DigitsCLI] = DigitsCLI) -> DigitsCLI:
    """One of the trainer's subcommands. `started`: `time.perf_counter()` when the command started."""
    return cli(
        DigitClassifier,
        DigitsDataModule,
        trainer_class=DigitsTrainer,
        save_config_callback=RecordRun,
        save_config_kwargs={"started": started, "command": shlex.join([PROGRAM, *arguments])},
        trainer_defaults={
            "accelerator": "cpu",
            "devices": 1,
            "callbacks": [],  # see `instantiate_trainer`
            "num_sanity_val_steps": 0,
            "enable_model_summary": False,
            "log_every_n_steps": 1,
        },
        seed_everything_default=1337,
        parser_kwargs={
            "prog": PROGRAM,
            "version": version("lecun-repro"),
            "description": "LeCun's 1989 network and Karpathy's article about it, row by row.",
        },
        parser_class=HelpfulParser,
        auto_configure_optimizers=False,
        args=arguments,
    )


class ParsedOnly(DigitsCLI):
    """Parses and checks a command line of `fit`, and stops there."""

    def instantiate_classes(self) -> None:
        pass

    def after_instantiate_classes(self) -> None:
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def resolve(config: str, fit_flags: list[str]) -> dict[str, Any]:
    """The configuration that `fit --config config *fit_flags` resolves to, as plain values.

    Raises:
        UserError: a bad key or value in either.
    """
    cli = run(["fit", "--config", config, *fit_flags], time.perf_counter(), ParsedOnly)
    return cli.resolved()
