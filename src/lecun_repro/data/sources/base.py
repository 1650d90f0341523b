"""What every source of digits is, and how one is found by its name."""

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from lecun_repro.data.draws import Draw, DrawName, in_file_order, permuted
from lecun_repro.data.splits import Split
from lecun_repro.errors import BadArgument

FrameName = Literal["article", "paper", "normalised"]


class Source(ABC):
    """Where digits come from. A subclass says how many it has and loads them; both parts have to hold some.

    A source of this package is the one subclass in `data/sources/<name>.py`, and `data.source: <name>` finds it there.
    One of your own is named by its import path, `data.source: my_package.letters.Letters`, or is the class of the data,
    `data.class_path` with `init_args`, the arguments of its constructor. It is built several times; let `load` do the
    reading.
    """

    counts: ClassVar[Mapping[str, int]]
    """Digits that the source has, for `train` and `test`."""

    frames: ClassVar[tuple[FrameName, ...]] = ("article",)
    """The frames that the source can show its digits in."""

    frame: FrameName = "article"
    """The one that `load` shows them in."""

    def sizes(self, draw: DrawName | int) -> Mapping[str, int]:
        """Digits that a draw takes of `train` and `test` where no other numbers are asked for: by default, all."""
        return self.counts

    def order(self, draw: DrawName | int) -> Draw:
        """All digits in the order of a draw: by default as in the files, or permuted by an integer."""
        return permuted(self.counts, draw) if isinstance(draw, int) else in_file_order(self.counts)

    @abstractmethod
    def load(self, part: str, indices: np.ndarray, root: Path) -> Split:
        """The digits at `indices` of a part, in that order.

        Args:
            part: `train` or `test`.
            indices: (n,) integers into the part's digits.
            root: Folder of the data files; they may also come from elsewhere.

        Raises:
            DataError: A file is missing, or not what it should be.
        """


SourceSpec = str | dict[str, Any]  # a name, or an import path as `class_path` with its `init_args`


def source_name(spec: SourceSpec) -> str:
    """A source's name, or its import path, without arguments."""
    return str(spec.get("class_path")) if isinstance(spec, dict) else spec


def find_source(spec: SourceSpec) -> Source:
    """The source of this name: one of this package, or a `Source` of one's own by its import path.

    Raises:
        BadArgument: There is none, or its constructor refuses its arguments.
    """
    name, arguments = source_name(spec), spec.get("init_args") or {} if isinstance(spec, dict) else {}
    ours = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name != "base"]
    allowed = f"{', '.join(ours)}, or the import path of a lecun_repro.Source of your own (docs/EXTENDING.md)"
    if name in ours and not arguments:
        module = import_module(f"{__package__}.{name}")
        kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Source)]
        return next(kind() for kind in kinds if kind.__module__ == module.__name__)
    if "." not in str(name):
        raise BadArgument("source", name, allowed)
    try:
        kind = pkgutil.resolve_name(name)
        if isinstance(kind, type) and issubclass(kind, Source):  # all else is never called
            return kind(**arguments)
    except BadArgument:
        raise
    except Exception as error:  # of a module of one's own, whatever it may be
        raise BadArgument("source", name, f"{allowed} ({error})") from None
    raise BadArgument("source", f"{name}, which is no Source", allowed)
