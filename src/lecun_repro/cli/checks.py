"""What a parsed configuration may still get wrong, found before anything is built."""

import inspect
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from jsonargparse import Namespace
from jsonargparse._util import import_object
from torch import nn
from torch.optim import SGD, Optimizer

from lecun_repro.cli.parser import SEEDS
from lecun_repro.data.plan import plan
from lecun_repro.errors import BadArgument, DataError, UserError, fault, one_line
from lecun_repro.models.base import Network
from lecun_repro.models.heads import Head
from lecun_repro.runs.checkpoints import CHECKPOINT, load_checkpoint
from lecun_repro.training.optimizers import formula

# Of the trainer's arguments, those that a sequence of single updates cannot honour: allowed values and why.
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "num_nodes": ((1,), "1; more is not supported because each update needs the one before"),
    "strategy": (("auto", "single_device"), "auto; others are not supported because updates run on one device"),
    "precision": (
        (None, 32, 64, "32", "64", "32-true", "64-true"),
        "32-true, 64-true; others are not supported because updates are computed without scaling or casts",
    ),
    "accumulate_grad_batches": ((1,), "1; more is not supported because data.batch_size is what an update sees"),
    "gradient_clip_val": ((None,), "null; clipping is not supported because updates run as one sequence"),
    "gradient_clip_algorithm": ((None,), "null; clipping is not supported because updates run as one sequence"),
    "sync_batchnorm": ((False,), "false; it is not supported because updates run on one device"),
    "val_check_interval": ((None, 1.0), "1.0; others are not supported because each pass is evaluated at its end"),
    "barebones": ((False,), "false; it is not supported because it leaves out the evaluation"),
}

# torch names only what it was given; these are the bounds of its constructors.
BOUNDS = {
    **dict.fromkeys(
        ("lr", "momentum", "weight_decay", "eps", "lr_decay", "lambd", "eta_min"), "a finite number from 0"
    ),
    **dict.fromkeys(("mu",), "a finite number above 0"),
    **dict.fromkeys(("sample",), "an integer from 1"),
    "betas": "[a number from 0 to below 1, a number from 0 to below 1]",
    "nesterov": "false, or true with a momentum above 0 and no dampening",
    **dict.fromkeys(("start_factor",), "a number above 0 and at most 1"),
    **dict.fromkeys(("end_factor",), "a number from 0 to 1"),
}
MOST_THREADS = 1024


def check(subcommand: str, config: Namespace) -> None:
    """Refuses what could not be run.

    Raises:
        UserError: a value that is out of range, or that nothing here supports.
    """
    seed = config.seed_everything
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise fault("seed_everything", seed, SEEDS)
    if config.threads > MOST_THREADS:
        raise fault("threads", config.threads, f"an integer from 1 to {MOST_THREADS}")
    for key in ("trainer", "optimizer", "lr_scheduler", "model.network", "model.head", "data.augment"):
        check_no_hidden_class(config.get(key), key)
    for key, base in (("model.network", Network), ("model.head", Head)):
        if import_object(path := config[key].class_path) is base:
            raise fault(f"{key}.class_path", path, f"a subclass of {base.__name__}, which itself computes nothing")
    check_devices(config.trainer)
    check_data(config.data, config.trainer)
    if config.data.images is not None and subcommand != "predict":
        raise fault("data.images", config.data.images, f"null; only predict reads images, {subcommand} does not")
    optimizer = check_optimizer(config)
    if subcommand == "fit":
        check_passes(config.trainer)
        check_schedule(config, optimizer)
        if config.model.compile is True and formula(optimizer) is None:
            raise fault(
                "model.compile", f"true with {type(optimizer).__name__}",
                "auto or false; true only with SGD, Adam and AdamW of torch.optim, and StochasticDiagonalLM",
            )  # fmt: skip
    if config.get("ckpt_path") is not None:
        load_checkpoint(config.ckpt_path)
    elif subcommand != "fit":
        raise fault("ckpt_path", "missing", CHECKPOINT)
    if (output := config.get("output")) is not None and (Path(output).is_dir() or not Path(output).parent.is_dir()):
        raise fault("output", output, "a file in a folder that exists")


