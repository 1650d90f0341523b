"""Configurations that say what differs: `base: ../article/5_dropout_relu.yaml`, and the change.

A base is put in before anything is parsed, so what is checked, shown, run and kept is the configuration in full.
"""

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from lecun_repro.cli.config_files import PACKAGED, _Loader, found, load_config, packaged
from lecun_repro.errors import BadArgument
from lecun_repro.runs.identity import public_names, value_at

CONFIG = ("--config", "-c")
# Flags of a section or a class, whose value may be a file too.
PARTS = ("--trainer", "--model", "--data", "--optimizer", "--lr_scheduler", "--model.network", "--model.head")
NAME = "trainer.logger.init_args.name"


def in_full(args: Sequence[str]) -> list[str]:
    """A command line whose configurations stand there in full, in braces, with our classes by their public names.

    Raises:
        UserError: a configuration that cannot be read, or whose base is missing, circular or outside of its tree.
    """
    options = [(given, flag, found(value) if flag in CONFIG else value) for given, flag, value in _options(args)]
    named = {os.path.realpath(value) for _, flag, value in options if flag in CONFIG}
    parts: list[tuple[str, list[str]]] = []  # a configuration file or '', and its arguments
    for as_given, flag, value in options:
        if flag in CONFIG:
            tree, bases = configuration(value, named)
            # What it starts from is part of it; standing before it as well, that would leave arguments behind.
            parts = [part for part in parts if part[0] not in bases]
            parts.append((os.path.realpath(value), [flag, as_yaml(tree)]))
        elif flag in PARTS and os.path.isfile(value):
            parts.append(("", [flag, as_yaml(load_config(value))]))
        else:
            parts.append(("", [public_names(arg) for arg in as_given]))
    return [arg for _, of_part in parts for arg in of_part]


def _options(args: Sequence[str]) -> Iterator[tuple[list[str], str, str]]:
    """The arguments of each flag that a file may follow, with flag and value; any other argument with neither."""
    rest = list(args)
    while rest:
        flag, equals, value = (arg := rest.pop(0)).partition("=")
        if flag not in CONFIG + PARTS or not (equals or rest):
            yield [arg], "", ""
        elif equals:
            yield [arg], flag, value
        else:
            yield [arg, rest[0]], flag, rest.pop(0)


def configuration(file: str, named: Collection[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """What a configuration file says in full, put onto its base and that onto its own, and the bases' real paths.

    Bases lie in the file's tree, the folder `configs` that it is in, else its own folder; or in the `configs` of the
    working directory; or among the packaged.

    Args:
        file: The file, or a configuration in braces, which counts as a file of the working directory.
        named: Real paths of the files that the command line names, which may be bases wherever they lie.

    Raises:
        UserError: a file that cannot be read, or a base that is missing, circular or outside of the tree.
    """
    in_braces = file.lstrip().startswith("{")
    at = Path(os.path.abspath("braces" if in_braces else file))
    tree = _tree_of(at)
    change = load_config(file)
    levels = [(at, change)]
    chain = [os.path.realpath(at)]
    while "base" in change:
        name = change.pop("base")
        told = f"{name} in {os.path.relpath(at)}"
        if not isinstance(name, str) or not name or "\0" in name:
            raise BadArgument("base", told, "the path of a YAML file, relative to the file that names it")
        at = Path(os.path.normpath(at.parent / name))
        if not at.exists() and (ours := packaged(name)) is not None:
            at, tree = ours, PACKAGED
        real = os.path.realpath(at)
        if real in named:
            tree = _tree_of(at)
        elif not any(map(at.is_relative_to, (tree, Path.cwd() / "configs"))):  # links within are their owner's affair
            allowed = "a file inside, or one that an earlier --config names"
            raise BadArgument("base", f"{told}, outside of {tree}", allowed)
        if real in chain:
            raise BadArgument("base", f"{told}, which leads back to itself", "a file that does not start from this one")
        if not at.is_file():
            raise BadArgument("base", f"{told}, {'a folder' if at.is_dir() else 'no such file'}", "a YAML file")
        change = load_config(str(at))
        levels.append((at, change))
        chain.append(real)
    _, full = levels.pop()
    for at, change in reversed(levels):
        full = merged(full, change)
        if value_at(full, NAME) is not None and value_at(change, NAME) is None and not in_braces:
            full = merged(full, {"trainer": {"logger": {"init_args": {"name": at.stem}}}})
    return full, chain[1:]


def _tree_of(file: Path) -> Path:
    return next((folder for folder in file.parents if folder.name == "configs"), file.parent)


def merged(base: Any, change: Any) -> Any:
    """`change` put onto `base`: mappings key by key, all else replaced, a class of its own with all its arguments."""
    if isinstance(base, str) and isinstance(change, dict) and change.keys() == {"init_args"}:
        base = {"class_path": base}  # a class by its name alone
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    if "class_path" in change and not _same_class(change["class_path"], base.get("class_path")):
        return change
    return base | {key: merged(base[key], value) if key in base else value for key, value in change.items()}


def _same_class(one: Any, other: Any) -> bool:
    """Whether two class paths are one class, as far as can be told without importing any."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    (module, _, name), (other_module, _, other_name) = one.rpartition("."), other.rpartition(".")
    if not module or not other_module:
        return name == other_name
    return getattr(sys.modules.get(module), name, one) == getattr(sys.modules.get(other_module), other_name, other)


class _Dumper(yaml.SafeDumper):
    """Writes plain values so that the parser's loader reads the same."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        return True


def as_yaml(tree: dict[str, Any], in_braces: bool = True) -> str:
    """A tree as YAML, in braces for a command line or in lines for a file."""
    return yaml.dump(tree, Dumper=_Dumper, default_flow_style=in_braces, sort_keys=False, width=float("inf"))


def text_in_full(file: Path) -> str:
    """A configuration file's text; if it has a base, that of the two together."""
    tree, bases = configuration(str(file))
    return as_yaml(tree, in_braces=False) if bases else file.read_text(encoding="utf-8-sig")
