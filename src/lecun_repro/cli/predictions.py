"""What `predict` writes: a line for each digit, with the probability of the guess and its lead over the next best."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import torch

from lecun_repro.errors import printable


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
