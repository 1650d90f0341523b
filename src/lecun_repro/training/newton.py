"""The paper's training algorithm: Newton's method with a positive, diagonal approximation of the Hessian.

The paper: "a special version of Newton's algorithm that uses a positive, diagonal approximation of the Hessian" (LeCun
1987; Becker & LeCun 1988). Later papers of LeCun call it stochastic diagonal Levenberg-Marquardt, with mu = 0.02 and
100 to 500 digits for the curvatures, before each pass; what the paper itself used is not known.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lecun_repro.errors import BadArgument


class StochasticDiagonalLM(Optimizer):
    """Gradient descent at a rate per weight, lr / (mu + h): h is the weight's positive second derivative of the loss.

    The curvatures h are not computed here: `DigitClassifier` sets them before each pass, from `sample` training digits
    (see `lecun_repro.curvature`). Until then each is 1.

    lr and mu are in the loss's own unit. TanhMSE is a mean over the ten outputs, with a second derivative of 0.2 at an
    output; half a sum of squares, as in LeCun's papers, has 1: their mu of 0.02 is 0.004 here.

    Args:
        params: The parameters, or groups of them.
        lr: Global rate, eta in the papers.
        mu: What keeps the rate of a weight of no curvature from growing without bound, above 0.
        sample: How many training digits the curvatures are estimated on; all, where there are fewer.

    Raises:
        BadArgument: a value outside the above.
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.001, mu: float = 0.02, sample: int = 500) -> None:
        if not (0 <= lr < math.inf):
            raise BadArgument("lr", lr, "a finite number from 0")
        if not (0 < mu < math.inf):
            raise BadArgument("mu", mu, "a finite number above 0")
        if sample < 1:
            raise BadArgument("sample", sample, "an integer from 1")
        super().__init__(params, {"lr": lr, "mu": mu, "sample": sample})
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["curvature"] = torch.ones_like(p)

    def set_curvature(self, curvatures: Mapping[nn.Parameter, Tensor]) -> None:
        """New curvatures, of some or all parameters."""
        for p, curvature in curvatures.items():
            self.state[p]["curvature"].copy_(curvature)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients that are there."""
        if closure is not None:
            raise ValueError("StochasticDiagonalLM takes no closure: its updates need the gradient alone")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] / (group["mu"] + self.state[p]["curvature"]) * p.grad)
