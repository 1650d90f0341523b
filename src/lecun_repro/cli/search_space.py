"""What a search may change, as a YAML of dotted keys: ranges, choices, and branches that have keys of their own.

optimizer.init_args.lr: {low: 1e-5, high: 1e-2, log: true}   # a number; an integer where both ends are
model.network.init_args.activation: [relu, gelu]             # one of these; of lists, one of [[…], […]]
optimizer:                                                   # one of these branches, each with its own arguments
  - {class_path: torch.optim.AdamW, init_args: {lr: {low: 1e-4, high: 1e-2, log: true}}}
  - {class_path: torch.optim.RMSprop, init_args: {lr: {low: 1e-5, high: 1e-3, log: true}}}
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from lecun_repro.cli.config_files import load_config
from lecun_repro.cli.parser import flags
from lecun_repro.errors import BadArgument
from lecun_repro.runs.identity import value_at

RANGE = "{low: …, high: …}, low below high, and log: true (from above 0) or step: a number above 0"
RANGE_KEYS: dict[str, Any] = {"low": None, "high": None, "log": False, "step": None}
OF_THE_SEARCH = {
    "seed_everything": "--seeds in its place",
    "data.fold": "--folds in its place",
    "data.holdout": "--data.holdout in its place",
    "trainer.logger": "other keys, as the search names the folders",
    "base": "other keys, as --config names the file",
}


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included; integers where `integer`."""

    low: float
    high: float
    log: bool
    step: float | None
    integer: bool


class Choice(NamedTuple):
    """One of several values, by their labels; a mapping among them is a branch, with ranges and choices of its own."""

    values: dict[str, Any]


Suggest = Callable[[str, Range | Choice], Any]
"""Takes the name of a range or choice, and gives a number or a label."""


def load_space(path: str) -> dict[str, Any]:
    """The contents of a space's file: plain values, ranges and choices in mappings by their keys.

    Raises:
        BadArgument: The file cannot be read, or a key in it is none or has what is neither range nor choice.
    """
    try:
        content = load_config(path)
    except BadArgument as error:
        raise BadArgument("space", error.given, "a YAML file such as configs/search/adamw.yaml") from None
    tree = _read(content, "")
    if next(leaves(tree), None) is None:
        raise BadArgument("space", path, f"a range or a list of choices for one key at least: {RANGE}, or […, …]")
    for key, instead in OF_THE_SEARCH.items():
        if value_at(tree, key) is not None:
            raise BadArgument(key, "in a space", instead)
    return tree


def _read(value: Any, key: str) -> Any:
    if isinstance(value, list):
        return _choice(value, key)
    if not isinstance(value, dict):
        return value
    if key and value.keys() & {"low", "high"}:
        return _range(value, key)
    tree: dict[str, Any] = {}
    for name, content in value.items():
        inner = f"{key}.{name}" if key else name
        *around, last = str(name).split(".")
        at = tree
        for part in around:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise BadArgument(inner, content, "a key that is not within another range or choice")
        if not all([*around, last]) or last in at:
            raise BadArgument(inner, "given twice" if last in at else content, "one value for each dotted key")
        at[last] = _read(content, inner)
    return tree


def _range(value: dict[str, Any], key: str) -> Range:
    low, high, log, step = (value.get(name, default) for name, default in RANGE_KEYS.items())
    numbers = [low, high, *([] if step is None else [step])]
    good = value.keys() <= RANGE_KEYS.keys() and isinstance(log, bool)
    good = good and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    if not good or not low < high or (log and (low <= 0 or step is not None)) or (step is not None and step <= 0):
        raise BadArgument(key, value, RANGE)
    return Range(low, high, log, step, all(type(number) is int for number in numbers))


def _choice(value: list[Any], key: str) -> Choice:
    texts = [json.dumps(each, sort_keys=True, default=str) for each in value]
    if not value or len(set(texts)) < len(texts):
        raise BadArgument(key, value, "a list of different choices")
    labels = [_label(each) for each in value]
    twice = {label for label, count in Counter(labels).items() if count > 1}
    labels = [f"{label} {number}" if label in twice else label for number, label in enumerate(labels, start=1)]
    branches = [
        _read(each, f"{key}[{label}]") if isinstance(each, dict) else each
        for label, each in zip(labels, value, strict=True)
    ]
    return Choice(dict(zip(labels, branches, strict=True)))


def _label(value: Any) -> str:
    """A class's own name; of several in a list, with their arguments; or a value as one writes it in YAML."""
    if isinstance(value, dict) and isinstance(value.get("class_path"), str):
        return value["class_path"].rpartition(".")[2]
    if isinstance(value, list) and value and all(isinstance(each, dict) and "class_path" in each for each in value):
        parts = [", ".join(map(str, (each.get("init_args") or {}).values())) for each in value]
        return " + ".join(f"{_label(each)}({part})" for each, part in zip(value, parts, strict=True))
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Range | Choice]]:
    """Every range and choice by name: its dotted key, with the branch it is in: `optimizer[AdamW].init_args.lr`."""
    if isinstance(tree, Range | Choice):
        yield name, tree
    if isinstance(tree, Choice):
        for label, branch in tree.values.items():
            yield from leaves(branch, f"{name}[{label}]")
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{name}.{key}" if name else key)


def settings(tree: Any, suggest: Suggest, name: str = "") -> Any:
    """The change to a configuration that is suggested; a name is asked for only within the branch that is taken."""
    if isinstance(tree, Range):
        return suggest(name, tree)
    if isinstance(tree, Choice):
        label = suggest(name, tree)
        return settings(tree.values[label], suggest, f"{name}[{label}]")
    if isinstance(tree, dict):
        return {key: settings(value, suggest, f"{name}.{key}" if name else key) for key, value in tree.items()}
    return tree


def probes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Changes among which each range has both its ends, and each choice each of its values."""
    asked: Counter[str] = Counter()
    sizes: dict[str, int] = {}

    def suggest(name: str, spec: Range | Choice) -> Any:
        values = [spec.low, spec.high] if isinstance(spec, Range) else [*spec.values]
        sizes[name], number = len(values), asked[name]
        asked[name] += 1
        return values[number % len(values)]

    while not sizes or any(asked[name] < size for name, size in sizes.items()):
        yield settings(tree, suggest)


def refuse_flags(tree: dict[str, Any], overrides: Sequence[str]) -> None:
    """Refuses flags of `fit` that would win over what is searched. Raises BadArgument."""
    searched = {_plain(name) for name, _ in leaves(tree)}
    for flag, value in flags(overrides):
        key = _plain(flag.lstrip("-"))
        for name in searched:
            if f"{name}.".startswith(f"{key}.") or f"{key}.".startswith(f"{name}."):
                raise BadArgument(flag.lstrip("-"), value, f"no flag, as the space has {name}")


def _plain(name: str) -> str:
    """A name as a flag may have it: without branches and `init_args`."""
    parts = [part.partition("[")[0] for part in name.split(".")]
    return ".".join(part for part in parts if part != "init_args")
