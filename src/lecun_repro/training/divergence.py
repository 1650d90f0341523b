"""Training that has diverged: a non-finite loss ends the fit in its pass.

What it leaves, `diverged.json`, stays apart from `results.json`, so that nothing can take it for a result; `reproduce`
neither repeats such a run nor leaves it out of its report.
"""

import math
from typing import Any

from torch import Tensor

FILE = "diverged.json"


class Diverged(RuntimeError):
    """A loss was infinite or not a number. As soon as one is, all weights are, or soon will be.

    Args:
        where: Of what the loss was: `update 1,234` or `the test split`.
        loss: The loss.
        passes: The pass it happened in, counted from 1.
        rate: The learning rate of that pass.
    """

    def __init__(self, where: str, loss: float, passes: int, rate: float) -> None:
        self.where, self.loss, self.passes, self.rate = where, loss, passes, rate
        super().__init__(
            f"diverged: the loss of {where} in pass {passes} is {loss} with a learning rate of {rate:g}; "
            "try a smaller optimizer.init_args.lr, by a factor of 10 say"
        )

    def record(self) -> dict[str, Any]:
        """What `diverged.json` says of it; the loss as text, as JSON knows neither `nan` nor `inf`."""
        return {"pass": self.passes, "of": self.where, "loss": str(self.loss), "rate": self.rate}


def check_losses(losses: Tensor, first: int, passes: int, rate: float) -> None:
    """Raises Diverged at the first of a block's losses (updates,) that is not finite; `first` counts updates from 0."""
    finite = losses.isfinite()
    if not finite.all():
        at = int((~finite).nonzero()[0])
        raise Diverged(f"update {first + at + 1:,}", float(losses[at]), passes, rate)


def check_loss(split: str, loss: float, passes: int, rate: float) -> None:
    """Raises Diverged if a split's mean loss is not finite."""
    if not math.isfinite(loss):
        raise Diverged(f"the {split} split", loss, passes, rate)
