"""Checkpoints, which may come from anyone: looked through before anything of them is believed.

torch's own safe loading sees to it that nothing in one can run. What it lets through is looked at here: damage,
archives that unpack to more than they are, tensors that claim more than they hold, and contents that make no sense.
"""

import os
import pickle
import pickletools
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lecun_repro.errors import fault, one_line
from lecun_repro.training.module import CHECKPOINT_FORMAT

MOST_VALUES = 10_000  # of a configuration; more are an attack by nested aliases
MOST_PICKLE = 64 * 2**20  # bytes of structure and plain values; a real one has ten thousand to a million
MOST_NODES = 2_000_000  # values of a whole checkpoint, everything that is there several times counted as often

# What `test` and the like take from a checkpoint's configuration; neither optimizer nor schedule is needed.
TAKEN = ("seed_everything", "data", "model")
TRUSTED = ("lecun_repro.", "torch.")  # whose classes a checkpoint may name by itself
KINDS: dict[str, tuple[type, ...]] = {
    "config": (dict,), "curve": (list,), "results": (dict,), "seconds": (int, float), "compiled": (bool, type(None)),
    "update_seconds": (int, float), "updates_done": (int,),
}  # fmt: skip


def check_archive(path: str | os.PathLike[str]) -> None:
    """Refuses a file that is not a whole archive as torch writes them: nothing compressed, every checksum right.

    Raises:
        ValueError: with the fault.
    """
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            start = file.read(2)
        if start[:1] == b"\x80":
            raise ValueError("a pickle")
        raise ValueError("not an archive as torch writes them" if start else "empty")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
                raise ValueError("a compressed archive, which may unpack to anything")
            if sum(entry.file_size for entry in entries) > os.path.getsize(path):
                raise ValueError("an archive whose entries claim to be larger than the file")
            if len({entry.filename for entry in entries}) < len(entries):
                raise ValueError("an archive with two entries of one name")
            pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
            if len(pickles) != 1 or pickles[0].file_size > MOST_PICKLE:
                raise ValueError(f"an archive without one data.pkl of at most {MOST_PICKLE:,} bytes")
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"damaged: the checksum of {damaged} is wrong")
            for operation, argument, _ in pickletools.genops(archive.read(pickles[0])):
                if operation.name == "GLOBAL" and argument not in _NAMES and not _is_storage(str(argument)):
                    raise ValueError(f"one that names {str(argument).replace(' ', '.')}")
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, OverflowError, IndexError) as error:
        raise ValueError(f"a damaged archive: {error}") from None


# All that a checkpoint of tensors and plain values calls. torch would also make empty tensors and byte arrays of any
# size that a checkpoint asks for.
_NAMES = {
    "collections OrderedDict", "collections defaultdict", "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter", "torch Size", "torch device",
}  # fmt: skip


def _is_storage(name: str) -> bool:
    module, _, kind = name.partition(" ")
    return module in ("torch", "torch.storage") and kind.endswith("Storage") and kind.isidentifier()


def check_contents(checkpoint: dict[str, Any]) -> None:
    """Refuses what has the form of a checkpoint and makes no sense.

    Raises:
        ValueError: with the fault.
    """
    for value in _values(checkpoint, MOST_NODES):
        if isinstance(value, Tensor) and (
            value.layout is not torch.strided
            or value.device.type == "meta"
            or value.numel() * value.element_size() > value.untyped_storage().nbytes()
        ):
            raise ValueError(f"holds a tensor that claims {tuple(value.shape)} and has less")
    weights = checkpoint["state_dict"]
    if not isinstance(weights, dict) or not weights or not all(isinstance(w, Tensor) for w in weights.values()):
        raise ValueError("its state_dict holds no weights")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and tensor.isnan().any():
            raise ValueError(f"{name} holds NaN")
    saved = checkpoint["lecun_repro"]
    for key, kinds in KINDS.items():
        if key in saved and not isinstance(saved[key], kinds):
            raise ValueError(f"its {key} is {type(saved[key]).__name__}")
    if not all(isinstance(entry, dict) and isinstance(entry.get("pass"), int) for entry in saved.get("curve", [])):
        raise ValueError("its curve is no list of passes")
    for _ in _values(saved.get("config"), MOST_VALUES):
        pass


def _values(tree: Any, most: int) -> Iterator[Any]:
    """All values of a tree; ValueError if there are more than `most`, as with one that contains itself."""
    stack, n = [tree], 0
    while stack:
        value = stack.pop()
        n += 1
        if n > most:
            raise ValueError(f"holds more than {most:,} values")
        yield value
        if isinstance(value, dict):
            stack += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            stack += value


