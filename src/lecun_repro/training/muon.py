"""Muon for a network's matrices and AdamW for the rest of it, as one optimizer; both are torch's own."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer
from torch.overrides import TorchFunctionMode

from lecun_repro.training.optimizers import twin


class MuonAdamW(Optimizer):
    """Muon (Jordan et al. 2024) where a parameter is a matrix, AdamW elsewhere.

    Matrices are parameters of two dimensions, and of four: convolutions' kernels, as (maps, all that one reads). All
    else, biases and gains of whatever shape, is AdamW's. A group of `model.param_groups` may decide otherwise, such as
    `{"^outw$": {muon: false}}` for the outputs.

    Args:
        params: Parameters, or groups of them with arguments of their own; `muon` is one of these, true or false.
        lr: Learning rate of both. Muon's steps are scaled to the size of AdamW's (Liu et al. 2025).
        weight_decay: Decoupled weight decay of both.
        momentum: Of Muon.
        nesterov: Of Muon: whether its momentum is Nesterov's.
        betas: Of AdamW.
        eps: Of AdamW.

    Raises:
        ValueError: an argument that torch's optimizers refuse.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        spare = [torch.zeros(1, 1, requires_grad=True)]
        both: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        muon = Muon(spare, momentum=momentum, nesterov=nesterov, adjust_lr_fn="match_rms_adamw", **both)
        self.inner = {True: muon, False: AdamW(spare, betas=betas, eps=eps, **both)}
        params = list(params)
        groups = []
        for given in params if params and isinstance(params[0], dict) else [{"params": params}]:
            for is_muon, inner in self.inner.items():
                own = [p for p in given["params"] if given.get("muon", p.dim() in (2, 4)) is is_muon]
                groups += [inner.defaults | given | {"params": own, "muon": is_muon}] if own else []
        super().__init__(groups, {**both, "momentum": momentum})  # those that schedules ask for

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step of each."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            shaped = _matrix if group["muon"] else lambda tensor: tensor
            own = [shaped(p) for p in params]
            for p, mine in zip(params, own, strict=True):
                mine.grad = shaped(p.grad)
            state = [{k: shaped(v) for k, v in self.state[p].items()} for p in params]
            self.inner[group["muon"]].param_groups = [group]
            inner = twin(self.inner[group["muon"]], [own], state)
            with _FullPrecision():
                inspect.unwrap(type(inner).step)(inner)  # without what torch wraps round it for its profiler
            for p, mine in zip(params, own, strict=True):
                if mine is not p:
                    p.copy_(mine.view(p.shape))
                self.state[p] = {k: v.view(p.shape) if v.dim() else v for k, v in inner.state[mine].items()}
        return loss


def _matrix(tensor: Tensor) -> Tensor:
    return tensor.detach().reshape(len(tensor), -1)


class _FullPrecision(TorchFunctionMode):
    """Has Muon orthogonalise in the parameters' own precision: bfloat16 is slower on a CPU, and coarser."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict | None = None) -> Any:
        return args[0].clone() if func is Tensor.bfloat16 else func(*args, **(kwargs or {}))
