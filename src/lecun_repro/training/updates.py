"""Many optimizer updates in order, as one call.

`eager_updates` is the plain loop: forward, backward, the optimizer's own `step()`. `CompiledUpdates` performs the same
updates as one compiled graph: a scan whose body is one update, with the parameters and the optimizer's state as its
carry. Network, head and torch's own update formula are traced as they are; nothing of them is written again here.
The compiled graph is kept as an ahead-of-time package (see `packages`), because inductor never caches a scan.
"""

import ctypes
import platform
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch._higher_order_ops.scan import scan
from torch.func import functional_call, functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim import Optimizer

from lecun_repro.models.base import Network
from lecun_repro.models.heads import Head
from lecun_repro.training.compile_cache import CompileError, load_or_build
from lecun_repro.training.fusion import materialise
from lecun_repro.training.optimizers import formula

aten = torch.ops.aten

# Operations for which inductor has no code, and torch's own formula of them in plain ones: weight normalization.
PLAINER: dict[Any, Any] = {
    **get_decompositions([aten._weight_norm_interface]),
    aten._weight_norm_interface_backward.default: aten._weight_norm_differentiable_backward.default,
}
LARGE_BATCH = 64  # digits: some of its tensors are megabytes
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt, from glibc's malloc.h

# What a pass presents, one entry per update: prepared digits (updates, batch, ...), labels (updates, batch) and, with
# dropout, the units kept (updates, batch, units).
Examples = tuple[Tensor, ...]


@cache
def keep_freed_memory() -> None:
    """Has the process keep the memory it frees, where the C library is glibc.

    glibc takes every block above some 32 MB from the system and gives it back at once. A large batch has several of
    them in every update, and clearing their pages anew takes nearly as long as the arithmetic.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # never


def eager_updates(network: Network, head: Head, optimizer: Optimizer, examples: Examples) -> Tensor:
    """One update per entry of `examples`, each through `optimizer.step()`. Returns the losses, (updates,)."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    losses = []
    for example in zip(*examples, strict=True):
        loss = update_loss(network, head, *example)
        for p in params:
            p.grad = None
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def update_loss(network: Network, head: Head, prepared: Tensor, labels: Tensor, keep: Tensor | None = None) -> Tensor:
    """The loss that one update descends: its digits' mean, with the units that `keep` leaves in."""
    return head.loss(network.outputs(prepared, keep), labels)


def _memory_order(tensor: Tensor) -> list[int]:
    return sorted(range(tensor.dim()), key=lambda dim: -tensor.stride()[dim])


