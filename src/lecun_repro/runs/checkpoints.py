"""Checkpoints, which may come from anyone: looked through before anything of them is believed.

torch's own safe loading sees to it that nothing in one can run. What it lets through is looked at here: damage,
archives that unpack to more than they are, classes that would be imported, and contents of another network.
"""

import math
import os
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from lecun_repro.errors import BadArgument, one_line
from lecun_repro.runs.weights import SUFFIX, read_weights
from lecun_repro.training.module import check_format

CHECKPOINT = "a local checkpoint that fit wrote, such as lightning_logs/quickstart/version_0/checkpoints/last.ckpt"
MOST_VALUES = 10_000  # of a configuration; more are an attack by nested aliases
MOST_SAVED = 1_000_000  # of all that we keep in a checkpoint beside tensors: curve and results as well

# What `test` and the like take from a checkpoint's configuration; neither optimizer nor schedule is needed.
TAKEN = ("seed_everything", "data", "model")
TRUSTED = ("lecun_repro.", "torch.")  # whose classes a checkpoint may name by itself

# All that a checkpoint of tensors and plain values calls. torch would also make empty tensors and byte arrays of any
# size that a checkpoint asks for.
CALLED = re.compile(
    r"collections (OrderedDict|defaultdict)|torch\._utils _rebuild_(tensor_v2|parameter)|torch (Size|device|\w+Storage)"
    r"|torch\.storage \w+Storage"
)


def check_archive(path: str | os.PathLike[str]) -> None:
    """Refuses a file that is not a whole archive as torch writes them: nothing compressed, every checksum right.

    Raises:
        ValueError: with the fault.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("a compressed archive, which may unpack to anything")
        if sum(entry.file_size for entry in entries) > os.path.getsize(path):
            raise ValueError("an archive whose entries claim to be larger than the file")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        (contents,) = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        for operation, argument, _ in pickletools.genops(archive.read(contents)):
            if "GLOBAL" in operation.name and not CALLED.fullmatch(str(argument)):
                raise pickle.UnpicklingError(f"it names {argument}")


def load_checkpoint(path: str | Path, key: str = "ckpt_path") -> dict[str, Any]:
    """A checkpoint's contents, or exported weights as one, plain values and tensors only.

    `key` is the argument that names it.

    Raises:
        UserError: no such local file, one that holds anything else, or one of another format.
    """

    def refused(what: str, allowed: str = CHECKPOINT) -> BadArgument:
        return BadArgument(key, f"{path}, {what}", allowed)

    if re.match(r"https?:|.*://", str(path)):
        raise BadArgument(key, path, f"{CHECKPOINT}; addresses are refused, download the file first")
    try:
        if not Path(path).is_file():
            raise refused("a folder" if Path(path).is_dir() else "no such file")
        if Path(path).suffix == SUFFIX:
            checkpoint = read_weights(path)
        else:
            check_archive(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except BadArgument:
        raise
    except pickle.UnpicklingError:
        why = "it holds more than tensors and plain values, and loading it could run code"
        raise refused(f"not a checkpoint: {why}") from None
    except Exception as error:
        raise refused(f"not a checkpoint ({one_line(f'{type(error).__name__}: {error}')[:100]})") from None
    saved = checkpoint.get("lecun_repro") if isinstance(checkpoint, dict) else None
    if not isinstance(saved, dict) or "state_dict" not in checkpoint:
        raise refused("not a checkpoint of lecun-repro")
    check_format(saved, key, str(path))
    try:
        list(values_of(saved, MOST_SAVED))
    except OverflowError as error:
        raise refused(f"which {error}") from None
    return checkpoint


def checkpoint_config(saved: dict[str, Any], named: Sequence[str]) -> dict[str, Any]:
    """The part of a checkpoint's configuration that says which data and model it was made with.

    Args:
        saved: What a checkpoint holds under `lecun_repro`.
        named: Classes that the user named, and which may therefore be imported.

    Raises:
        ValueError: There is none, or it names a class that is neither ours, nor torch's, nor the user's.
        OverflowError: It has more than MOST_VALUES.
    """
    config = saved.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise ValueError("names no configuration")
    taken = {key: config[key] for key in TAKEN if key in config}
    values = values_of(taken, MOST_VALUES)
    names = [value["class_path"] for value in values if isinstance(value, dict) and "class_path" in value]
    source = data.get("source") if isinstance(data := taken.get("data"), dict) else None
    if isinstance(source, str) and "." in source:  # the import path of a class
        names.append(source)
    for name in names:
        if not isinstance(name, str) or (name and not name.startswith(TRUSTED) and name not in named):
            way_out = f"if you trust it, {flag_for(name, taken)}"
            raise ValueError(f"names the class {name}, which would be imported; {way_out}")
    for part in ("network", "head"):
        if not isinstance(spec := taken["model"].get(part), dict):
            raise ValueError(f"names no {part}")
        # Of torch's classes only what they are given to: a network may be any of its hundreds of modules.
        if str(name := spec.get("class_path")).startswith("torch.") and name not in named:
            raise ValueError(f"names {name} as its {part}; name it yourself, if you trust it")
    return taken


def flag_for(name: str, config: dict[str, Any]) -> str:
    """The flags that name a class of a checkpoint's configuration, for `test` and `predict`, and for `export`."""
    for key in ("model.network", "model.head", "data.source"):
        section, part = key.split(".")
        value = config[section].get(part) if isinstance(config.get(section), dict) else None
        if name in (value, value.get("class_path") if isinstance(value, dict) else None):
            return f"--{key} {name} (export: --trust {name})"
    return f"--trust {name} of export"


def values_of(tree: Any, most: int, deepest: float = math.inf) -> Iterator[Any]:
    """All values of a tree, every alias followed.

    Raises:
        OverflowError: More than `most`, as of one that contains itself, or one within more than `deepest` others.
    """
    stack, n = [(tree, 0)], 0
    while stack:
        value, depth = stack.pop()
        yield value
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        stack += [(item, depth + 1) for item in inside]
        n += 1
        if n > most or depth > deepest:
            raise OverflowError(f"holds more than {most:,} values")