def check_no_hidden_class(value: Any, key: str, typed: bool = True) -> None:
    """Refuses a `class_path` where no type says what it may be: it would be called, whatever it is.

    Keys of the trainer, and the top of each other section, are typed.
    """
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, dict):
        if "class_path" in value and not typed:
            raise fault(f"{key}.class_path", value["class_path"], "a plain value, as no type is known here")
        for name, item in value.items():
            inner = (key == "trainer") or (typed and name == "init_args" and key.startswith("trainer"))
            check_no_hidden_class(item, f"{key}.{name}", typed=inner)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            check_no_hidden_class(item, f"{key}[{number}]", typed)
    elif isinstance(value, float) and not math.isfinite(value) and key.startswith("model."):
        raise fault(key, value, "a finite number")


def check_devices(trainer: Namespace) -> None:
    devices = trainer.devices
    one = devices in (1, "1", "auto") or (isinstance(devices, list) and len(devices) == 1)
    if not (one or (isinstance(devices, str) and devices.strip(", ").isdecimal() and "," in devices)):
        raise fault("trainer.devices", devices, "1; more are not supported because each update needs the one before")
    for name, (allowed, why) in REFUSED.items():
        value = trainer.get(name)
        if not any(value == each and type(value) is type(each) for each in allowed):
            raise fault(f"trainer.{name}", value, why)
    for name, least in (("log_every_n_steps", 0), ("num_sanity_val_steps", -1)):
        if (trainer.get(name) or 0) < least:
            raise fault(f"trainer.{name}", trainer[name], f"an integer from {least}")
    if 0 < trainer.overfit_batches < 1:
        raise fault("trainer.overfit_batches", trainer.overfit_batches, "a whole number of updates")


def check_passes(trainer: Namespace) -> None:
    passes, steps = trainer.max_epochs, trainer.max_steps
    if passes is not None and (passes == 0 or passes < -1):
        raise fault("trainer.max_epochs", passes, "a number of passes from 1, or -1 for no end")
    if steps == 0 or steps < -1:
        raise fault("trainer.max_steps", steps, "a number of updates from 1, or -1 for no limit")
    least = trainer.min_epochs or 0
    if least < 0 or (passes not in (None, -1) and least > passes):
        raise fault("trainer.min_epochs", least, "a number of passes from 0 to trainer.max_epochs")
    # A fit whose passes are not evaluated, or that has none, would end without results.
    for name in ("limit_train_batches", "limit_val_batches"):
        if trainer[name] == 0:
            raise fault(f"trainer.{name}", trainer[name], "above 0, as every pass trains and is evaluated")
    if passes is None and steps == -1 and trainer.max_time is None and not trainer.fast_dev_run:
        raise fault("trainer.max_epochs", "missing", "a number of passes from 1 (or trainer.max_steps or max_time)")
    every = 1 if trainer.check_val_every_n_epoch is None else trainer.check_val_every_n_epoch
    if every < 1:
        raise fault("trainer.check_val_every_n_epoch", every, "a number of passes from 1")
    if every > 1 and not trainer.fast_dev_run and (steps != -1 or passes is None or passes < 1 or passes % every):
        whole = (
            f"a divisor of trainer.max_epochs ({passes}), without trainer.max_steps, so that the last pass is evaluated"
        )
        raise fault("trainer.check_val_every_n_epoch", every, f"1, or {whole}")


def check_data(data: Namespace, trainer: Namespace) -> None:
    section = "data"
    try:
        counts = plan(**data.as_dict())
        section = "trainer"
        counts.updates(trainer.limit_train_batches)
    except BadArgument as error:
        raise fault(f"{section}.{error.name}", error.given, error.allowed) from None
    for number, augmentation in enumerate(data.augment or []):
        if import_object(path := augmentation.class_path).__abstractmethods__:
            key, allowed = f"data.augment[{number}].class_path", "a subclass of Augmentation with `draw` and `apply`"
            raise fault(key, path, allowed)


