"""What a parsed configuration may still get wrong, found before anything is built."""

import math
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from jsonargparse import Namespace
from jsonargparse._util import import_object
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lecun_repro.cli.parser import SEEDS
from lecun_repro.cli.paths import leaves
from lecun_repro.data.plan import plan
from lecun_repro.errors import BadArgument, one_line, prefixed
from lecun_repro.files import may_be_written
from lecun_repro.models.base import Network
from lecun_repro.models.heads import Head
from lecun_repro.models.plain import as_network
from lecun_repro.runs.checkpoints import CHECKPOINT, load_checkpoint
from lecun_repro.runs.loading import network_weights
from lecun_repro.training.optimizers import grouped

# What a sequence of single updates supports of the trainer's arguments, and why no more.
SUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "devices": ((1, "1", "auto"), "1; more are not supported because each update needs the one before"),
    "num_nodes": ((1,), "1; more is not supported because each update needs the one before"),
    "strategy": (("auto", "single_device"), "auto; others are not supported because updates run on one device"),
    "precision": (
        (None, 32, 64, "32", "64", "32-true", "64-true"),
        "32-true, 64-true; others are not supported because updates are computed without scaling or casts",
    ),
    "accumulate_grad_batches": ((1,), "1; more is not supported because data.batch_size is what an update sees"),
    "gradient_clip_algorithm": ((None, "norm", "value"), "norm, value"),
    "sync_batchnorm": ((False,), "false; it is not supported because updates run on one device"),
    "val_check_interval": ((None, 1.0), "1.0; others are not supported because each pass is evaluated at its end"),
    "barebones": ((False,), "false; it is not supported because it leaves out the evaluation"),
}

# torch's messages name neither the argument nor its bounds.
BOUNDS = {
    **dict.fromkeys(("lr", "momentum", "weight_decay", "eps", "lr_decay", "eta_min"), "a finite number from 0"),
    "betas": "[a number from 0 to below 1, a number from 0 to below 1]",
    "nesterov": "false, or true with a momentum above 0 and no dampening",
    "start_factor": "a number above 0 and at most 1",
    "end_factor": "a number from 0 to 1",
}
MOST_THREADS = 1024
MOST_STEPS = 1000  # of a schedule that is tried


def check(subcommand: str, config: Namespace) -> None:
    """Refuses what could not be run; a schedule that asks for its `total_steps` and was given none gets the run's.

    Raises:
        UserError: a value that is out of range, or that nothing here supports.
    """
    seed, output = config.seed_everything, config.get("output")
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise BadArgument("seed_everything", seed, SEEDS)
    if config.threads > MOST_THREADS:
        raise BadArgument("threads", config.threads, f"an integer from 1 to {MOST_THREADS}")
    check_values(config)
    if not 0 <= config.model.average_decay < 1:
        raise BadArgument("model.average_decay", config.model.average_decay, "a number from 0 to below 1")
    for key, base in (("model.network", Network), ("model.head", Head)):
        if import_object(path := config[key].class_path) is base:
            allowed = f"a subclass of {base.__name__}, which itself computes nothing"
            raise BadArgument(f"{key}.class_path", path, allowed)
    check_trainer(config.trainer)
    check_data(config.data, config.trainer)
    if config.data.images is not None and subcommand != "predict":
        raise BadArgument("data.images", config.data.images, f"null; only predict reads images, {subcommand} does not")
    optimizer = check_optimizer(config)
    if subcommand == "fit":
        check_passes(config.trainer)
        check_schedule(config, optimizer)
    if config.get("from_weights") is not None:
        network_weights(config.from_weights)
    if config.get("ckpt_path") is not None:
        load_checkpoint(config.ckpt_path)
    elif subcommand != "fit":
        raise BadArgument("ckpt_path", "missing", CHECKPOINT)
    if output is not None and not may_be_written(Path(output)):
        raise BadArgument("output", output, "a file in a folder that exists, and no link or device")


def check_values(config: Namespace) -> None:
    """Refuses infinite numbers, and a `class_path` where no type says what it may be: any would be called."""
    for section in ("trainer", "optimizer", "lr_scheduler", "model.network", "model.head", "data"):
        for key, value in leaves(config.get(section), section):
            nested = rf"{section}(\.\w+(\[\d+\])?)?\.class_path|lr_scheduler(\.init_args\.\w+\[\d+\])+\.class_path"
            if key.endswith(".class_path") and not re.fullmatch(nested, key):
                raise BadArgument(key, value, "a plain value, as no type is known here")
            if key.endswith(".class_path") and not isinstance(import_object(value), type):
                raise BadArgument(key, value, "a class, as a function would be called before its type is known")
            if isinstance(value, float) and not math.isfinite(value) and section != "trainer":
                raise BadArgument(key, value, BOUNDS.get(key.rpartition(".")[2], "a finite number"))


