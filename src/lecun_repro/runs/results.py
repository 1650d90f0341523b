"""What `results.json` and `diverged.json` hold: one definition for those who write them and those who read them."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from lecun_repro.errors import UserError, fault, shown
from lecun_repro.training.evaluation import SplitResult
from lecun_repro.training.rejection import SHARES

LARGEST = sys.float_info.max
Allows = Callable[[Any], bool]


class Fields:
    """One JSON object, from which values are taken by name and type; fields that nobody takes are ignored.

    Args:
        value: The object.
        place: File and record, for messages.
        prefix: The names of the fields around it, each with a dot.

    Raises:
        UserError: Something else than an object; and from every method, a value that is missing or not allowed.
    """

    def __init__(self, value: Any, place: str, prefix: str = "") -> None:
        self.value, self.place, self.prefix = value, place, prefix
        if not isinstance(value, dict):
            raise self.refusal("", f"is {shown(value)}", "an object")

    def refusal(self, name: str, fact: str, allowed: str) -> UserError:
        field = f"{self.prefix}{name}".rstrip(".")
        return fault("results", f"{self.place}: {field or 'it'} {fact}", allowed)

    def take(self, name: str, allowed: str, allows: Allows) -> Any:
        if name not in self.value:
            raise self.refusal(name, "is missing", allowed)
        if not allows(self.value[name]):
            raise self.refusal(name, f"is {shown(self.value[name])}", allowed)
        return self.value[name]

    def text(self, name: str) -> str:
        return self.take(name, "a text", lambda value: isinstance(value, str))

    def integer(self, name: str, low: int = 0, high: int = 2**53) -> int:
        return self.take(name, f"an integer from {low} to {high}", _integer(low, high))

    def number(self, name: str, low: float = -LARGEST, high: float = LARGEST) -> float:
        return float(self.take(name, f"a number from {low:g} to {high:g}", _number(low, high)))

    def integers(self, name: str, high: int = 2**53, n: int | None = None, distinct: bool = False) -> list[int]:
        """A list of integers from 0 to `high`, `n` of them."""
        allowed = f"{'' if n is None else f'{n} '}{'different ' if distinct else ''}integers from 0 to {high}"
        return self.take(name, allowed, _list(_integer(0, high), n, distinct))

    def numbers(self, name: str, high: float = LARGEST, n: int | None = None) -> list[float]:
        """A list of numbers from 0 to `high`, `n` of them."""
        return self.take(name, f"{'' if n is None else f'{n} '}numbers from 0 to {high:g}", _list(_number(0, high), n))

    def within(self, name: str) -> "Fields":
        """The object that a field holds."""
        return Fields(self.take(name, "an object", lambda value: True), self.place, f"{self.prefix}{name}.")


def _integer(low: int, high: int) -> Allows:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> Allows:
    return lambda value: type(value) in (int, float) and low <= value <= high  # which NaN is not


def _list(allows: Allows, n: int | None = None, distinct: bool = False) -> Allows:
    def all_allowed(values: Any) -> bool:
        if not isinstance(values, list) or (n is not None and len(values) != n) or not all(map(allows, values)):
            return False
        return not distinct or len(set(values)) == len(values)

    return all_allowed


def split_result(fields: Fields) -> SplitResult:
    """One split's result; those of older versions say nothing of rejection."""
    n = fields.integer("n", 1)
    misses = fields.integer("misses", 0, n)
    rejects = {name for name in ("rejected_at_1_percent", "rejection") if fields.value.get(name) is not None}
    return SplitResult(
        n,
        fields.number("loss"),
        fields.number("error", 0, 100),
        misses,
        fields.integers("missed", n - 1, misses, distinct=True),
        fields.integers("predicted", 9, misses),
        fields.number("rejected_at_1_percent", 0, 100) if "rejected_at_1_percent" in rejects else None,
        fields.numbers("rejection", 100, len(SHARES)) if "rejection" in rejects else None,
    )


class Point(NamedTuple):
    """A split after one pass."""

    loss: float
    error: float  # percent
    misses: int


class CurvePass(NamedTuple):
    """An entry of the learning curve: the splits that were evaluated after a pass."""

    number: int  # of the pass, from 1
    splits: dict[str, Point]

    @classmethod
    def read(cls, fields: Fields) -> "CurvePass":
        points = {}
        for split in fields.value:
            if split != "pass" and isinstance(fields.value[split], dict):
                of_split = fields.within(split)
                loss, error = of_split.number("loss"), of_split.number("error", 0, 100)
                points[split] = Point(loss, error, of_split.integer("misses"))
        return cls(fields.integer("pass", 1), points)

    def to_json(self) -> dict[str, Any]:
        return {"pass": self.number, **{split: point._asdict() for split, point in self.splits.items()}}


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
        """The object as a result; its splits are `train`, `test` (unless there is `holdout`) and what looks like them.

        Raises:
            UserError: A field is missing or ill-typed, in one line that names place and field.
        """
        fields = Fields(value, place)
        second = "holdout" if "holdout" in value else "test"
        further = [name for name, field in value.items() if isinstance(field, dict) and "misses" in field]
        versions = fields.within("versions")
        curve = fields.take("curve", "a list of passes", lambda passes: isinstance(passes, list) and len(passes) > 0)
        return cls(
            fields.text("row"),
            fields.integer("seed", 0, 2**32 - 1),
            fields.text("source"),
            fields.take("draw", "a name or a seed", lambda draw: type(draw) in (str, int)),
            fields.integer("passes"),
            fields.integer("updates"),
            fields.integer("parameters"),
            fields.take("compiled", "true or false", lambda compiled: isinstance(compiled, bool)),
            fields.number("fit_seconds", 0),
            fields.number("us_per_update", 0),
            {split: split_result(fields.within(split)) for split in dict.fromkeys(["train", second, *further])},
            [CurvePass.read(Fields(entry, place, f"curve[{i}].")) for i, entry in enumerate(curve)],
            {name: versions.text(name) for name in versions.value},
            fields.text("config_hash"),
        )

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for name, value in self._asdict().items():
            if name == "splits":
                record |= {split: result._asdict() for split, result in self.splits.items()}
            else:
                record[name] = [entry.to_json() for entry in self.curve] if name == "curve" else value
        return record


class DivergedRun(NamedTuple):
    """What a report tells of a `diverged.json`, which has the fields of a result that are no measurements as well."""

    row: str
    seed: int
    where: str  # of what the loss was: `update 1,234` or `the test split`
    number: int  # of the pass, from 1
    loss: str  # `nan`, `inf` or `-inf`
    rate: float

    @classmethod
    def read(cls, value: Any, place: str) -> "DivergedRun":
        """Raises UserError as RunResult's does."""
        fields = Fields(value, place)
        divergence = fields.within("diverged")
        where, number = divergence.text("of"), divergence.integer("pass", 1)
        loss, rate = divergence.text("loss"), divergence.number("rate")
        return cls(fields.text("row"), fields.integer("seed", 0, 2**32 - 1), where, number, loss, rate)

    def __str__(self) -> str:
        return f"the loss of {self.where} in pass {self.number} was {self.loss} (learning rate {self.rate:g})"
