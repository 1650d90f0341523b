"""Lion (Chen et al. 2023, arXiv:2302.06675), as a user would write it: an optimizer of one's own, named in a YAML."""

import torch


class Lion(torch.optim.Optimizer):
    """The sign of a mix of momentum and gradient, with decoupled weight decay.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate: how far every weight moves in an update.
        betas: Share of the momentum in the direction, and in the next momentum.
        weight_decay: Share of a weight, times `lr`, that an update takes away.
    """

    def __init__(self, params, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            first, second = group["betas"]
            for weights in group["params"]:
                state = self.state[weights]
                if not state:
                    state["momentum"] = torch.zeros_like(weights)
                momentum = state["momentum"]
                weights.mul_(1 - group["lr"] * group["weight_decay"])
                weights.add_((first * momentum + (1 - first) * weights.grad).sign(), alpha=-group["lr"])
                momentum.mul_(second).add_(weights.grad, alpha=1 - second)
