"""Update formulas, torch's and ours, on one flat vector.

`state` holds the vectors named beside the formula; `step` counts updates. `differentiable=True` selects the formula
that reads its step count from a tensor instead of from Python.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from lecun_repro.training.newton import StochasticDiagonalLM, newton_update

# counts updates.
# `differentiable=True` selects the formula that reads its step count from a tensor instead of from Python.


def _sgd(param: Tensor, grad: Tensor, state: list[Tensor], step: Tensor, lr: Tensor, group: dict[str, Any]) -> None:
    sgd(
        [param],
        [grad],
        list(state) if state else [None],
        has_sparse_grad=False,
        foreach=False,
        lr=lr,  # type: ignore[arg-type]
        **{k: group[k] for k in ("weight_decay", "momentum", "dampening", "nesterov", "maximize")},
    )


def _adam(param: Tensor, grad: Tensor, state: list[Tensor], step: Tensor, lr: Tensor, group: dict[str, Any]) -> None:
    adam(
        [param],
        [grad],
        [state[0]],
        [state[1]],
        state[2:],  # the maxima, with amsgrad
        [step],
        foreach=False,
        differentiable=True,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=lr.clamp_min(1e-30),  # type: ignore[arg-type]  # this formula divides by the rate
        amsgrad=group["amsgrad"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
        decoupled_weight_decay=group["decoupled_weight_decay"],
    )


def _newton(param: Tensor, grad: Tensor, state: list[Tensor], step: Tensor, lr: Tensor, group: dict[str, Any]) -> None:
    newton_update(param, grad, state[0], lr, group["mu"])


Formula = tuple[Callable[..., None], list[str]]


def formula(optimizer: Optimizer) -> Formula | None:
    """The functional update of this optimizer and the names of its state vectors; None where there is none here.

    Exact classes only: a subclass may change the update.
    """
    if len(optimizer.param_groups) != 1:
        return None
    group = optimizer.param_groups[0]
    if not all(p.requires_grad for p in group["params"]):
        return None
    if type(optimizer) is SGD:
        return _sgd, ["momentum_buffer"] if group["momentum"] else []
    if type(optimizer) in (Adam, AdamW):
        return _adam, ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else [])]
    if type(optimizer) is StochasticDiagonalLM:
        return _newton, ["curvature"]
    return None
