"""The checkpoints that the teachers of a head `Taught` come to: files, patterns, or a configuration's runs."""

import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from lecun_repro.errors import BadArgument
from lecun_repro.runs.fits import folder_of
from lecun_repro.runs.identity import TAUGHT, one_spelling
from lecun_repro.runs.record import RESULTS
from lecun_repro.runs.teaching import TEACHERS

FIRST_SEED = 1337
_asked: list[str] = []  # configurations that are being looked up

Resolve = Callable[[str, list[str]], dict[str, Any]]


def fill_in(head: Namespace, resolve: Resolve) -> None:
    """Sets `checkpoints` of a head that is `Taught`.

    Raises:
        BadArgument: A pattern without a file, or a configuration that would be taught by itself.
    """
    if one_spelling(head.class_path) == TAUGHT and head.init_args.checkpoints is None:
        paths = [path for name in names(head.init_args) for path in checkpoints(name, head.init_args.seeds, resolve)]
        head.init_args.checkpoints = [str(path) for path in dict.fromkeys(paths)]


def names(arguments: Any) -> list[str]:
    given = arguments["teachers"]
    return [given] if isinstance(given, str) else list(given)


def checkpoints(name: str, seeds: int, resolve: Resolve) -> list[Path]:
    """The checkpoints that one of the `teachers` stands for; those of a configuration need not be there yet."""
    if is_configuration(name):
        return [folder / "checkpoints" / "last.ckpt" for folder in folders(name, seeds, resolve)]
    found = sorted(glob.glob(os.path.expanduser(name), recursive=True)) or [name]
    if not os.path.isfile(found[0]):
        raise BadArgument(TEACHERS, f"{name}, no such file", "checkpoints, patterns of them, or a configuration")
    return [Path(path) for path in found]


def is_configuration(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def folders(name: str, seeds: int, resolve: Resolve) -> list[Path]:
    """Where `reproduce` keeps the first runs of a configuration."""
    if (real := os.path.realpath(name)) in _asked:
        raise BadArgument(TEACHERS, name, "a configuration that is not taught by itself")
    _asked.append(real)
    try:
        config = resolve(name, [])
    finally:
        _asked.pop()
    return [folder_of(Path(name).stem, config | {"seed_everything": FIRST_SEED + k}) for k in range(seeds)]


def check_trained(arguments: Any) -> None:
    """Raises BadArgument where a configuration's runs are not there, or not at their end."""
    configurations = [name for name in names(arguments) if is_configuration(name)]
    for path in map(Path, arguments["checkpoints"]):
        if configurations and not (path.is_file() and (path.parents[1] / RESULTS).is_file()):
            command = f"reproduce --configs {configurations[0]} --seeds {arguments['seeds']}"
            what = f"{configurations[0]}, of which {path} is not there or not at its end"
            raise BadArgument(TEACHERS, what, f"a configuration whose runs are there, as after `{command}`")
