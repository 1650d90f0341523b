"""Where a configuration may write."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from lecun_repro.cli.parser import flags
from lecun_repro.errors import BadArgument


def check_paths(config: Namespace, args: Sequence[str]) -> None:
    """Refuses what a configuration file lets the trainer and its parts write outside of the working directory.

    Whoever wants that says so by a flag of that very key and value.

    Args:
        config: The resolved configuration.
        args: The command line.

    Raises:
        UserError: a path that leads out and is not that of a flag.
    """
    by_flag = {(name.lstrip("-").replace(".init_args", ""), value) for name, value in flags(args)}
    for key, value in [*leaves(config.trainer, "trainer"), ("output", config.get("output"))]:
        flag = re.sub(r"\.init_args|\[\d+\]", "", key), value
        if isinstance(value, str) and leads_out(value) and not key.endswith("class_path") and flag not in by_flag:
            allowed = f"a path inside the working directory; any other on the command line alone, as --{key} {value}"
            raise BadArgument(key, value, allowed)


def leads_out(path: str) -> bool:
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
