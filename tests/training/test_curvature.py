"""The curvature against autograd where the two have to agree, and against the recursion written out by hand."""

from collections.abc import Callable

import pytest
import torch
from test_convnet import digits, network
from torch import Tensor, nn
from torch.nn import functional as F

from lecun_repro.errors import BadArgument
from lecun_repro.models.base import ACTIVATIONS, Network
from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.models.fully_connected import FullyConnected1989
from lecun_repro.models.heads import CrossEntropy, Head, TanhMSE
from lecun_repro.training.curvature import curvatures, second_derivatives

LABELS = torch.tensor([3, 0, 9, 3, 7])
HEADS = {"mse": TanhMSE(), "scaled": TanhMSE("scaled_tanh", 1.2), "cross-entropy": CrossEntropy()}
every_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


class Linear(Head):
    """Squared error on the outputs as they are: no derivative is dropped in one layer."""

    def activation(self, outputs: Tensor) -> Tensor:
        return outputs

    def criterion(self, activations: Tensor, labels: Tensor) -> Tensor:
        return F.mse_loss(activations, F.one_hot(labels, 10).to(activations.dtype))


class OneLayer(Network):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(256, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
        self.b = nn.Parameter(torch.zeros(10, dtype=torch.float64))

    def outputs(self, prepared: Tensor, keep: Tensor | None = None) -> Tensor:
        return torch.addmm(self.b, prepared.flatten(1), self.w)


class Chain(Network):
    """One unit after the other: a single path, along which nothing but the second derivative of a unit is dropped."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.ws = nn.ParameterList(torch.tensor(w, dtype=torch.float64) for w in (0.02, -1.3, 0.9))
        self.bs = nn.ParameterList(torch.tensor(b, dtype=torch.float64) for b in (0.1, 0.4, -0.2))

    def outputs(self, prepared: Tensor, keep: Tensor | None = None) -> Tensor:
        x = prepared[:, 0, 0].sum(1, keepdim=True)
        for w, b in zip(self.ws, self.bs, strict=True):
            x = self.activation(x * w + b)
        return F.pad(x, (0, 9), value=0.3)


def exact(network: Network, head: Head, images: Tensor, labels: Tensor, parameter: nn.Parameter) -> Tensor:
    """The diagonal of the loss's Hessian by a parameter, by autograd."""
    (gradient,) = torch.autograd.grad(head.loss(network(images), labels), parameter, create_graph=True)
    rows = [
        torch.autograd.grad(g, parameter, retain_graph=True)[0].flatten()[i] for i, g in enumerate(gradient.flatten())
    ]
    return torch.stack(rows).view(parameter.shape)


def gauss_newton(network: Network, head: Head, images: Tensor, labels: Tensor, parameter: nn.Parameter) -> Tensor:
    """The diagonal of J^T S J, with S the loss's own second derivatives by the head's outputs (all of it diagonal)."""
    activations = head.activation(network(images))
    weights = second_derivatives(head, activations, labels)
    total = torch.zeros_like(parameter)
    for activation, weight in zip(activations.flatten(), weights.flatten(), strict=True):
        (jacobian,) = torch.autograd.grad(activation, parameter, retain_graph=True)
        total += weight * jacobian.square()
    return total


@every_head
def test_second_derivatives_by_the_outputs_are_the_criterions(head: Head) -> None:
    activations = torch.randn(5, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    hessian = torch.autograd.functional.hessian(lambda a: head.criterion(a, LABELS), activations)
    expected = hessian.reshape(50, 50).diagonal().view(5, 10)
    torch.testing.assert_close(second_derivatives(head, activations, LABELS), expected)


def test_is_the_exact_hessian_of_one_linear_layer() -> None:
    net, images = OneLayer(), digits(5)
    found = curvatures(net, Linear(), images, LABELS)
    for p in (net.w, net.b):
        expected = (
            exact(net, Linear(), images, LABELS, p) if p is net.b else images.flatten(1).square().mean(0)[:, None] / 5
        )
        torch.testing.assert_close(found[p], expected.expand_as(p))


@pytest.mark.parametrize(
    "activation",
    [f for name, f in ACTIVATIONS.items() if name != "scaled_tanh_skip"]  # which has two paths
    + [F.softplus, F.elu, F.mish, F.hardswish, torch.sigmoid, lambda x: (1 - 2 * x) / 3],
)
def test_is_the_exact_gauss_newton_of_a_chain(activation: Callable[[Tensor], Tensor]) -> None:
    net, head, images = Chain(activation), TanhMSE("scaled_tanh"), digits(5)
    for p, h in curvatures(net, head, images, LABELS).items():
        torch.testing.assert_close(h, gauss_newton(net, head, images, LABELS, p))


@every_head
def test_is_the_exact_gauss_newton_of_the_real_nets_last_layer(head: Head) -> None:
    net, images = network(), digits(5)
    found = curvatures(net, head, images, LABELS)
    for p in (net.outw, net.outb):
        torch.testing.assert_close(found[p], gauss_newton(net, head, images, LABELS, p))


def by_hand(net: ConvNet1989, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The recursion for tanh and squared error, unit by unit: h_w is the sum over positions of h_a * z**2."""
    n, zero = len(images), {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for image in images:
        z0 = F.pad(image[0], (2, 2, 2, 2), value=-1.0)
        z1, z2 = torch.full((12, 12, 12), -1.0).double(), torch.zeros(12, 4, 4).double()
        for m in range(12):
            for y in range(8):
                for x in range(8):
                    patch = z0[2 * y : 2 * y + 5, 2 * x : 2 * x + 5]
                    z1[m, y + 2, x + 2] = torch.tanh((patch * net.H1w[m, 0]).sum() + net.H1b[m, y, x])
        for m, table in enumerate(net.table):
            for y in range(4):
                for x in range(4):
                    patch = z1[table, 2 * y : 2 * y + 5, 2 * x : 2 * x + 5]
                    z2[m, y, x] = torch.tanh((patch * net.H2w[m]).sum() + net.H2b[m, y, x])
        flat = z2.flatten()
        z3 = torch.tanh(flat @ net.H3w + net.H3b)
        out = torch.tanh(z3 @ net.outw + net.outb)
        a4 = (1 - out**2) ** 2 * 0.2 / n  # at the sums of the output units; 0.2 is the loss's own, a mean over ten
        a3 = (1 - z3**2) ** 2 * (net.outw**2 @ a4)
        a2 = (1 - flat**2) ** 2 * (net.H3w**2 @ a3)
        zero["outw"] += torch.outer(z3**2, a4)
        zero["outb"] += a4
        zero["H3w"] += torch.outer(flat**2, a3)
        zero["H3b"] += a3
        at_z1 = torch.zeros_like(z1)
        for m, table in enumerate(net.table):
            for y in range(4):
                for x in range(4):
                    h = a2.view(12, 4, 4)[m, y, x]
                    ys, xs = slice(2 * y, 2 * y + 5), slice(2 * x, 2 * x + 5)
                    zero["H2b"][m, y, x] += h
                    zero["H2w"][m] += h * z1[table, ys, xs] ** 2
                    at_z1[table, ys, xs] += h * net.H2w[m] ** 2
        for m in range(12):
            for y in range(8):
                for x in range(8):
                    h = (1 - z1[m, y + 2, x + 2] ** 2) ** 2 * at_z1[m, y + 2, x + 2]
                    zero["H1b"][m, y, x] += h
                    zero["H1w"][m, 0] += h * z0[2 * y : 2 * y + 5, 2 * x : 2 * x + 5] ** 2
    return zero


@torch.no_grad()
def test_is_the_recursion_by_hand_for_the_real_net() -> None:
    net, images = network(table="cyclic"), digits(2)
    expected = by_hand(net, images, LABELS[:2])
    found = curvatures(net, TanhMSE(), images, LABELS[:2])
    for name, p in net.named_parameters():
        torch.testing.assert_close(found[p], expected[name], msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@every_head
def test_patches_and_convolutions_have_the_same(activation: str, head: Head) -> None:
    net, images, labels = network(activation=activation), digits(32), torch.arange(32) % 10
    together = curvatures(net, head, images, labels)
    halves = [curvatures(net, head, images[s], labels[s]) for s in (slice(0, 16), slice(16, 32))]
    for p, h in together.items():
        torch.testing.assert_close(h, (halves[0][p] + halves[1][p]) / 2)


@pytest.mark.parametrize("make", [ConvNet1989, FullyConnected1989])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@every_head
def test_no_curvature_is_negative_and_some_of_every_layer_is_positive(make, activation: str, head: Head) -> None:
    net = make(activation=activation, seed=1).double()
    found = curvatures(net, head, digits(5), LABELS)
    assert found.keys() == set(net.parameters())
    for p, h in found.items():
        assert h.shape == p.shape and not h.requires_grad
        assert (h >= 0).all() and h.max() > 0 and h.isfinite().all()


def test_leaves_the_gradients_and_the_graph_alone() -> None:
    net = network()
    curvatures(net, TanhMSE(), digits(2), LABELS[:2])
    assert all(p.grad is None for p in net.parameters())


class WithSoftmax(OneLayer):
    def outputs(self, prepared: Tensor, keep: Tensor | None = None) -> Tensor:
        return super().outputs(prepared).softmax(1)


def test_an_operation_without_a_rule_is_named() -> None:
    with pytest.raises(BadArgument, match=r"^optimizer: .*no rule for aten\._softmax.*; allowed: another optimizer"):
        curvatures(WithSoftmax(), TanhMSE(), digits(2), LABELS[:2])


class WithSpare(OneLayer):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.w.requires_grad_(False)


def test_a_parameter_that_takes_no_part_has_none() -> None:
    net = WithSpare()
    found = curvatures(net, TanhMSE(), digits(2), LABELS[:2])
    assert found.keys() == {net.b, net.spare} and not found[net.spare].any()
