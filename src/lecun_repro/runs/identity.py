"""What makes two runs the same: a digest of all that has a part in the result.

Classes are part of it by their public names (`lecun_repro.ConvNet1989`), so that moving a file changes no digest and a
class has one however it is spelled. Of the user's own classes the source is a part as well.
"""

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse._util import get_import_path, import_object

import lecun_repro
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.runs.loading import weights_digest
from lecun_repro.training.module import DigitClassifier

SECTIONS: dict[str, Callable[..., Any]] = {"data": DigitsDataModule, "model": DigitClassifier}

# Where a run reads, writes and shows things has no part in its configuration's identity.
PLACES = {
    "data.root",
    "data.block_size",
    "ckpt_path",
    "config",
    "threads",
    "trainer.logger",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.enable_checkpointing",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "pictures",
    "from_weights",  # of which the weights count, see `config_hash`
}
ORIGIN = "from_weights"
TAUGHT = "lecun_repro.Taught"
RUN = re.compile(r"(seed_\d+_[0-9a-f]{8})([0-9a-f]{8})?")  # the folder of a run by `reproduce`
NOT_OWN = {"lecun_repro", "torch", "lightning", *sys.stdlib_module_names}
INSTALLED = {"site-packages", "dist-packages"}


def public_names(text: str) -> str:
    """A text, such as a YAML file, a flag or an import path, in which our public classes have their public names.

    `lecun_repro.network.ConvNet1989`, as older files and checkpoints have it, is `lecun_repro.ConvNet1989`.
    """

    def public(found: re.Match[str]) -> str:
        name = found[1]
        return f"lecun_repro.{name}" if name in lecun_repro.CLASSES else found[0]

    return re.sub(r"(?<![\w.])lecun_repro\.(?:\w+\.)*(\w+)", public, text)


def one_spelling(path: str) -> str:
    """The shortest import path of the class that `path` leads to, `torch.optim.AdamW` for `torch.optim.adamw.AdamW`."""
    return get_import_path(import_object(public_names(path))) or path


class Made(NamedTuple):
    """A class in a canonical configuration, which JSON has as a list."""

    class_path: str
    init_args: dict[str, Any]


def canonical(config: dict[str, Any], known: Callable[[str], bool] = lambda name: True) -> dict[str, Any]:
    """What of a resolved configuration has a part in the result, in one form for each result.

    Arguments left at their defaults are left out, so that a later version's new argument changes no digest.

    Args:
        config: The configuration.
        known: Which classes may be imported; others stay as they are spelled.
    """

    def chosen(value: Any, key: str, signature: dict[str, Any]) -> Any:
        if key == "data.augment" and value is not None:
            return [chosen(augmentation, f"{key}.{number}", {}) for number, augmentation in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if "class_path" in value:
            name, init_args = value["class_path"], value.get("init_args") or {}
            if not known(name):
                return Made(name, init_args)
            defaults = _defaults(import_object(name := one_spelling(name)))
            arguments = chosen(init_args, f"{key}.init_args", defaults)
            return Made(name, of_teachers(arguments) if name == TAUGHT else arguments)
        kept = {}
        for name, argument in sorted(value.items()):
            path = f"{key}.{name}" if key else name
            if path not in PLACES and (name not in signature or argument != signature[name]):
                kept[name] = chosen(argument, path, _defaults(SECTIONS[path]) if path in SECTIONS else {})
        return kept

    return chosen(config, "", {})


def of_teachers(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `Taught`, its teachers by their runs: seed and configuration, or else their weights."""
    paths = arguments.get("checkpoints") or []
    runs = [RUN.fullmatch(Path(path).parent.parent.name) for path in paths]
    named = [run[1] if run else weights_digest(path) for run, path in zip(runs, paths, strict=True)]
    others = {name: value for name, value in arguments.items() if name not in ("teachers", "seeds", "checkpoints")}
    return others | {"teachers": named}


def config_hash(config: dict[str, Any]) -> str:
    """A digest of a resolved configuration, the same for two runs that have to give the same result.

    The sources of the user's own classes are part of it, and the weights that a run starts from.

    Raises:
        BadArgument: The weights to start from cannot be read.
    """
    tree = canonical(config)
    if own := sources(tree):
        tree["sources"] = own
    if config.get(ORIGIN) is not None:
        tree[ORIGIN] = weights_digest(config[ORIGIN])
    return digest(tree)


def digest(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


def sources(tree: dict[str, Any]) -> dict[str, str]:
    """Digests of the files that define the user's own classes and functions, by their paths in a canonical tree.

    A class's file and those of its bases count. Nothing is imported for this: what a resolved configuration names is.
    """
    files = {path: own_files(path) for path in strings(tree)}
    return {path: digest([file.read_bytes().hex() for file in found]) for path, found in files.items() if found}


def strings(tree: Any) -> Iterator[str]:
    """All texts in a tree but its keys."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list | tuple):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from strings(value)


def value_at(tree: Any, key: str, default: Any = None) -> Any:
    """What stands in a tree at a dotted key; `default` where nothing does."""
    for name in key.split("."):
        if not isinstance(tree, dict) or name not in tree:
            return default
        tree = tree[name]
    return tree


def own_files(path: str) -> list[Path]:
    """The files of an import path's class and its bases that are neither ours, nor installed, nor Python's own."""
    module, _, name = path.rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)
    modules = dict.fromkeys(
        getattr(base, "__module__", None) or "builtins" for base in getattr(kind, "__mro__", (kind,))
    )
    own = [sys.modules[module] for module in modules if module.split(".")[0] not in NOT_OWN and module in sys.modules]
    files = [Path(file) for module in own if (file := getattr(module, "__file__", None))]
    return [file for file in files if not INSTALLED & {*file.parts}]


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