def check_trainer(trainer: Namespace) -> None:
    for name, (values, allowed) in SUPPORTED.items():
        value = trainer[name]
        if name == "devices" and ((isinstance(value, list) and len(value) == 1) or re.fullmatch(r"\d+,", str(value))):
            continue
        if not any(value == each and type(value) is type(each) for each in values):
            raise BadArgument(f"trainer.{name}", value, allowed)
    for name, least in (("log_every_n_steps", 0), ("num_sanity_val_steps", -1)):
        if (trainer[name] or 0) < least:
            raise BadArgument(f"trainer.{name}", trainer[name], f"an integer from {least}")
    if (clip := trainer.gradient_clip_val) is not None and not 0 <= clip < math.inf:
        raise BadArgument("trainer.gradient_clip_val", clip, "a finite number from 0, or null")
    if 0 < trainer.overfit_batches < 1:
        raise BadArgument("trainer.overfit_batches", trainer.overfit_batches, "a whole number of updates")


def check_passes(trainer: Namespace) -> None:
    passes, steps, least = trainer.max_epochs, trainer.max_steps, trainer.min_epochs or 0
    if passes is not None and (passes == 0 or passes < -1):
        raise BadArgument("trainer.max_epochs", passes, "a number of passes from 1, or -1 for no end")
    if steps == 0 or steps < -1:
        raise BadArgument("trainer.max_steps", steps, "a number of updates from 1, or -1 for no limit")
    if least < 0 or (passes not in (None, -1) and least > passes):
        raise BadArgument("trainer.min_epochs", least, "a number of passes from 0 to trainer.max_epochs")
    # A fit whose passes are not evaluated, or that has none, would end without results.
    for name in ("limit_train_batches", "limit_val_batches"):
        if trainer[name] == 0:
            raise BadArgument(f"trainer.{name}", trainer[name], "a number above 0, so that every pass is evaluated")
    if passes is None and steps == -1 and trainer.max_time is None and not trainer.fast_dev_run:
        allowed = "a number of passes from 1 (or trainer.max_steps or max_time)"
        raise BadArgument("trainer.max_epochs", "missing", allowed)
    every = 1 if trainer.check_val_every_n_epoch is None else trainer.check_val_every_n_epoch
    if every < 1:
        raise BadArgument("trainer.check_val_every_n_epoch", every, "a number of passes from 1")
    if every > 1 and not trainer.fast_dev_run and (steps != -1 or passes is None or passes < 1 or passes % every):
        whole = f"a divisor of trainer.max_epochs ({passes}), without trainer.max_steps"
        allowed = f"1, or {whole}, so that the last pass is evaluated"
        raise BadArgument("trainer.check_val_every_n_epoch", every, allowed)


def check_data(data: Namespace, trainer: Namespace) -> None:
    with prefixed("data."):
        counts = plan(**data.as_dict())
    with prefixed("trainer."):
        counts.updates(trainer.limit_train_batches)
    for number, augmentation in enumerate(data.augment or []):
        key, kind = f"data.augment[{number}]", import_object(path := augmentation.class_path)
        if kind.__abstractmethods__:
            raise BadArgument(f"{key}.class_path", path, "a subclass of Augmentation with `draw` and `apply`")
        tried(key, augmentation, kind)


def check_optimizer(config: Namespace) -> Optimizer:
    """The configured optimizer on the configured network's parameters, after one update."""
    with torch.random.fork_rng(devices=[]):
        network = tried("model.network", config.model.network, import_object(config.model.network.class_path))
    network = as_network(network).own  # with the sizes that lazy layers have found
    if not any(p.requires_grad for p in network.parameters()):
        raise BadArgument("model.network.class_path", config.model.network.class_path, "a class with weights to train")
    with prefixed("model."):
        params = grouped(network, config.model.param_groups or {})
    if (spec := config.optimizer) is None:
        return SGD(params, lr=0.03)
    kind = import_object(spec.class_path)
    optimizer = tried("optimizer", spec, lambda **arguments: kind(params, **arguments))
    for p in network.parameters():
        p.grad = torch.full_like(p, 1e-3)
    try:
        optimizer.step()
    except Exception as error:
        allowed = f"an optimizer that updates these parameters by step() alone ({one_line(str(error))[:120]})"
        raise BadArgument("optimizer.class_path", spec.class_path, allowed) from None
    return optimizer