def checkpoint_config(saved: dict[str, Any], named: Sequence[str]) -> dict[str, Any]:
    """The part of a checkpoint's configuration that says which data and model it was made with.

    Args:
        saved: What a checkpoint holds under `lecun_repro`.
        named: Classes that the user named, and which may therefore be imported.

    Raises:
        ValueError: There is none, or it names a class that is neither ours, nor torch's, nor the user's.
    """
    config = saved.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise ValueError("names no configuration")
    taken = {key: config[key] for key in TAKEN if key in config}
    values = _values(taken, MOST_VALUES)
    names = [value["class_path"] for value in values if isinstance(value, dict) and "class_path" in value]
    if isinstance(data := taken.get("data"), dict) and "." in str(data.get("source")):  # the import path of a class
        names.append(data["source"])
    for name in names:
        if not isinstance(name, str) or (name and not name.startswith(TRUSTED) and name not in named):
            raise ValueError(f"names the class {name}, which would be imported; name it yourself, if you trust it")
    for part in ("network", "head"):
        if not isinstance(taken["model"].get(part), dict):
            raise ValueError(f"names no {part}")
    return taken


def check_fits(
    checkpoint: dict[str, Any], module: nn.Module, parameters: Sequence[nn.Parameter], schedules: int | None
) -> None:
    """Refuses a checkpoint whose weights or training state are not those of the configured network and fit.

    Args:
        checkpoint: The checkpoint.
        module: What its weights are loaded into.
        parameters: What its optimizer state belongs to, in order.
        schedules: How many schedules the fit has that goes on from it, 0 or 1; None if none does.

    Raises:
        ValueError: with the fault.
    """
    weights, expected = checkpoint["state_dict"], module.state_dict()
    for name in [*expected, *weights]:
        shapes = [None if name not in tensors else tuple(tensors[name].shape) for tensors in (weights, expected)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{name} is {shapes[0] or 'missing'}, in this network {shapes[1] or 'missing'}")
    trained = {name for name, _ in module.named_parameters()}
    if bad := [name for name in weights if name in trained and not weights[name].isfinite().all()]:
        raise ValueError(f"{bad[0]} holds an infinity")
    if schedules is None:
        return
    # Lightning goes on without what is not there, from the first pass or with a fresh optimizer.
    for key, kind, n in (("loops", dict, None), ("optimizer_states", list, 1), ("lr_schedulers", list, schedules)):
        part = checkpoint.get(key)
        if not isinstance(part, kind) or n not in (None, len(part)) or (kind is dict and "fit_loop" not in part):
            raise ValueError(f"its {key} are not those of such a fit")
    for states in checkpoint["optimizer_states"]:
        for index, state in states["state"].items():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.dim() and value.shape != parameters[index].shape:
                    raise ValueError(f"the optimizer's {name} number {index} is {tuple(value.shape)}")


CHECKPOINT = "a local checkpoint that fit wrote, such as lightning_logs/quickstart/version_0/checkpoints/last.ckpt"


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint's contents, plain values and tensors only.

    Raises:
        UserError: no such local file, one that holds anything else, or one of another format.
    """
    if "://" in str(path) or str(path).startswith(("http:", "https:")):
        raise fault("ckpt_path", path, f"{CHECKPOINT}; addresses are refused, download the file first")
    try:
        if not Path(path).is_file():
            raise fault("ckpt_path", f"{path}, {'a folder' if Path(path).is_dir() else 'no such file'}", CHECKPOINT)
    except (OSError, ValueError) as error:  # a name that is none, a folder that may not be entered
        raise fault("ckpt_path", f"{path}, {getattr(error, 'strerror', None) or error}", CHECKPOINT) from None
    try:
        check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = one_line(str(error))
        if isinstance(error, pickle.UnpicklingError) or text.startswith(("a pickle", "one that names")):
            why = "not a checkpoint of tensors and plain values; all else is refused, as loading it could run code"
        else:
            why = f"not a checkpoint ({type(error).__name__}{f': {text[:80]}' if text else ''})"
        raise fault("ckpt_path", str(path), f"{CHECKPOINT}; this is {why}") from None
    saved = checkpoint.get("lecun_repro") if isinstance(checkpoint, dict) else None
    if not isinstance(saved, dict) or "state_dict" not in checkpoint:
        raise fault("ckpt_path", f"{path}, not a checkpoint of lecun-repro", CHECKPOINT)
    if saved.get("format") != CHECKPOINT_FORMAT:
        raise fault(
            "ckpt_path", f"{path}, of format {saved.get('format')}",
            f"format {CHECKPOINT_FORMAT}; train again, or use the version of lecun-repro that wrote it",
        )  # fmt: skip
    try:
        check_contents(checkpoint)
    except ValueError as error:
        raise fault("ckpt_path", f"{path}, which makes no sense: {error}", CHECKPOINT) from None
    return checkpoint
