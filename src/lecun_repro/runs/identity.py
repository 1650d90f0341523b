"""What makes two runs the same: a digest of all that has a part in the result.

Classes are part of it by their public names (`lecun_repro.ConvNet1989`), so that moving a file changes no digest and a
class has one however it is spelled.
"""

import hashlib
import inspect
import json
import re
from collections.abc import Callable
from typing import Any

from jsonargparse._util import get_import_path, import_object

import lecun_repro
from lecun_repro.data.datamodule import DigitsDataModule
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
}


def public_name(path: str) -> str:
    """The name of one of our public classes, by whatever module it is or was once spelled; any other path as it is.

    `lecun_repro.network.ConvNet1989`, as older files and checkpoints have it, is `lecun_repro.ConvNet1989`.
    """
    package, _, rest = path.partition(".")
    name = rest.rpartition(".")[2]
    return f"{package}.{name}" if package == "lecun_repro" and name in lecun_repro.__all__ else path


def public_names(text: str) -> str:
    """A text, such as a YAML file or a flag, in which our public classes have their public names."""
    return re.sub(r"(?<![\w.])lecun_repro(?:\.\w+)+", lambda found: public_name(found[0]), text)


def one_spelling(path: str) -> str:
    """The shortest import path of the class that `path` leads to, `torch.optim.AdamW` for `torch.optim.adamw.AdamW`."""
    return get_import_path(import_object(public_name(path))) or path


def config_hash(config: dict[str, Any]) -> str:
    """A digest of a resolved configuration, the same for two runs that have to give the same result.

    Arguments left at their defaults are left out, so that a later version's new argument changes no digest.
    """

    def chosen(value: Any, key: str, signature: dict[str, Any]) -> Any:
        if key == "data.augment" and value is not None:
            return [chosen(augmentation, f"{key}.{number}", {}) for number, augmentation in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if "class_path" in value:
            defaults = _defaults(import_object(name := one_spelling(value["class_path"])))
            return [name, chosen(value.get("init_args") or {}, f"{key}.init_args", defaults)]
        kept = {}
        for name, argument in sorted(value.items()):
            path = f"{key}.{name}" if key else name
            if path not in PLACES and (name not in signature or argument != signature[name]):
                kept[name] = chosen(argument, path, _defaults(SECTIONS[path]) if path in SECTIONS else {})
        return kept

    return hashlib.sha256(json.dumps(chosen(config, "", {}), sort_keys=True).encode()).hexdigest()[:16]


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