def check_schedule(config: Namespace, optimizer: Optimizer) -> None:
    """The configured schedule on that optimizer, stepped through the run, or through the start of a long one."""
    spec, steps, what = config.lr_scheduler, config.trainer.max_epochs or 1, "passes"
    if spec is None:
        return
    if config.model.lr_interval == "step":
        steps *= plan(**config.data.as_dict()).updates(config.trainer.limit_train_batches)
        what = "updates"
    given = (spec.get("init_args") if isinstance(spec, Namespace) else None) or {}
    if "total_steps" in given and given["total_steps"] is None and given.get("epochs") is None and steps > 0:
        given["total_steps"] = steps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = made_schedule("lr_scheduler", spec, optimizer)
        if isinstance(schedule, ReduceLROnPlateau) and what == "updates":
            allowed = f"epoch, as {type(schedule).__name__} looks at the loss of a pass"
            raise BadArgument("model.lr_interval", "step", allowed)
        for number in range(min(max(steps, 1), MOST_STEPS)):
            try:
                schedule.step(0.0) if isinstance(schedule, ReduceLROnPlateau) else schedule.step()
            except Exception as error:
                allowed = f"a schedule of as many steps as {what} ({one_line(str(error))[:120]})"
                raise BadArgument("lr_scheduler.init_args", f"ends after {number} of {steps} {what}", allowed) from None
    if (total := getattr(schedule, "total_steps", None)) is not None and total < steps:
        allowed = f"an integer from {steps}, the {what} of this run"
        raise BadArgument("lr_scheduler.init_args.total_steps", total, allowed)


def made_schedule(key: str, spec: Any, optimizer: Optimizer) -> Any:
    """The configured schedule, with those in its arguments; other values as they are, if they may be called."""
    if not isinstance(spec, Namespace) or "class_path" not in spec:
        check_function(key, spec)
        return spec
    for name, value in vars(spec.get("init_args") or Namespace()).items():
        for number, part in enumerate(value if isinstance(value, list) else [value]):
            made_schedule(f"{key}.init_args.{name}{f'[{number}]' if isinstance(value, list) else ''}", part, optimizer)
    kind = import_object(spec.class_path)

    def build(**arguments: Any) -> Any:
        def made(part: Any) -> Any:
            return [made(each) for each in part] if isinstance(part, list) else made_schedule(key, part, optimizer)

        return kind(optimizer=optimizer, **{name: made(value) for name, value in arguments.items()})

    return tried(key, spec, build)


def check_function(key: str, value: Any) -> None:
    """Refuses what a configuration could have called that was not written for it, `os._exit` say."""
    module = str(getattr(value, "__module__", None)).split(".")[0]
    if callable(value) and (not isinstance(value, FunctionType) or module in sys.stdlib_module_names):
        allowed = "a Python function of one's own, from the number of the pass to the rate's factor"
        raise BadArgument(key, f"{module}.{getattr(value, '__qualname__', value)}", allowed)


def tried(key: str, spec: Namespace, build: Callable[..., Any]) -> Any:
    """`build(**arguments)` of a configured class; where that fails, the error of the argument at fault."""
    arguments = vars(spec.get("init_args") or Namespace()) | dict(spec.get("dict_kwargs") or {})
    try:
        with prefixed(f"{key}.init_args."):
            return build(**arguments)
    except BadArgument:
        raise
    except Exception as error:
        reason = f"({spec.class_path.rpartition('.')[2]}: {one_line(str(error))[:120]})"
    name = at_fault(build, arguments)
    if name is None:
        raise BadArgument(f"{key}.class_path", spec.class_path, f"a class that can be built {reason}")
    part = "dict_kwargs" if name in (spec.get("dict_kwargs") or {}) else "init_args"
    allowed = BOUNDS.get(name, f"what {spec.class_path.rpartition('.')[2]} takes")
    raise BadArgument(f"{key}.{part}.{name}", arguments[name], f"{allowed} {reason}")


def at_fault(build: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """The argument without which `build` does not fail; None if there is no such."""
    for name in arguments:
        try:
            build(**{other: value for other, value in arguments.items() if other != name})
            return name
        except Exception:
            continue
    return None
