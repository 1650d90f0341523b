"""Where a configuration may write."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from lecun_repro.cli.parser import flags
from lecun_repro.errors import BadArgument

INSIDE = "a path inside the working directory; any other on the command line alone, as --{key} {value}"


def check_paths(config: Namespace, args: Sequence[str]) -> None:
    """Refuses what a configuration file lets the trainer and its parts write outside of the working directory.

    Whoever wants that says so by a flag of that very key and value. Data may be read from elsewhere, see
    `may_download`.

    Raises:
        UserError: a path that leads out and is not that of a flag.
    """
    for key, value in [*leaves(config.trainer, "trainer"), ("output", config.get("output"))]:
        is_path = isinstance(value, str | os.PathLike) and not key.endswith(".class_path")
        if is_path and leads_out(value) and not by_flag(key, value, args):
            raise BadArgument(key, str(value), INSIDE.format(key=key, value=value))


def may_download(config: Namespace, args: Sequence[str]) -> bool:
    """Whether missing data may be put under the configured `data.root`: inside, or where a flag or the user has it."""
    root = config.data.root
    return root is None or not leads_out(root) or by_flag("data.root", root, args)


def by_flag(key: str, value: Any, args: Sequence[str]) -> bool:
    """Whether a flag of this key, whose classes' `init_args` and places in lists may be left out, has this value."""
    names = {name.lstrip("-").replace(".init_args.", ".") for name, given in flags(args) if given == str(value)}
    return re.sub(r"\.init_args(?=\.)|\[\d+\]", "", key) in names


def leads_out(path: str | os.PathLike[str]) -> bool:
    """Whether a path ends outside of the working directory; symbolic links are their owner's affair."""
    expanded = os.path.expanduser(os.path.expandvars(path))
    return "://" in expanded or not Path(os.path.abspath(expanded)).is_relative_to(Path.cwd())


def leaves(tree: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every plain value in a tree, with its key."""
    if isinstance(tree, dict | Namespace):
        for name, value in vars(tree).items() if isinstance(tree, Namespace) else tree.items():
            yield from leaves(value, f"{key}.{name}")
    elif isinstance(tree, list | tuple):
        for number, value in enumerate(tree):
            yield from leaves(value, f"{key}[{number}]")
    else:
        yield key, tree
