"""Real fits in processes of their own, which start in a moment because torch has been imported once for all of them."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
AUGMENT = "[{class_path: Affine, init_args: {rotation: 10, scale: 0.1}}, {class_path: Elastic}, {class_path: Erase}]"
ROW_5 = ROOT / "configs/article/5_dropout_relu.yaml"  # AdamW with a schedule, shifts and dropout
# What is compiled is a plain network; what is not has all that stands beside an update.
OPTIONS: dict[bool, list[Any]] = {
    True: ["--model.network", "fits.PlainNet", "--data.batch_size", 8],
    False: [
        "--optimizer", "RMSprop", "--optimizer.lr", 1e-3, "--model.lr_interval", "step", "--model.average", "swa",
        "--trainer.gradient_clip_val", 1, "--model.average_start", 2, "--lr_scheduler", "LinearLR",
        "--lr_scheduler.total_iters", 1500,
    ],
}  # fmt: skip
TIMES = ("fit_seconds", "us_per_update")
FOLDER = Path("lightning_logs/5_dropout_relu/run")

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["lecun_repro.__main__"])


class PlainNet(nn.Module):
    """Draws random numbers and keeps statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 20), nn.BatchNorm1d(20), nn.ReLU())
        self.outputs = nn.Linear(20, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.outputs(self.body(images))


Prepare = Callable[[], None]  # called in the process before the command, and sent there by its name


def arguments(compile: bool, *flags: object) -> list[str]:
    """A shortened row 5 on the digits that need no file: about a second of updates, either way."""
    size = {True: (1296, 12), False: (300, 6)}[compile]
    given = ["fit", "--config", ROW_5, "--data.source", "digits", "--data.train_size", size[0], "--data.test_size", 60]
    given += ["--data.augment", AUGMENT, "--model.head.smoothing", 0.05, *OPTIONS[compile]]
    given += ["--data.block_size", 64, "--trainer.max_epochs", size[1], "--model.compile", str(compile).lower()]
    return [str(each) for each in (*given, "--trainer.logger.init_args.version", "run", *flags)]


def start(folder: Path, args: list[str], prepare: Prepare | None = None) -> Any:
    """The process of a command, running in `folder`, with its output in `output.txt`."""
    process = _server.Process(target=_command, args=(folder, args, prepare))
    process.start()
    return process


def fit(folder: Path, args: list[str]) -> float:
    """A command to its end. Returns the seconds it took."""
    started = time.monotonic()
    process = start(folder, args)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{args} ended with {process.exitcode}: {(folder / 'output.txt').read_text()[-2000:]}")
    return time.monotonic() - started


def _command(folder: Path, args: list[str], prepare: Prepare | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    # Also where whoever started the tests had it ignored, as a shell does in the background of a script.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if prepare is not None:
        prepare()
    from lecun_repro.__main__ import main

    try:
        main(args)
    finally:
        if os.geteuid() != os.getuid():  # for what Python reads of its own on the way out
            os.seteuid(os.getuid())


def die_at(where: str, count: int) -> None:
    """Kills this process the `count`-th time that it comes to `where` in the writing of a file."""
    left = [count]
    fsync, replace, save = os.fsync, os.replace, torch.save

    def die_now() -> bool:
        left[0] -= 1
        return left[0] == 0

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def at_save(*args: Any, **kwargs: Any) -> None:
        if die_now():
            kill()
        save(*args, **kwargs)

    def at_fsync(descriptor: int) -> None:
        if die_now():
            if where == "half-written":
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            kill()
        fsync(descriptor)

    def at_replace(*args: Any) -> None:
        dying = die_now()
        if dying and where == "before the move":
            kill()
        replace(*args)
        if dying:
            kill()

    patches: dict[str, tuple[Any, str, Callable]] = {
        "before the writing": (torch, "save", at_save),
        "half-written": (os, "fsync", at_fsync),
        "written": (os, "fsync", at_fsync),
        "before the move": (os, "replace", at_replace),
        "after the move": (os, "replace", at_replace),
    }
    setattr(*patches[where])


INJECTIONS = ("before the writing", "half-written", "written", "before the move", "after the move")


# ---------------------------------------------------------------------------------------------------------------------
# What a fit leaves


def left(folder: Path) -> dict[str, Any]:
    """All that has to be the same, to the last bit, of two fits that are the same."""
    saved = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    kept = {key: saved[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")}
    results = json.loads((folder / "results.json").read_text())
    kept["curve"] = saved["lecun_repro"]["curve"]
    kept["results"] = {key: value for key, value in results.items() if key not in TIMES}
    return kept


def difference(ours: Any, expected: Any, where: str = "") -> str | None:
    """Where two trees differ first, in kind or in any bit; None if nowhere."""
    if type(ours) is not type(expected):
        return where
    if isinstance(ours, dict):
        if ours.keys() != expected.keys():
            return where
        pairs = [(f"{where}.{key}", ours[key], expected[key]) for key in ours]
    elif isinstance(ours, list | tuple):
        if len(ours) != len(expected):
            return where
        pairs = [(f"{where}[{i}]", *pair) for i, pair in enumerate(zip(ours, expected, strict=True))]
    elif isinstance(ours, torch.Tensor):
        same = ours.dtype == expected.dtype and ours.shape == expected.shape
        return None if same and ours.numpy().tobytes() == expected.numpy().tobytes() else where
    else:
        return None if ours == expected else where
    return next((found for at, a, b in pairs if (found := difference(a, b, at)) is not None), None)


def scalars(folder: Path) -> dict[tuple[str, int], list[float]]:
    """The values in a folder's event files, by tag and pass."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found: dict[tuple[str, int], list[float]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if "/" in value.tag and value.tensor.float_val:
                    found.setdefault((value.tag, event.step), []).append(value.tensor.float_val[0])
    return found
