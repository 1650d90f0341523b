"""Configuration files: read, checked and never trusted."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from jsonargparse._loaders_dumpers import get_yaml_default_loader

import lecun_repro
from lecun_repro.cli.hints import described
from lecun_repro.errors import BadArgument
from lecun_repro.runs.checkpoints import MOST_VALUES, values_of
from lecun_repro.runs.identity import public_names

_PACKAGE = Path(lecun_repro.__file__).parent
# Of an installed package in it; of a clone, where they lie at the top.
PACKAGED = next(filter(Path.is_dir, (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs")), _PACKAGE / "configs")

FILE = "a YAML file, or what lecun-repro configs lists, such as quickstart"
DEEPEST = 50  # values of a configuration within one another; a real one has eight


class _Loader(get_yaml_default_loader()):  # type: ignore[misc]
    """jsonargparse's safe loader, which refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.value:
                raise yaml.constructor.ConstructorError(None, None, "a key that is no plain value", key.start_mark)
            if key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value} is there twice", key.start_mark)
            if isinstance(key.value, str):
                keys.add(key.value)
        return super().construct_mapping(node, deep)


def packaged(name: str) -> Path | None:
    """The packaged file or folder that `name` means: `article/1_baseline`, with or without `configs/` and `.yaml`."""
    with suppress(ValueError, OSError):  # a name that is none
        for ending in ("", ".yaml"):
            path = Path(os.path.normpath(PACKAGED / f"{name.removeprefix('configs/')}{ending}"))
            if PACKAGED in path.parents and path.exists():
                return path
    return None


def found(name: str) -> str:
    """The file of this name, else the packaged one; configurations in braces, and what is neither, as they are."""
    with suppress(ValueError):
        if os.path.lexists(name):
            return name
    return name if name.lstrip().startswith("{") else str(packaged(name) or name)


def load_config(path_or_braces: str) -> dict[str, Any]:
    """The contents of a configuration file, or of a configuration in braces, with our classes by their public names.

    A `base` in it is left as it is, see `overlays`.

    Raises:
        UserError: no such file, or not a YAML mapping of plain values.
    """
    if path_or_braces.lstrip().startswith("{"):
        text, name = path_or_braces, "configuration in braces"
    else:
        text, name = _read(Path(path_or_braces)), path_or_braces
    try:
        tree = yaml.load(public_names(text), Loader=_Loader)
        list(values_of(tree, MOST_VALUES, DEEPEST))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise BadArgument("config", f"{name}{where}: {problem}", "YAML of plain values, indented by spaces") from None
    except (RecursionError, OverflowError):
        raise BadArgument("config", f"{name}: nested too deeply", f"YAML of at most {MOST_VALUES:,} values") from None
    except ValueError as error:  # such as a date or a number of too many digits
        raise BadArgument("config", f"{name}: {error}", "YAML of plain values") from None
    if tree is None:
        raise BadArgument("config", f"{name}: empty", FILE)
    if not isinstance(tree, dict):
        raise BadArgument("config", f"{name}: {described(type(tree))}", "a YAML mapping of keys to values")
    return with_source(tree)


def with_source(tree: dict[str, Any]) -> dict[str, Any]:
    """A configuration in which a class under `data`, as Lightning has it, is the source of the digits.

    Our own data module there is what `data` is anyway.
    """
    data = tree.get("data")
    if not isinstance(data, dict) or "class_path" not in data:
        return tree
    kept = {key: value for key, value in data.items() if key not in ("class_path", "init_args")}
    if str(data["class_path"]).rpartition(".")[2] == "DigitsDataModule":
        return tree | {"data": kept | (data.get("init_args") or {})}
    return tree | {"data": kept | {"source": {key: value for key, value in data.items() if key not in kept}}}


def _read(path: Path) -> str:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ValueError("a pipe or a device")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadArgument("config", f"{path} line {line}: not UTF-8", "a YAML file in UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: also a name that is none
        known: dict[type, str] = {FileNotFoundError: "no such file", IsADirectoryError: "a directory"}
        problem = known.get(type(error)) or getattr(error, "strerror", None) or str(error)
        raise BadArgument("config", f"{path}: {problem}", FILE) from None
