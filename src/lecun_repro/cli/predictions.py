"""What `predict` is given, image files, and what it writes: a line for each digit.

With the probability of the guess and its lead over the next best.
"""

import csv
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import torch
import yaml

from lecun_repro.errors import printable

IMAGES = "--data.images"


def with_images(args: list[str]) -> list[str]:
    """A command line of `predict` whose image files, which a shell makes of a pattern, are one list."""
    if args[:1] != ["predict"]:
        return args
    images: list[str] = []
    others: list[str] = []
    waits = False  # a flag, for its value
    for arg in args[1:]:
        name, equals, value = arg.partition("=")
        if name == IMAGES:
            images += listed(value) if equals else []
            waits = False
        elif waits or arg.startswith("-"):
            others.append(arg)
            waits = not waits and not equals
        else:
            images += listed(arg)
    return ["predict", *others, *([f"{IMAGES}={json.dumps(images)}"] if images else [])]


def listed(value: str) -> list[str]:
    """What one argument names: a list, as YAML has it, or a file, folder or pattern."""
    with suppress(yaml.YAMLError):
        if value.startswith("[") and isinstance(several := yaml.safe_load(value), list):
            return list(map(str, several))
    return [value]


class Prediction(NamedTuple):
    """What a digit is taken for."""

    digit: int
    probability: float
    margin: float  # the probability's lead over the runner-up's
    runner_up: int


def predicted(probabilities: torch.Tensor) -> list[Prediction]:
    """Confidences (n, 10) -> the two most likely digits of each."""
    highest, digits = probabilities.topk(2)
    pairs = zip(highest.tolist(), digits.tolist(), strict=True)
    return [Prediction(digit, first, first - second, runner_up) for (first, second), (digit, runner_up) in pairs]


def prediction_table(probabilities: torch.Tensor, files: Sequence[str] | None = None) -> str:
    """Confidences (n, 10) -> CSV, each line by the digit's index (from 0) or its file."""
    names = range(len(probabilities)) if files is None else files
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index" if files is None else "file", *Prediction._fields])
    for name, p in zip(names, predicted(probabilities), strict=True):
        writer.writerow([name, p.digit, f"{p.probability:.6f}", f"{p.margin:.6f}", p.runner_up])
    return text.getvalue()


def readable_table(probabilities: torch.Tensor, files: Sequence[str]) -> str:
    """Confidences (n, 10) -> an aligned table."""
    names = [printable(file) for file in files]
    width = max(map(len, ("file", *names)))
    lines = [f"{'file':{width}}  digit  probability  margin  runner-up"]
    for name, p in zip(names, predicted(probabilities), strict=True):
        lines.append(f"{name:{width}}  {p.digit:5}  {p.probability:11.4f}  {p.margin:6.4f}  {p.runner_up:9}")
    return "\n".join(lines) + "\n"


def accuracy(probabilities: torch.Tensor, labels: torch.Tensor) -> str:
    """Confidences (n, 10) and labels (n,), -1 where unknown -> a line on those that are known; none if none is."""
    known = labels >= 0
    n, right = int(known.sum()), int((probabilities.argmax(1) == labels)[known].sum())
    return f"accuracy {right / n:.2%}: {right} of {n} in folders named by their digit\n" if n else ""
