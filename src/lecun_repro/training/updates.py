"""Many optimizer updates in order, as one call.

`Updates` says what an update is: network, head and optimizer, and what stands beside them (clipping, a schedule per
update, averaged weights). `eager_updates` performs them as the plain loop: forward, backward, the optimizer's own
`step()`. `CompiledUpdates` performs the same as one compiled graph: a scan whose body is one update and whose carry is
the parameters and the optimizer's state. All parts are traced as they are; nothing of them is written again here. The
compiled graph is kept as an ahead-of-time package (see `compile_cache`), because inductor never caches a scan.
"""

import ctypes
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch._higher_order_ops.scan import scan
from torch.func import functional_call, functionalize
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils._pytree import tree_flatten, tree_unflatten

from lecun_repro.errors import BadArgument, one_line
from lecun_repro.models.base import Network
from lecun_repro.models.heads import Head
from lecun_repro.training.averaging import Average
from lecun_repro.training.compile_cache import CompileError, load_or_build
from lecun_repro.training.forward import Drawing, Effects, Outputs, effects
from lecun_repro.training.fusion import materialise
from lecun_repro.training.optimizers import pure_step
from lecun_repro.training.tracing import traced

aten = torch.ops.aten

# Operations for which inductor has no code, and torch's own formula of them in plain ones: weight normalization; batch
# normalization, which changes its buffers without saying so; and layers' products, which `fusion` knows as `mm` alone.
PLAINER: dict[Any, Any] = {
    **get_decompositions([aten._weight_norm_interface, aten.addmm]),
    **get_decompositions([aten.native_batch_norm, aten._native_batch_norm_legit, aten.native_batch_norm_backward]),
    aten._weight_norm_interface_backward.default: aten._weight_norm_differentiable_backward.default,
}

LARGE_BATCH = 64  # digits: some of its tensors are megabytes
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt, from glibc's malloc.h

# A block's examples, one entry per update: prepared digits (updates, batch, ...), labels (updates, batch), or what
# teachers say in their place (updates, batch, 10), and with dropout the units kept (updates, batch, units).
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


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Has the thread take numbers too small to be normal, below 1e-38 in float32, for 0.

    The moments of a weight whose gradient is 0 for long, as a unit of ReLU no longer answers, shrink to such numbers.
    Processors take some hundred cycles for each: a fifth of the whole update.
    """
    before = not (torch.full((), torch.finfo(torch.float32).tiny, dtype=torch.float32) / 2).item()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@dataclass
class Clip:
    """Gradients are scaled to a norm of at most `norm`, or each cut at +-`value`, as torch's functions do it."""

    norm: float | None = None
    value: float | None = None

    def __call__(self, grads: Sequence[Tensor]) -> None:
        """In place."""
        if self.norm is not None:
            holders = [torch.empty_like(g) for g in grads]
            for holder, grad in zip(holders, grads, strict=True):
                holder.grad = grad
            clip_grads_with_norm_(holders, self.norm, get_total_norm(grads, foreach=False), foreach=False)
        if self.value is not None:
            for grad in grads:
                grad.clamp_(-self.value, self.value)


@dataclass
class Updates:
    """What an update is.

    Args:
        network: The network.
        head: The head.
        optimizer: The optimizer, on all or some of the network's parameters.
        schedule: A schedule that is stepped with every update.
        clip: How gradients are clipped.
        average: Averaged weights, which follow every update.
        generator: Where the random numbers come from that the network draws itself.
    """

    network: Network
    head: Head
    optimizer: Optimizer
    schedule: LRScheduler | None = None
    clip: Clip | None = None
    average: Average | None = None
    generator: torch.Generator = field(default_factory=torch.Generator)
    seen: dict[torch.Size, Effects] = field(default_factory=dict)  # of digits of each shape

    def loss(self, prepared: Tensor, labels: Tensor, *masks: Tensor) -> Tensor:
        """The loss that one update descends: its digits' mean, with the units that the mask, if any, leaves in."""
        draws = self.effects((prepared, labels, *masks)).draws
        with Drawing(partial(torch.rand, generator=self.generator)) if draws else nullcontext():
            outputs = self.network.outputs(prepared, *masks)
        return self.head.training_loss(outputs, labels)

    def effects(self, example: Sequence[Tensor]) -> Effects:
        """What a forward pass does beside its outputs, with one update's worth of `Examples`."""
        prepared, _, *masks = example
        if prepared.shape not in self.seen:
            self.seen[prepared.shape] = effects(self.network, (prepared, *masks))
        return self.seen[prepared.shape]


