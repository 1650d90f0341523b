"""Any optimizer's own `step()`, as a function of tensors that can be traced into a compiled update.

Nothing of an optimizer is written again here. `PureStep` makes a twin of it on other tensors, sets their gradients and
calls the real `step()`; traced with make_fx this is a graph of plain operations. Where the update is elementwise (found
by comparing) all parameters of a group go through it as one vector, which is several times faster.
"""

import copy
import inspect
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, fx, nn
from torch.func import functionalize
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from lecun_repro.errors import BadArgument, one_line
from lecun_repro.training.tracing import traced

# Numbers of a parameter group that are inputs of the graph: a new value needs no compilation. Others join them once
# they have changed, as a one-cycle schedule's momentum does.
INPUTS = ("lr", "weight_decay")
NO_RATE = 1e-30  # in the place of a rate of 0, by which formulas that take it from a tensor divide


class NotTraceable(Exception):
    """An optimizer whose step cannot become part of a compiled update; the message says why."""


class Number(NamedTuple):
    """A number of a parameter group: `lr` of group 0, or `betas` of group 1, its first."""

    group: int
    name: str
    place: int | None = None

    def of(self, groups: Sequence[dict[str, Any]]) -> float:
        value = groups[self.group][self.name]
        value = float(value if self.place is None else value[self.place])
        return value or (NO_RATE if self.name == "lr" else 0.0)

    def put(self, groups: Sequence[dict[str, Any]], value: Any) -> None:
        if self.place is not None:
            several = groups[self.group][self.name]
            value = (*several[: self.place], value, *several[self.place + 1 :])
        groups[self.group][self.name] = value


def trained(group: dict[str, Any]) -> list[Tensor]:
    """The parameters of a group that are trained."""
    return [p for p in group["params"] if p.requires_grad]


def numbers(groups: Sequence[dict[str, Any]], names: Sequence[str]) -> list[Number]:
    """Those of the groups' numbers that have one of these names."""
    every = []
    for i, group in enumerate(groups):
        for name in names:
            value = group.get(name)
            if isinstance(value, tuple | list):
                every += [Number(i, name, k) for k in range(len(value))]
            elif value is not None:
                every.append(Number(i, name))
    return every


def grouped(network: nn.Module, patterns: dict[str, dict[str, Any]]) -> list[Any]:
    """What an optimizer is made of: all parameters, or groups of them.

    Args:
        network: The network.
        patterns: Regular expressions of parameters' names, and what the optimizer's arguments are for those; the first
            that matches counts. Parameters that none matches are a group of their own, the first.

    Raises:
        BadArgument: a pattern that is none, or that matches no parameter.
    """
    if not patterns:
        return list(network.parameters())
    groups: dict[str, list[nn.Parameter]] = {"": [], **{pattern: [] for pattern in patterns}}
    for name, p in network.named_parameters():
        try:
            groups[next((pattern for pattern in patterns if re.search(pattern, name)), "")].append(p)
        except re.error as error:
            raise BadArgument("param_groups", error.pattern, f"regular expressions ({error})") from None
    names = ", ".join(name for name, _ in network.named_parameters())
    for pattern, params in groups.items():
        if pattern and not params:
            raise BadArgument("param_groups", pattern, f"patterns that match some of {names}")
    return [{"params": params, **patterns.get(pattern, {})} for pattern, params in groups.items() if params]


# ---------------------------------------------------------------------------------------------------------------------
# Parameters as one vector, in the order in which they lie in memory.


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


# ---------------------------------------------------------------------------------------------------------------------
# An optimizer's step on other tensors


def twin(optimizer: Optimizer, params: Sequence[Sequence[Tensor]], state: list[dict[str, Any]]) -> Optimizer:
    """The same optimizer on other tensors: `params` group by group, `state` in their order."""
    other = object.__new__(type(optimizer))  # copies of an optimizer lack attributes of its own
    other.__dict__ |= optimizer.__dict__
    other.__dict__.pop("step", None)  # what a scheduler has wrapped round the original's
    other.param_groups = [group | {"params": list(p)} for group, p in zip(optimizer.param_groups, params, strict=True)]
    for group in other.param_groups:
        group |= {name: False for name in ("foreach", "fused") if name in group}
    every = [p for part in params for p in part]
    other.state = defaultdict(dict, {p: dict(s) for p, s in zip(every, state, strict=True) if s})
    return other