class mapped_errors:
    """A ValueError whose message begins with the name of an argument becomes the error of the key `prefix.name`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, ValueError) and not isinstance(error, DataError):
            name, _, rest = one_line(str(error)).partition(" ")
            for word in ("; allowed: ", ", expected "):
                if word in rest:
                    given, _, allowed = rest.partition(word)
                    raise UserError(f"{self.prefix}.{name}: {given.removeprefix('is ')}; allowed: {allowed}") from None
            raise UserError(f"{self.prefix}: {one_line(str(error))}") from None


def check_optimizer(config: Namespace) -> Optimizer:
    """The configured optimizer on a dummy parameter, after one update."""
    parameter = nn.Parameter(torch.zeros(1))
    if config.optimizer is None:
        return SGD([parameter], lr=0.03)
    kind = import_object(config.optimizer.class_path)
    optimizer = built("optimizer", config.optimizer, kind, lambda **given: kind([parameter], **given))
    parameter.grad = torch.ones(1)
    try:
        optimizer.step()
    except Exception as error:
        raise fault(
            "optimizer.class_path", config.optimizer.class_path,
            f"an optimizer that updates any parameter by step() alone ({kind.__name__}: {one_line(str(error))[:120]})",
        ) from None  # fmt: skip
    return optimizer


def check_schedule(config: Namespace, optimizer: Optimizer) -> None:
    """The configured schedule on that optimizer, stepped through all passes."""
    if config.lr_scheduler is None:
        return
    kind = import_object(config.lr_scheduler.class_path)
    for name, value in vars(config.lr_scheduler.get("init_args") or Namespace()).items():
        for function in value if isinstance(value, list) else [value]:
            check_function(f"lr_scheduler.init_args.{name}", function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = optimizer.state_dict()

        def build(**given: Any) -> Any:
            optimizer.load_state_dict(before)
            for group in optimizer.param_groups:
                group.pop("initial_lr", None)
            return kind(optimizer, **given)

        schedule = built("lr_scheduler", config.lr_scheduler, kind, build)
        plateau = isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
        for number in range(min(max(config.trainer.max_epochs or 1, 1), 1000)):
            try:
                schedule.step(0.0) if plateau else schedule.step()
            except Exception as error:
                raise fault(
                    "lr_scheduler.init_args", f"ends after {number} of {config.trainer.max_epochs} passes",
                    f"a schedule of as many steps as passes ({kind.__name__}: {one_line(str(error))[:120]})",
                ) from None  # fmt: skip


def check_function(key: str, value: Any) -> None:
    """Refuses what a configuration could have called that was not written for it, `os._exit` say."""
    if callable(value):
        module = str(getattr(value, "__module__", None)).split(".")[0]
        if not isinstance(value, FunctionType) or module in sys.stdlib_module_names:
            allowed = "a Python function of one's own, from the number of the pass to the rate's factor"
            raise fault(key, f"{module}.{getattr(value, '__qualname__', value)}", allowed)


def built(key: str, spec: Namespace, kind: type, build: Callable[..., Any]) -> Any:
    """`build(**init_args)`; where that fails, the error of the first argument that is refused."""
    init_args = spec.get("init_args") or Namespace()
    arguments = [(f"{key}.init_args.{name}", name, value) for name, value in vars(init_args).items()]
    arguments += [(f"{key}.dict_kwargs.{n}", n, v) for n, v in dict(spec.get("dict_kwargs") or {}).items()]
    for full, name, value in arguments:
        if isinstance(value, float) and not math.isfinite(value):
            raise fault(full, value, BOUNDS.get(name, "a finite number"))
    try:
        return build(**{name: value for _, name, value in arguments})
    except Exception as error:
        refused = error
    parameters = inspect.signature(kind).parameters
    needed = {name for name, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    given = {name: value for _, name, value in arguments if name in needed}
    try:
        build(**given)
        nothing_works = False
    except Exception:
        nothing_works = True
    for full, name, value in sorted(arguments, key=lambda each: each[1] not in needed):
        if nothing_works and name not in needed:
            break
        try:
            build(**given | {name: value})
        except Exception as error:
            allowed = BOUNDS.get(name, f"what {kind.__name__} takes")
            raise fault(full, value, f"{allowed} ({kind.__name__}: {one_line(str(error))[:120]})") from None
        given[name] = value
    raise fault(f"{key}.class_path", spec.class_path, f"a class that can be built ({one_line(str(refused))[:160]})")