def flatten(tensors: Sequence[Tensor], like: Sequence[Tensor]) -> Tensor:
    """Tensors shaped as `like` -> one vector, each in the order in which its like lies in memory."""
    return torch.cat([t.permute(_memory_order(p)).reshape(-1) for t, p in zip(tensors, like, strict=True)])


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `flatten`: views of `vector`."""
    parts = []
    for part, p in zip(vector.split([p.numel() for p in like]), like, strict=True):
        order = _memory_order(p)
        parts.append(part.view([p.shape[d] for d in order]).permute([order.index(d) for d in range(p.dim())]))
    return parts


class CompiledUpdates:
    """The updates of one network, head and optimizer as a compiled scan.

    The first update of a run goes through `optimizer.step()`, so that torch itself lays out its state, unless it is
    there from the start; all others read the parameters and that state, run compiled, and write both back.

    Raises (when first called):
        CompileError: no C++ compiler, an unwritable cache, or a graph that cannot be compiled.
    """

    def __init__(self, network: Network, head: Head, optimizer: Optimizer) -> None:
        self.network, self.head, self.optimizer = network, head, optimizer
        found = formula(optimizer)
        if found is None:
            raise ValueError(f"{type(optimizer).__name__} has no compiled update")
        self.formula, self.state_names = found
        self._runners: dict[tuple, Callable] = {}
        self._shape: torch.Size | None = None

    def ready(self, examples: Examples) -> bool:
        """Builds or loads the graph for the first shape it is asked for; False for any other.

        Another shape is a pass's last update, of fewer digits: not worth a compilation of its own.
        """
        shape = examples[0].shape[1:]
        if self._shape is None:
            self._shape = shape
        if shape == self._shape:
            self._runner(examples)
        return shape == self._shape

    def __call__(self, examples: Examples) -> Tensor:
        """One update per entry. Returns the losses, (updates,)."""
        if not self.optimizer.state and self.state_names:
            first = eager_updates(self.network, self.head, self.optimizer, tuple(p[:1] for p in examples))
            examples = tuple(p[1:] for p in examples)
            return torch.cat([first, self(examples)]) if len(examples[0]) else first
        run = self._runner(examples)
        with torch.no_grad():
            carry, losses = run(self._carry(), examples)
            self._write_back(carry)
        return losses

    def _params(self) -> list[Tensor]:
        return self.optimizer.param_groups[0]["params"]

    def _carry(self) -> list[Tensor]:
        params, state = self._params(), self.optimizer.state

        def scalar(value: Any) -> Tensor:  # in float64: bias corrections lose digits in float32
            return torch.as_tensor(value, dtype=torch.float64, device=params[0].device).clone()

        step = scalar(state[params[0]].get("step", 0.0) if state else 0.0)
        lr = scalar(self.optimizer.param_groups[0]["lr"])
        flat = flatten([p.detach() for p in params], params)
        if state:
            vectors = [flatten([state[p][name] for p in params], params) for name in self.state_names]
        else:  # before the first update: only the shapes matter, to the tracing
            vectors = [torch.zeros_like(flat) for _ in self.state_names]
        return [flat, *vectors, step, lr]

    def _write_back(self, carry: Sequence[Tensor]) -> None:
        params, state = self._params(), self.optimizer.state
        flat, *vectors, step, _ = carry
        for p, new in zip(params, unflatten(flat, params), strict=True):
            p.copy_(new)
            p.grad = None
        for name, vector in zip(self.state_names, vectors, strict=True):
            for p, new in zip(params, unflatten(vector, params), strict=True):
                state[p][name].copy_(new)
        for p in params:
            if "step" in state.get(p, {}):
                state[p]["step"].copy_(step)

    def _runner(self, examples: Examples) -> Callable:
        # All that the traced graph has baked in: when a scheduler changes the momentum, say, it is traced anew.
        group = {k: v for k, v in self.optimizer.param_groups[0].items() if k not in ("params", "lr", "initial_lr")}
        key = (*((p.shape[1:], p.dtype, p.device) for p in examples), str(sorted(group.items())))
        if key not in self._runners:
            self._runners[key] = load_or_build(Scan(self._trace(examples)), self._carry(), examples)
        return self._runners[key]

    def _trace(self, examples: Examples) -> torch.fx.GraphModule:
        """One update as a graph of plain tensor operations: (carry, example) -> (carry, loss)."""
        params = self._params()
        names: dict[Tensor, str] = {p: name for name, p in self.network.named_parameters()}
        group = self.optimizer.param_groups[0]
        outputs = _Outputs(self.network)

        def update(carry: list[Tensor], example: tuple[Tensor, ...]):
            prepared, labels, *masks = example
            flat, *vectors, step = (tensor.clone() for tensor in carry[:-1])
            lr = carry[-1]

            with torch.enable_grad():
                parts = [part.requires_grad_() for part in unflatten(flat, params)]
                weights = {f"network.{names[p]}": part for p, part in zip(params, parts, strict=True)}
                loss = self.head.loss(functional_call(outputs, weights, (prepared, *masks)), labels)
                grads = torch.autograd.grad(loss, parts, allow_unused=True)
            for p, grad in zip(params, grads, strict=True):
                if grad is None:
                    raise CompileError(f"the parameter {names[p]} takes no part in the loss")
            # A rate that requires a gradient selects the formula that reads it from a tensor.
            self.formula(flat, flatten(grads, params), vectors, step.add_(0), lr, group)
            return [flat, *vectors, step, lr.clone()], loss.detach()

        carry = self._carry()
        carry[-1].requires_grad_()
        with torch.no_grad():
            sample = carry, tuple(p[0] for p in examples)
            # Traced with the formula's in-place operations first, then once more without them.
            graph = make_fx(functionalize(make_fx(update, PLAINER)(*sample)))(*sample)
        return materialise(graph)


class _Outputs(torch.nn.Module):
    """`network.outputs` as a module's forward, which is what `functional_call` calls."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, prepared: Tensor, *masks: Tensor) -> Tensor:
        return self.network.outputs(prepared, *masks)


class Scan(torch.nn.Module):
    """A traced update repeated over the examples: (carry, examples) -> (carry, losses)."""

    def __init__(self, update: torch.fx.GraphModule) -> None:
        super().__init__()
        self.update = update

    def forward(self, carry: list[Tensor], examples: Examples):
        return scan(lambda carry, example: tuple(self.update(carry, example)), carry, examples)