class _NumbersAsTensors(TorchFunctionMode):
    """Lets torch's formulas take tensors where a real step has Python numbers.

    - `add(x, alpha=t)` becomes `add(x, t * ...)`, and so on: these arguments take no tensor.
    - Whether a number is 0, which decides what is computed at all, is answered by its value while tracing.
    - A scalar of the state enters formulas in float64, as the Python number that a real step makes of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[int, tuple[Tensor, float]] = {}  # by id; the tensor is kept, so that its id stays its own
        self.scalars: dict[int, Tensor] = {}

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: dict | None = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if args and id(args[0]) in self.numbers:
            value = self.numbers[id(args[0])][1]
            if name == "__bool__":
                return bool(value)
            if (compare := COMPARISONS.get(name.strip("_"))) and isinstance(args[1], int | float) and args[1] == 0:
                return compare(value, 0)
        if name.strip("_") in ("add", "sub") and isinstance(kwargs.get("alpha"), Tensor):
            kind = torch.result_type(args[0], args[1])
            args = (args[0], args[1].to(kind) * kwargs.pop("alpha"))
        if name.strip("_") in ("addcmul", "addcdiv") and isinstance(kwargs.get("value"), Tensor):
            args = (args[0], args[1] * kwargs.pop("value"), args[2])
        changed = name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
        if changed and id(args[0]) in self.scalars:  # in its own precision, as with a Python number
            return func(args[0], *(a.to(args[0].dtype) if isinstance(a, Tensor) else a for a in args[1:]), **kwargs)
        return func(*(a.double() if id(a) in self.scalars else a for a in args), **kwargs)


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")
}


class Slot(NamedTuple):
    """What goes through a step as one: a group's parameters as a vector, or a parameter."""

    group: int
    params: list[Tensor]
    template: dict[str, Any]  # the state of one of its parameters after a step


Tree = list[dict[str, Tensor]]  # of each slot, its `param` and its state by name