@denormals_flushed()
def eager_updates(updates: Updates, examples: Examples) -> Tensor:
    """One update per entry of `examples`, each through `optimizer.step()`. Returns the losses, (updates,)."""
    params = [p for group in updates.optimizer.param_groups for p in group["params"]]
    losses = []
    for example in zip(*examples, strict=True):
        loss = updates.loss(*example)
        for p in params:
            p.grad = None
        loss.backward()
        if updates.clip is not None:
            updates.clip([p.grad for p in params if p.grad is not None])
        updates.optimizer.step()
        if updates.average is not None:
            updates.average.follow()
        if updates.schedule is not None:
            updates.schedule.step()
        losses.append(loss.detach())
    return torch.stack(losses)


class CompiledUpdates:
    """The same updates as a compiled scan.

    The first update of a run goes through `optimizer.step()`, so that torch itself lays out its state, unless it is
    there from the start; all others read the parameters and that state, run compiled, and write both back.

    Args:
        updates: The updates.
        unless_compiled: Why nothing is to be compiled now; what was compiled before is used all the same.

    Raises:
        NotTraceable: an optimizer whose step cannot be compiled; the message says why.
        CompileError (when first called): no C++ compiler, an unwritable cache, or a graph that cannot be compiled.
    """

    def __init__(self, updates: Updates, unless_compiled: str = "") -> None:
        self.updates, self.unless_compiled = updates, unless_compiled
        self.step = pure_step(updates.optimizer)
        self._constants = self.step.constants()
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
            self._runner((*examples, *self._drawn(examples, torch.empty)), self._numbers(0))
        return shape == self._shape

    @denormals_flushed()
    def __call__(self, examples: Examples) -> Tensor:
        """One update per entry. Returns the losses, (updates,)."""
        self.updates.optimizer._opt_called = True  # type: ignore[attr-defined]  # or schedules warn that it was not
        self._look_again()
        if not self.step.has_state():
            first = eager_updates(self.updates, tuple(x[:1] for x in examples))
            examples = tuple(x[1:] for x in examples)
            return torch.cat([first, self(examples)]) if len(examples[0]) else first
        numbers = self._numbers(len(examples[0]))
        examples = (*examples, *self._drawn(examples, partial(torch.rand, generator=self.updates.generator)))
        run = self._runner(examples, numbers)
        with torch.no_grad():
            leaves, shape = tree_flatten(self._carry())
            after, losses = run(leaves, (numbers, *examples))
            self._write(tree_unflatten(after, shape), len(losses))
        return losses

    def _drawn(self, examples: Examples, make: Callable[..., Tensor]) -> Examples:
        """What the network itself draws in these updates, (updates, numbers), if it draws."""
        draws = self.updates.effects(tuple(x[0] for x in examples)).draws
        return (make((len(examples[0]), draws)).to(examples[0].device),) if draws else ()

    def _look_again(self) -> None:
        """Another momentum, say, may mean another state."""
        if (constants := self.step.constants()) != self._constants:
            varying, self.step = self.step.varying, pure_step(self.updates.optimizer)
            self.step.varying, self._constants = varying, constants

    def _numbers(self, n: int) -> Tensor:
        """The numbers of `n` updates, (n, numbers), in float64; steps the schedule. Of none, (1, numbers) as it is."""
        updates, groups = self.updates, self.updates.optimizer.param_groups
        if n and updates.schedule is not None:
            seen = []
            for _ in range(n):
                seen.append([dict(group) for group in groups])
                updates.schedule.step()
            self.step.varying |= changed(seen[0], groups)
            self._constants = self.step.constants()
            rows = [[number.of(groups) for number in self.step.inputs] for groups in seen]
        else:
            rows = [self.step.values()] * max(n, 1)
        values = torch.tensor(rows, dtype=torch.float64).view(max(n, 1), -1)
        weights = torch.full((len(values), 1), float(updates.network.dropout), dtype=torch.float64)
        if updates.average is not None:
            weights = torch.cat([weights, updates.average.weights(n)[:, None]], 1)
        return torch.cat([values, weights], 1).to(self.step.params[0].device)

    def _carry(self) -> list:
        """Parameters and the optimizer's state, the averaged weights where there are some, and buffers that change."""
        average = self.updates.average
        averages = [] if average is None else self.step.pack(average.of(self.step.params))
        return [self.step.read(), averages, [buffer.clone() for buffer in self._buffers().values()]]

    def _buffers(self) -> dict[str, Tensor]:
        """The buffers that the network's forward pass changes."""
        changes = {name for effects in self.updates.seen.values() for name in effects.changes}
        return {name: buffer for name, buffer in self.updates.network.named_buffers() if name in changes}

    def _write(self, carry: list, n: int) -> None:
        tree, averages, buffers = carry
        self.step.write(tree)
        for buffer, value in zip(self._buffers().values(), buffers, strict=True):
            buffer.copy_(value)
        if self.updates.average is not None:
            self.updates.average.put(self.step.params, self.step.unpack(averages), n)

    def _runner(self, examples: Examples, numbers: Tensor) -> Callable:
        # All that the traced graph has baked in: when a scheduler switches the momentum on, say, it is traced anew.
        key = (*((x.shape[1:], x.dtype, x.device) for x in examples), numbers.shape[1], self.step.constants())
        if key not in self._runners:
            xs = (numbers, *examples)
            scan, carry = Scan(self._trace(xs)), tree_flatten(self._carry())[0]
            self._runners[key] = load_or_build(scan, carry, xs, self.unless_compiled)
        return self._runners[key]

    def _dropout(self, share: Tensor) -> AbstractContextManager:
        """Has the network read its share of dropout from a tensor: a new one needs no compilation, as a new rate."""
        network = self.updates.network
        return mock.patch.object(network, "dropout", share) if network.dropout else nullcontext()

    def _trace(self, xs: Examples) -> torch.fx.GraphModule:
        """One update as a graph of plain tensor operations: (carry, example) -> (carry, loss)."""
        updates, step = self.updates, self.step
        names: dict[Tensor, str] = {p: f"network.{name}" for name, p in updates.network.named_parameters()}
        outputs, draws = Outputs(updates.network), updates.effects(tuple(x[0] for x in xs[1:])).draws
        buffers = [f"network.{name}" for name in self._buffers()]
        leaves, shape = tree_flatten(self._carry())
        count = len(step.inputs)

        def update(carry: list[Tensor], example: tuple[Tensor, ...]):
            numbers, prepared, labels, *masks = example
            tree, averages, kept = tree_unflatten(list(carry), shape)
            kept = [buffer.clone() for buffer in kept]
            uniform = _Uniform(masks.pop()) if draws else None
            with torch.enable_grad(), self._dropout(numbers[count]):
                weights = [p.detach().requires_grad_() for p in step.weights(tree)]
                given = {names[p]: weight for p, weight in zip(step.params, weights, strict=True)}
                given |= dict(zip(buffers, kept, strict=True))
                with Drawing(uniform) if uniform else nullcontext():
                    made = functional_call(outputs, given, (prepared, *masks))
                loss = updates.head.training_loss(made, labels)
                grads = list(torch.autograd.grad(loss, weights, allow_unused=True))
            for p, grad in zip(step.params, grads, strict=True):
                if grad is None:
                    raise CompileError(f"the parameter {names[p]} takes no part in the loss")
            if updates.clip is not None:
                grads = [grad.clone() for grad in grads]
                updates.clip(grads)
            tree = step(tree, grads, numbers[:count])
            averages = [
                a.lerp(t["param"], numbers[count + 1].to(a.dtype)) for a, t in zip(averages, tree, strict=False)
            ]
            return tree_flatten([tree, averages, kept])[0], loss.detach()

        sample = leaves, tuple(x[0] for x in xs)
        try:
            with torch.no_grad():
                graph = traced(update, PLAINER)(*sample)
                own = type(updates.network.own)
                ours = own.__module__.startswith("lecun_repro.")
                if not ours and traced(update, PLAINER)(*sample).code != graph.code:
                    raise CompileError(f"{own.__name__}'s forward pass is another one each time")
                # Traced with in-place operations first, then once more without them.
                return materialise(traced(functionalize(graph))(*sample))
        except (BadArgument, CompileError):
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {one_line(str(error))[:160]}"
            raise CompileError(f"{type(updates.network.own).__name__} cannot be traced ({why})") from error


def changed(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> set[str]:
    """Names of the groups' numbers that differ."""
    kinds = (int, float, tuple)
    return {
        name
        for old, new in zip(before, after, strict=True)
        for name in new
        if name not in ("lr", "initial_lr") and type(new[name]) in kinds and old.get(name) != new[name]
    }


class _Uniform:
    """Numbers that are taken one after the other."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers, self.taken = numbers, 0

    def __call__(self, n: int) -> Tensor:
        self.taken += n
        return self.numbers[self.taken - n : self.taken]


class Scan(torch.nn.Module):
    """A traced update repeated over the examples: (carry, examples) -> (carry, losses)."""

    def __init__(self, update: torch.fx.GraphModule) -> None:
        super().__init__()
        self.update = update

    def forward(self, carry: list[Tensor], examples: Examples):
        return scan(lambda carry, example: tuple(self.update(carry, example)), carry, examples)
