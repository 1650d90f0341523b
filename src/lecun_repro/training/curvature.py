"""Positive diagonal second derivatives of the loss, computed from the network itself.

Becker and LeCun's recursion (1988): back from the outputs, a unit's second derivative is that of what it feeds, times
the square of the derivative of the step between; the second derivative of the activation is dropped, which keeps all
of them positive; a shared weight has the sum over its positions. So it is back-propagation with every Jacobian squared.

The network's forward pass is traced to plain tensor operations and performed on pairs. The second of a pair has the
square of the first as its value, and a graph of its own in autograd, in which each operation's derivative is the square
of the ordinary one: a product is the product of the squares, a sum the sum of the squares. Ordinary back-propagation
through these squares is the recursion, whatever the network is made of.
"""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx.node import map_aggregate

from lecun_repro.errors import BadArgument
from lecun_repro.models.base import Network
from lecun_repro.models.heads import Head
from lecun_repro.training.forward import Outputs
from lecun_repro.training.tracing import traced

aten = torch.ops.aten

# What the operations do to squares; one that is not named here has no rule.
MOVES = {  # elements go elsewhere, unchanged
    aten.alias, aten.cat, aten.clone, aten.embedding, aten.expand, aten.gather, aten.index, aten.index_select,
    aten.permute, aten.select, aten.slice, aten.split, aten.split_with_sizes, aten.squeeze, aten.stack, aten.t,
    aten.transpose, aten.unbind, aten.unsqueeze,
}  # fmt: skip
VIEWS = {aten.view, aten._unsafe_view, aten.reshape}
TERMS = {aten.add, aten.sub, aten.rsub}
PRODUCTS = {aten.mm, aten.bmm, aten.addmm, aten.convolution}  # linear in each of their tensors, as `mul` is
CURVES = {  # of one variable, element by element
    aten.abs, aten.clamp, aten.elu, aten.erf, aten.exp, aten.gelu, aten.hardswish, aten.hardtanh, aten.leaky_relu,
    aten.log, aten.mish, aten.pow, aten.relu, aten.sigmoid, aten.silu, aten.softplus, aten.sqrt, aten.tanh,
}  # fmt: skip


def curvatures(network: Network, head: Head, images: Tensor, labels: Tensor) -> dict[nn.Parameter, Tensor]:
    """For every trained parameter the positive second derivatives of the mean loss over the digits.

    Args:
        network: The network; nothing is dropped.
        head: The head.
        images: (n, 1, 16, 16).
        labels: (n,).

    Raises:
        ValueError: The network or the head's activation has an operation without a rule here.
    """
    params = {f"network.{name}": p for name, p in network.named_parameters() if p.requires_grad}
    outputs_of = Outputs(network)

    def forward(weights: dict[str, Tensor], prepared: Tensor) -> Tensor:
        return head.activation(functional_call(outputs_of, weights, (prepared,)))

    with torch.no_grad():
        prepared = network.prepare(images[None])[0]
        weights = {name: p.detach() for name, p in params.items()}
        graph = traced(forward)(weights, prepared)
    pairs = {name: Pair(w, w.square().requires_grad_()) for name, w in weights.items()}
    with torch.enable_grad():
        outputs = _Squares(graph).run(*pairs.values(), Pair(prepared, prepared.square()))
        through = (second_derivatives(head, outputs.value, labels) * outputs.square).sum()
        grads = torch.autograd.grad(through, [pair.square for pair in pairs.values()], allow_unused=True)
    return {p: torch.zeros_like(p) if grad is None else grad for p, grad in zip(params.values(), grads, strict=True)}


def second_derivatives(head: Head, activations: Tensor, labels: Tensor) -> Tensor:
    """The diagonal of the loss's second derivative by the head's outputs, (n, 10); none negative."""
    activations = activations.detach().requires_grad_()
    (first,) = torch.autograd.grad(head.criterion(activations, labels), activations, create_graph=True)
    # A digit's loss depends on its own outputs alone, so that a column of all digits takes one backward pass.
    columns = [torch.autograd.grad(first[:, j].sum(), activations, retain_graph=True)[0][:, j] for j in range(10)]
    return torch.stack(columns, 1).clamp_min(0)


@dataclass(frozen=True)
class Pair:
    """A tensor, and its square as a tensor of a graph in which every derivative is the square of the ordinary one."""

    value: Tensor
    square: Tensor


class _Squares(fx.Interpreter):
    """Runs a traced forward pass on pairs."""

    def call_function(self, target: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        if target is operator.getitem:
            return args[0][args[1]]
        values = map_aggregate(args, lambda arg: arg.value if isinstance(arg, Pair) else arg)
        with torch.no_grad():
            value = target(*values, **kwargs)
        if not any(isinstance(arg, Pair) for arg in flat(args)):
            return value
        square = squared(target, args, kwargs, values)
        if isinstance(value, list | tuple):
            return [with_value(v, s) for v, s in zip(value, square, strict=True)]
        return with_value(value, square)


def with_value(value: Tensor, square: Tensor) -> Pair:
    """A pair whose second has the derivatives of `square`, and the square of the first as its value."""
    return Pair(value, square + (value.square() - square).detach())


def squared(target: Any, args: tuple, kwargs: dict[str, Any], values: tuple) -> Any:
    """What an operation is in the graph of squares, up to its value.

    Raises:
        ValueError: It has no rule.
    """
    op = getattr(target, "overloadpacket", target)
    plain = not kwargs.keys() & {"alpha", "beta"}
    if op in (aten.detach, aten.neg):
        return args[0].square
    if op in MOVES or op is aten.sum:
        return target(*map_aggregate(args, lambda arg: arg.square if isinstance(arg, Pair) else arg), **kwargs)
    if op in VIEWS:
        return args[0].square.reshape(args[1])
    if op is aten.constant_pad_nd:
        return target(args[0].square, args[1], *(fill**2 for fill in args[2:]))
    if op in TERMS and plain and len(args) == 2:
        return square_of(args[0]) + square_of(args[1])
    if op is aten.div and plain and len(args) == 2 and not isinstance(args[1], Pair):
        return square_of(args[0]) / square_of(args[1])
    if op is aten.mul:
        return square_of(args[0]) * square_of(args[1])
    if op in PRODUCTS and plain:
        return target(*(square_of(arg) if isinstance(arg, Pair | Tensor) else arg for arg in args), **kwargs)
    if op in CURVES and isinstance(args[0], Pair) and not any(isinstance(arg, Pair) for arg in flat(args[1:])):
        x = values[0].detach().requires_grad_()
        (slope,) = torch.autograd.grad(target(x, *values[1:], **kwargs).sum(), x)
        return slope.square() * args[0].square
    what = f"StochasticDiagonalLM, whose curvature has no rule for {target}, which the network or its head uses"
    raise BadArgument("optimizer", what, "another optimizer, or functions that have a rule")


def square_of(arg: Any) -> Any:
    return arg.square if isinstance(arg, Pair) else arg**2


def flat(args: Any) -> list[Any]:
    """Every argument, lists of them included."""
    found: list[Any] = []
    map_aggregate(args, found.append)
    return found