class PureStep:
    """`optimizer.step()` as a function of tensors: parameters, state, gradients and numbers -> parameters and state.

    Args:
        optimizer: The optimizer.
        flat: For each group, whether its parameters go through the step as one vector.
        stepped: The same optimizer on other parameters after a step, which tells what the state consists of.
    """

    def __init__(self, optimizer: Optimizer, flat: Sequence[bool], stepped: Optimizer) -> None:
        self.optimizer = optimizer
        self.varying: set[str] = set()  # names of numbers that were seen to change, beside INPUTS
        self.slots: list[Slot] = []
        for i, (own, other) in enumerate(zip(optimizer.param_groups, stepped.param_groups, strict=True)):
            states = [stepped.state.get(p, {}) for p in trained(other)]
            params = trained(own)
            whole = [Slot(i, params, states[0])]
            self.slots += whole if flat[i] else map(Slot, repeat(i), ([p] for p in params), states)

    @property
    def params(self) -> list[Tensor]:
        """The parameters in the order of their groups."""
        return [p for slot in self.slots for p in slot.params]

    @property
    def inputs(self) -> list[Number]:
        """The numbers that the step takes as a tensor."""
        return numbers(self.optimizer.param_groups, [*INPUTS, *sorted(self.varying)])

    def values(self) -> list[float]:
        """What these numbers are now."""
        return [number.of(self.optimizer.param_groups) for number in self.inputs]

    def constants(self) -> str:
        """All else that a trace bakes in."""
        zero = [value == 0 for value in self.values()]
        skip = {"params", "initial_lr", *INPUTS, *self.varying}
        groups = [sorted((k, str(v)) for k, v in g.items() if k not in skip) for g in self.optimizer.param_groups]
        return repr((zero, groups))

    def has_state(self) -> bool:
        """Whether the state is laid out, by the constructor or by a first real step."""
        states = self.optimizer.state
        return all(slot.template.keys() <= states.get(p, {}).keys() for slot in self.slots for p in slot.params)

    def read(self) -> Tree:
        """Parameters and state as new tensors. Before the first step the state is zeros of the right shapes."""
        tree: Tree = []
        for _, params, template in self.slots:
            tree.append({"param": _whole([p.detach() for p in params], params)})
            for name, value in template.items():
                if isinstance(value, Tensor):
                    state = [self.optimizer.state.get(p, {}).get(name) for p in params]
                    if state[0] is None:
                        kind = params[0].dtype if value.dim() and value.is_floating_point() else value.dtype
                        shapes = [p.shape if value.dim() else () for p in params] if len(params) > 1 else [value.shape]
                        state = [torch.zeros(shape, dtype=kind, device=params[0].device) for shape in shapes]
                    tree[-1][name] = _whole(state, params)
        return tree

    @torch.no_grad()
    def write(self, tree: Tree) -> None:
        """Puts what the step gave back into the parameters and the optimizer's state."""
        for slot, tensors in zip(self.slots, tree, strict=True):
            for name, tensor in tensors.items():
                for p, value in zip(slot.params, _parts(tensor, slot), strict=True):
                    (p if name == "param" else self.optimizer.state[p][name]).copy_(value)
            for p in slot.params:
                p.grad = None

    def pack(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """One tensor per parameter -> one per slot."""
        left = iter(tensors)
        return [_whole([next(left) for _ in slot.params], slot.params) for slot in self.slots]

    def unpack(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """One tensor per slot -> one per parameter, in its own shape."""
        return [part for slot, tensor in zip(self.slots, tensors, strict=True) for part in _parts(tensor, slot)]

    def weights(self, tree: Tree) -> list[Tensor]:
        """The parameters in a tree, in the order of `params`."""
        return self.unpack([tensors["param"] for tensors in tree])

    def __call__(self, tree: Tree, grads: Sequence[Tensor], values: Tensor) -> Tree:
        """One step.

        Args:
            tree: As of `read`.
            grads: One per parameter, in the order of `params`.
            values: What `inputs` are, (numbers,) float64.
        """
        tree = [{name: tensor.clone() for name, tensor in tensors.items()} for tensors in tree]
        left = iter(grads)
        for slot, tensors in zip(self.slots, tree, strict=True):
            own = [next(left) for _ in slot.params]
            tensors["param"].grad = flatten(own, slot.params) if len(own) > 1 else own[0]
        states = [slot.template | tensors for slot, tensors in zip(self.slots, tree, strict=True)]
        params = [
            [t["param"] for t, slot in zip(tree, self.slots, strict=True) if slot.group == i]
            for i in range(len(self.optimizer.param_groups))
        ]
        other = twin(self.optimizer, params, [{k: v for k, v in s.items() if k != "param"} for s in states])
        compiling = mock.patch.object(torch.compiler, "is_compiling", return_value=True)  # formulas of tensors alone
        with _NumbersAsTensors() as mode, torch.no_grad(), compiling:
            mode.scalars = {id(t): t for s in tree for t in s.values() if t.dim() == 0 and t.is_floating_point()}
            for number, value in zip(self.inputs, values.unbind(), strict=True):
                mode.numbers[id(value)] = value, number.of(self.optimizer.param_groups)
                number.put(other.param_groups, value)
            for group in other.param_groups:
                group |= {"capturable": True} if "capturable" in group else {}
            inspect.unwrap(type(other).step)(other)  # without what torch wraps round it for its profiler
        return [{name: t if name == "param" else other.state[s["param"]][name] for name, t in s.items()} for s in tree]


def _whole(tensors: Sequence[Tensor], params: Sequence[Tensor]) -> Tensor:
    """One tensor per parameter of a slot as one; a scalar is the same for all of them."""
    together = len(tensors) > 1 and tensors[0].dim()
    return flatten(tensors, params) if together else tensors[0].to(params[0].device, copy=True)


def _parts(tensor: Tensor, slot: Slot) -> Sequence[Tensor]:
    """A tensor of a slot as one per parameter."""
    if len(slot.params) == 1:
        return [tensor]
    return unflatten(tensor, slot.params) if tensor.dim() else [tensor] * len(slot.params)


def pure_step(optimizer: Optimizer) -> PureStep:
    """The optimizer's step as a function, on one vector for each group where that is the same.

    Whether it is is found by taking two real steps of a twin with random gradients.

    Raises:
        NotTraceable: with the reason.
    """
    if not all(trained(group) for group in optimizer.param_groups):
        raise NotTraceable("it has a group without a parameter to train")
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        raise NotTraceable("hooks are registered round its step()")
    once, twice, grads = _two_steps(optimizer)
    for state in once.state.values():
        for name, value in state.items():
            if value is not None and not isinstance(value, Tensor):
                raise NotTraceable(f"it keeps {name} in its state as {type(value).__name__} and not as a tensor")
    reason = "its step() is another one when traced"
    flat = [True] * len(optimizer.param_groups)
    for _ in range(2):  # then without the groups where it is not
        step, expected = PureStep(once, flat, once), PureStep(twice, flat, twice)
        values = torch.tensor(step.values(), dtype=torch.float64)
        try:
            after = step(step.read(), grads, values)
            same = [_same(mine, own) for mine, own in zip(after, expected.read(), strict=True)]
            if not all(same):
                flat = same
                continue
            graphs = [traced(functionalize(made))(made.read(), grads, values) for made in (step, expected)]
        except Exception as error:
            reason = f"its step() cannot be traced ({type(error).__name__}: {one_line(str(error))[:120]})"
            flat = [False] * len(flat)
            continue
        if any(torch.Tag.nondeterministic_seeded in getattr(n.target, "tags", ()) for n in graphs[0].graph.nodes):
            raise NotTraceable("its step() draws random numbers")
        if _fingerprint(graphs[0]) != _fingerprint(graphs[1]):
            raise NotTraceable("it counts its steps in Python: traced after one step and after two, step() differs")
        return PureStep(optimizer, flat, once)
    raise NotTraceable(reason)


def _same(ours: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    leaves = zip(tree_leaves(ours), tree_leaves(other), strict=True)
    return all(a.shape == b.shape and torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in leaves)


def _two_steps(optimizer: Optimizer) -> tuple[Optimizer, Optimizer, list[Tensor]]:
    """Twins in float64 after one real step and after a second one with the gradients that are returned."""
    generator = torch.Generator().manual_seed(0)
    groups = [trained(group) for group in optimizer.param_groups]
    params = [[_double(p).requires_grad_() for p in part] for part in groups]
    every = [p for part in groups for p in part]
    state = [{k: _double(v) for k, v in optimizer.state.get(p, {}).items()} for p in every]
    other = twin(optimizer, params, state)
    for group in other.param_groups:
        group["lr"] = float(group["lr"]) or 1e-3  # at a rate of 0, as in a warm-up, nothing would show
    after = []
    for _ in range(2):
        every = [p for group in other.param_groups for p in group["params"]]
        for p in every:
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        grads = [p.grad for p in every if p.grad is not None]
        try:
            with torch.no_grad():
                other.step()
        except Exception as error:
            why = f"{type(error).__name__}: {one_line(str(error))[:120]}"
            raise NotTraceable(f"its step() fails ({why})") from error
        kept = [
            {k: v.clone() if isinstance(v, Tensor) else v for k, v in other.state.get(p, {}).items()} for p in every
        ]
        copies = [[p.detach().clone().requires_grad_() for p in group["params"]] for group in other.param_groups]
        after.append(twin(other, copies, kept))
    return after[0], after[1], grads


def _double(value: Any) -> Any:
    """A copy on the CPU, in float64 where it is a floating-point tensor."""
    if not isinstance(value, Tensor):
        return copy.copy(value)
    return value.detach().to("cpu", torch.float64 if value.is_floating_point() else value.dtype, copy=True)


def _fingerprint(graph: fx.GraphModule) -> tuple:
    """The graph's code with its constants."""
    tensors = [(str(n.target), getattr(graph, str(n.target))) for n in graph.graph.nodes if n.op == "get_attr"]
    return graph.code, [(name, t.tolist()) for name, t in tensors if isinstance(t, Tensor)]
