"""What `results.json` and `diverged.json` hold: one definition for those who write them and those who read them."""

import sys
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from lecun_repro.errors import BadArgument, UserError, shown
from lecun_repro.training.evaluation import SplitResult
from lecun_repro.training.rejection import SHARES

Record = TypeVar("Record", bound=tuple)


class Point(NamedTuple):
    """A split after one pass."""

    loss: float
    error: float  # percent
    misses: int


class CurvePass(NamedTuple):
    """An entry of the learning curve: the splits that were evaluated after a pass, in the file beside its number."""

    pass_: int  # from 1
    splits: dict[str, Point]

    @classmethod
    def read(cls, value: Any, place: str) -> "CurvePass":
        """A JSON object as an entry. Raises UserError, see `record`."""
        points = {split: point for split, point in fields_of(value, place).items() if split != "pass"}
        splits = {split: record(Point, point, f"{place}{split}.") for split, point in points.items()}
        return record(cls, value, place, splits=splits)

    def to_json(self) -> dict[str, Any]:
        return {"pass": self.pass_, **{split: point._asdict() for split, point in self.splits.items()}}


class RunResult(NamedTuple):
    """The contents of `results.json`, in its order: one fit."""

    row: str
    seed: int
    source: str
    draw: str | int
    passes: int
    updates: int
    parameters: int
    compiled: bool
    fit_seconds: float
    us_per_update: float
    splits: dict[str, SplitResult]  # at the end of the fit; in the file each stands by its name
    curve: list[CurvePass]
    versions: dict[str, str]
    config_hash: str

    @property
    def train(self) -> SplitResult:
        return self.splits["train"]

    @property
    def test(self) -> SplitResult:
        return self.splits["test"]

    @classmethod
    def read(cls, value: Any, place: str) -> "RunResult":
        """A JSON object as a result; its splits are `train`, `test` or `holdout`, and whatever else has misses.

        Raises:
            UserError: See `record` and `read_split`.
        """
        fields = fields_of(value, place)
        names = ["train", "holdout" if "holdout" in fields else "test"]
        names += [name for name, content in fields.items() if isinstance(content, dict) and "misses" in content]
        splits = {name: read_split(field(fields, name, place), f"{place}{name}.") for name in dict.fromkeys(names)}
        entries = typed(list[object], field(fields, "curve", place), f"{place}curve")
        curve = [CurvePass.read(entry, f"{place}curve[{number}].") for number, entry in enumerate(entries)]
        result = record(cls, fields, place, splits=splits, curve=curve)
        for name, good in {
            "curve": len(curve) > 0,
            "fit_seconds": result.fit_seconds >= 0,
            "us_per_update": result.us_per_update >= 0,
        }.items():
            if not good:
                raise refusal(f"{place}{name}", fields[name], "what fit measures")
        return result

    def to_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, value in self._asdict().items():
            if name == "splits":
                fields |= {split: result._asdict() for split, result in self.splits.items()}
            else:
                fields[name] = [entry.to_json() for entry in self.curve] if name == "curve" else value
        return fields


def read_split(value: Any, place: str) -> SplitResult:
    """A JSON object as a split's result; those of older versions say nothing of rejection.

    Raises:
        UserError: See `record`; and counts that contradict one another.
    """
    split = record(SplitResult, value, place)
    n, misses = split.n, split.misses
    for name, good, allowed in (
        ("n", n > 0, "an integer from 1"),
        ("misses", misses <= n, f"an integer from 0 to {n}"),
        ("error", 0 <= split.error <= 100, "a number from 0 to 100"),
        ("missed", distinct(split.missed, misses, n), f"{misses} different integers from 0 to {n - 1}"),
        ("predicted", len(split.predicted) == misses and max(split.predicted, default=0) < 10, f"{misses} digits"),
        ("rejection", split.rejection is None or len(split.rejection) == len(SHARES), f"{len(SHARES)} numbers"),
    ):
        if not good:
            raise refusal(f"{place}{name}", getattr(split, name), allowed)
    return split


def distinct(places: list[int], count: int, n: int) -> bool:
    return len(set(places)) == len(places) == count and max(places, default=0) < n


class Divergence(NamedTuple):
    """Where a loss was no longer finite."""

    pass_: int  # from 1
    of: str  # `update 1,234` or `the test split`
    loss: str  # `nan`, `inf` or `-inf`
    rate: float

    def __str__(self) -> str:
        return f"the loss of {self.of} in pass {self.pass_} was {self.loss} (learning rate {self.rate:g})"


class DivergedRun(NamedTuple):
    """What a report tells of a `diverged.json`, which has those fields of a result as well that are no measurements."""

    row: str
    seed: int
    diverged: Divergence

    @classmethod
    def read(cls, value: Any, place: str) -> "DivergedRun":
        """A JSON object as such a run. Raises UserError, see `record`."""
        return record(cls, value, place)


# Reading JSON by type -------------------------------------------------------------------------------------------------

WORDS = {float: "a finite number", int: "an integer from 0", str: "a text", bool: "true or false", list: "a list"}
hints_of = cache(get_type_hints)


def record(kind: type[Record], value: Any, place: str, **ready: Any) -> Record:
    """A JSON object as a NamedTuple; what else it holds, as that of a later version may, is ignored.

    Args:
        kind: The NamedTuple. A field `pass_` is `pass` in JSON.
        value: The object.
        place: File and record, with a colon, and the names of the fields around the object, each with a dot.
        ready: Fields that have been read.

    Raises:
        UserError: A field that is missing or ill-typed, or a number that is not finite, in one line that names it.
    """
    fields = fields_of(value, place)
    for name, hint in hints_of(kind).items():
        key = name.rstrip("_")
        if name not in ready and (key in fields or name not in kind._field_defaults):  # type: ignore[attr-defined]
            ready[name] = typed(hint, field(fields, key, place), f"{place}{key}")
    return kind(**ready)


def typed(kind: Any, value: Any, place: str) -> Any:
    """A JSON value as one of a type; its integers count something. Raises UserError, see `record`."""
    container, arguments = get_origin(kind) or kind, get_args(kind)
    if container is UnionType:
        fitting = [member for member in arguments if type(value) is member]
        return typed(fitting[0] if fitting else arguments[0], value, place)
    if container is list and isinstance(value, list):
        return [typed(arguments[0], element, f"{place}[{number}]") for number, element in enumerate(value)]
    if container is dict:
        return {
            name: typed(arguments[1], element, f"{place}.{name}") for name, element in fields_of(value, place).items()
        }
    if issubclass(container, tuple):
        return record(container, value, f"{place}.")
    if container is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if container is int and type(value) is int and 0 <= value <= 2**53:
        return value
    if (container not in (int, float) and type(value) is container) or container is object:
        return value
    raise refusal(place, value, WORDS[container])


def fields_of(value: Any, place: str) -> dict[str, Any]:
    """The fields of a JSON object. Raises UserError for something else."""
    if not isinstance(value, dict):
        raise refusal(place, value, "an object")
    return value


def field(fields: dict[str, Any], name: str, place: str) -> Any:
    """A field of an object. Raises UserError where it is missing."""
    if name not in fields:
        raise BadArgument("results", f"{place}{name} is missing", "records that have it")
    return fields[name]


def refusal(place: str, value: Any, allowed: str) -> UserError:
    return BadArgument("results", f"{place.rstrip('.: ')} is {shown(value)}", allowed)
