"""What `results.json` and `diverged.json` hold: one definition for those who write them and those who read them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lecun_repro.runs.typed_json import field, fields_of, record, refusal
from lecun_repro.training.evaluation import SplitResult
from lecun_repro.training.rejection import SHARES


class Point(NamedTuple):
    """A split after one pass."""

    loss: float
    error: float  # percent
    misses: int


class CurvePass(NamedTuple):
    """An entry of the learning curve: the splits that were evaluated after a pass."""

    pass_: int  # from 1
    splits: dict[str, Point]

    @classmethod
    def read(cls, value: Any, place: str) -> "CurvePass":
        """An entry as checkpoints and older files have it, an object for each pass. Raises UserError, see `record`."""
        points = {split: point for split, point in fields_of(value, place).items() if split != "pass"}
        splits = {split: record(Point, point, f"{place}{split}.") for split, point in points.items()}
        return record(cls, value, place, splits=splits)

    def to_json(self) -> dict[str, Any]:
        return {"pass": self.pass_, **{split: point._asdict() for split, point in self.splits.items()}}


class Columns(NamedTuple):
    """A split's learning curve in the file; its errors follow from the misses."""

    pass_: list[int]
    loss: list[float]  # to six significant digits
    misses: list[int]


def columns(curve: Sequence[CurvePass]) -> dict[str, dict[str, list[Any]]]:
    """A learning curve as its file has it: each split's columns."""
    splits: dict[str, dict[str, list[Any]]] = {}
    for entry in curve:
        for split, point in entry.splits.items():
            of_split = splits.setdefault(split, {"pass": [], "loss": [], "misses": []})
            for name, value in (("pass", entry.pass_), ("loss", float(f"{point.loss:.6g}")), ("misses", point.misses)):
                of_split[name].append(value)
    return splits


def read_curve(value: Any, place: str, sizes: Mapping[str, int]) -> list[CurvePass]:
    """A learning curve from its file.

    Args:
        value: Its columns, or in files of older versions a list of passes.
        place: See `record`.
        sizes: Digits of each split.

    Raises:
        UserError: See `record`; and columns that are of unequal lengths or of no split.
    """
    if isinstance(value, list):
        return [CurvePass.read(entry, f"{place}[{number}].") for number, entry in enumerate(value)]
    passes: dict[int, dict[str, Point]] = {}
    for split, content in fields_of(value, place).items():
        read = record(Columns, content, f"{place}.{split}.")
        if split not in sizes:
            raise refusal(f"{place}.{split}", content, f"curves of {', '.join(sizes)}")
        n, lengths = sizes[split], {len(set(read.pass_)), len(read.pass_), len(read.loss), len(read.misses)}
        if len(lengths) > 1 or max(read.misses, default=0) > n:
            allowed = f"as many different passes as losses and misses, which are integers from 0 to {n}"
            raise refusal(f"{place}.{split}", content, allowed)
        for number, loss, misses in zip(*read, strict=True):
            passes.setdefault(number, {})[split] = Point(loss, 100 * misses / n, misses)
    return [CurvePass(number, passes[number]) for number in sorted(passes)]


class Origin(NamedTuple):
    """What a run started from, where it was not a network's initial weights."""

    from_weights: str  # path of the checkpoint
    digest: str  # of its weights


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
    origin: Origin | None = None  # not in the file where it is None
    fold: str | None = None  # which of the training digits were held out, `2/5` say; likewise
    rules: str | None = None  # digest of the rules that stood beside the results when `reproduce` began it; likewise

    @property
    def evaluation_split(self) -> str:
        """What the run was evaluated on beside its training digits: `test`, or `holdout`."""
        return "holdout" if "holdout" in self.splits else "test"

    @property
    def evaluation(self) -> SplitResult:
        return self.splits[self.evaluation_split]

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
        sizes = {name: split.n for name, split in splits.items()}
        curve = read_curve(field(fields, "curve", place), f"{place}curve", sizes)
        result = record(cls, fields, place, splits=splits, curve=curve)
        if not curve:
            raise refusal(f"{place}curve", curve, "one pass or more")
        for name in ("fit_seconds", "us_per_update"):
            if getattr(result, name) < 0:
                raise refusal(f"{place}{name}", fields[name], "a number from 0")
        return result

    def to_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, value in self._asdict().items():
            if name == "splits":
                fields |= {split: result._asdict() for split, result in self.splits.items()}
            elif name in ("origin", "fold", "rules"):
                fields |= {} if value is None else {name: value._asdict() if name == "origin" else value}
            else:
                fields[name] = columns(self.curve) if name == "curve" else value
        return fields


def as_text(fields: Mapping[str, Any]) -> str:
    """The text of a `results.json` or `diverged.json`: a line for each field."""
    lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_split(value: Any, place: str) -> SplitResult:
    """A JSON object as a split's result; a collected one need not list what is missed, nor say anything of rejection.

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
        ("predicted", max(split.predicted, default=0) < 10 and len(split.predicted) in (0, misses), f"{misses} digits"),
        ("rejection", split.rejection is None or len(split.rejection) == len(SHARES), f"{len(SHARES)} numbers"),
    ):
        if not good:
            raise refusal(f"{place}{name}", getattr(split, name), allowed)
    return split


def distinct(places: list[int], count: int, n: int) -> bool:
    return len(set(places)) == len(places) and len(places) in (0, count) and max(places, default=0) < n


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
