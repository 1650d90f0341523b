"""Where a configuration may write."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lecun_repro.errors import fault


def check_paths(config: dict[str, Any], args: Sequence[str]) -> None:
    """Refuses what a configuration file lets the trainer and its parts write outside of the working directory.

    Whoever wants that says so on the command line.

    Args:
        config: The resolved configuration.
        args: The command line.

    Raises:
        UserError: a path that leads out and is not part of the command line.
    """
    given = [arg for arg in args if not arg.lstrip().startswith("{")]
    written = [*_strings(config["trainer"], "trainer"), *_strings(config.get("output"), "output")]
    for key, value in written:
        if leads_out(value) and not any(value in arg for arg in given):
            allowed = "a path inside the working directory; any other on the command line alone, as"
            raise fault(key, value, f"{allowed} --{key} {value}")


def leads_out(path: str) -> bool:
    """Whether a path ends outside of the working directory; symbolic links are their owner's affair."""
    expanded = os.path.expanduser(os.path.expandvars(path))
    if "://" in expanded:
        return True
    inside = os.path.normpath(expanded).split(os.sep)[0] != os.pardir
    return not inside or (os.path.isabs(expanded) and not Path(expanded).is_relative_to(Path.cwd()))


def _strings(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text in a tree, with its key; the names of classes aside."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            if name != "class_path":
                yield from _strings(item, f"{key}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, f"{key}[{number}]")
