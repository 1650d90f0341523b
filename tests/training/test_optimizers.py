"""Any optimizer's step as a function of tensors: traced, compiled and held against the optimizer's own."""

import functools
from collections.abc import Callable
from typing import Any

import lion_pytorch
import pytest
import torch
from test_updates import CLOSE, assert_same_run, needs_compiler
from torch import Tensor, nn, optim

from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.models.heads import CrossEntropy
from lecun_repro.training.averaging import Average
from lecun_repro.training.muon import MuonAdamW
from lecun_repro.training.newton import StochasticDiagonalLM
from lecun_repro.training.optimizers import NotTraceable, numbers, pure_step
from lecun_repro.training.updates import Clip, CompiledUpdates, Examples, Updates, eager_updates


class Lion(optim.Optimizer):
    """Written as anyone would (Chen et al. 2023)."""

    def __init__(self, params: Any, lr: float = 1e-4, betas: tuple = (0.9, 0.99), weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["exp_avg"] = torch.zeros_like(p)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                direction = state["exp_avg"] * group["betas"][0] + p.grad * (1 - group["betas"][0])
                p.add_(direction.sign(), alpha=-group["lr"])
                state["exp_avg"].mul_(group["betas"][1]).add_(p.grad, alpha=1 - group["betas"][1])


class Remembers(optim.SGD):
    """What is a parameter in one step is the last one in the next, and the one before in that after it."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state |= {"before": p.clone(), "last": p.clone()}
                moved = group["lr"] * p.grad - 0.3 * (state["last"] - state["before"])
                state["before"].copy_(state["last"])
                state["last"].copy_(p)
                p.sub_(moved)


class Normed(optim.SGD):
    """Moves every parameter by the same length: no elementwise update."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * self.direction(p.grad))

    def direction(self, grad: Tensor) -> Tensor:
        return grad / grad.norm()


class Counts(Normed):
    """Counts its parameters' steps in Python."""

    steps = 0

    def direction(self, grad: Tensor) -> Tensor:
        self.steps += 1
        return grad / self.steps


class Noisy(Normed):
    """Draws random numbers."""

    def direction(self, grad: Tensor) -> Tensor:
        return grad + 0 * torch.randn_like(grad)


ELEMENTWISE: dict[str, Callable[..., optim.Optimizer]] = {
    name: getattr(optim, name)
    for name in ("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop")
}
ELEMENTWISE |= {
    "SGD": functools.partial(optim.SGD, lr=0.01),
    "nesterov": functools.partial(optim.SGD, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.001),
    "amsgrad": functools.partial(optim.AdamW, amsgrad=True, maximize=True),
    "centered": functools.partial(optim.RMSprop, momentum=0.9, centered=True),
    "Newton": StochasticDiagonalLM,
    "Lion": Lion,
    "Remembers": functools.partial(Remembers, lr=0.01),
    "lion_pytorch": functools.partial(lion_pytorch.Lion, weight_decay=0.01),  # another package's
}


def matrices() -> list[nn.Parameter]:
    network = ConvNet1989(seed=1337)
    return [network.H3w, network.outw]  # type: ignore[list-item]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_elementwise_step_takes_all_parameters_as_one_vector(name: str) -> None:
    step = pure_step(ELEMENTWISE[name](ConvNet1989(seed=1337).parameters()))
    assert [tree["param"].shape for tree in step.read()] == [(9760,)]


@pytest.mark.parametrize("make", [optim.Muon, functools.partial(Normed, lr=0.1)])
def test_a_step_that_is_not_elementwise_sees_every_parameter_in_its_shape(make: Callable) -> None:
    step = pure_step(make(matrices()))
    assert [tree["param"].shape for tree in step.read()] == [(192, 30), (30, 10)]


def test_every_group_is_a_vector_of_its_own() -> None:
    net = ConvNet1989(seed=1337)
    weights, biases = ([p for n, p in net.named_parameters() if n.endswith(end)] for end in ("w", "b"))
    step = pure_step(optim.AdamW([{"params": weights}, {"params": biases, "weight_decay": 0.0, "lr": 0.1}]))
    assert [len(tree["param"]) for tree in step.read()] == [8760, 1000]
    assert [number.name for number in step.inputs] == ["lr", "weight_decay"] * 2


@pytest.mark.parametrize(
    "make, why",
    [
        (functools.partial(Counts, lr=0.1), "counts its steps in Python|is another one when traced"),
        (functools.partial(Noisy, lr=0.1), "draws random numbers"),
        (optim.LBFGS, "its step\\(\\) fails .*closure"),
        (optim.SparseAdam, "its step\\(\\) fails .*dense gradients"),
        (optim.Adafactor, "cannot be traced"),
    ],
)
def test_what_cannot_be_traced_says_why(make: Callable, why: str) -> None:
    with pytest.raises(NotTraceable, match=why):
        pure_step(make(matrices()))


def test_a_step_with_hooks_is_not_traced() -> None:
    optimizer = optim.SGD(matrices(), lr=0.1)
    optimizer.register_step_pre_hook(lambda *given: None)
    with pytest.raises(NotTraceable, match="hooks are registered"):
        pure_step(optimizer)


def test_trying_a_step_leaves_the_optimizer_and_random_numbers_alone() -> None:
    net = ConvNet1989(seed=1337)
    optimizer, before = optim.AdamW(net.parameters()), [p.detach().clone() for p in net.parameters()]
    torch.manual_seed(0)
    first = torch.rand(3)
    torch.manual_seed(0)
    pure_step(optimizer)
    assert torch.equal(torch.rand(3), first)
    assert not optimizer.state and all(torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))


def test_numbers_of_several_groups() -> None:
    groups = [{"lr": 0.1, "betas": (0.9, 0.99)}, {"lr": 0.2, "betas": (0.8, 0.88)}]
    assert [number.of(groups) for number in numbers(groups, ["lr", "betas"])] == [0.1, 0.9, 0.99, 0.2, 0.8, 0.88]


# Against the optimizer's own steps, in float64: interpreted here, compiled below


def examples(n: int) -> Examples:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((n, 1, 1, 16, 16), generator=generator, dtype=torch.float64) * 2 - 1
    keep = torch.rand((n, 1, 192), generator=generator) >= 0.25
    return ConvNet1989().prepare(images), torch.randint(10, (n, 1), generator=generator), keep


def updates(make: Callable, schedule: Any = None, clip: Clip | None = None, average: Any = None) -> Updates:
    net = ConvNet1989("relu", dropout=0.25, output_bias=0.0, seed=1337).double()
    optimizer = make(net.parameters())
    made = Average(net, *average) if average else None
    return Updates(net, CrossEntropy(), optimizer, schedule and schedule(optimizer), clip, made)


def assert_compiled_equals_its_own_steps(name: str, passes: int, n: int) -> None:
    ours, other = updates(**CASES[name]), updates(**CASES[name])
    compiled, digits = CompiledUpdates(ours), examples(n)
    for _ in range(passes):
        torch.testing.assert_close(compiled(digits), eager_updates(other, digits), **CLOSE)
    assert_same_run(ours, other, **CLOSE)


ONE_CYCLE = functools.partial(optim.lr_scheduler.OneCycleLR, max_lr=0.02, total_steps=1000)
# AdamW at a rate of 0.02 amplifies any rounding, whoever computes: of eager runs alone, one whose first weights are off
# by at most 1.1e-16 parts from another by 1e-15, 4e-14 to 2e-13, 2e-12 to 2e-11, 3e-10 to 3e-9 and 4e-9 to 4e-8 in five
# passes (largest difference of a weight, n = 5 draws); the compiled run by 4e-15, 7e-13, 8e-11, 1e-8 and 1e-7, which is
# the same growth from pass to pass (12 to 300 times, 12 to 200 times), begun a few roundings higher. So a tenth of it.
SLOWER = functools.partial(ONE_CYCLE, max_lr=0.002)
WITH_ALL = {
    "cycled": {"make": ELEMENTWISE["nesterov"], "schedule": ONE_CYCLE, "clip": Clip(norm=1.0), "average": ("ema", 0.9)},
    "swa": {"make": optim.AdamW, "schedule": SLOWER, "clip": Clip(value=0.1), "average": ("swa", 0.9, 3)},
}
CASES: dict[str, dict[str, Any]] = {name: {"make": make} for name, make in ELEMENTWISE.items()}
CASES |= {"MuonAdamW": {"make": MuonAdamW}, **WITH_ALL}


BY_DEFAULT = ("SGD", "nesterov", "AdamW", "RMSprop", "MuonAdamW", *WITH_ALL)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow) for name in CASES]
)
def test_traced_equals_its_own_step(name: str, traced: list) -> None:
    assert_compiled_equals_its_own_steps(name, passes=2, n=6)


# Each compiles for twenty seconds: with every commit a few, whose graphs are the most different.
ALSO_SLOW = ("RMSprop", "NAdam", "Remembers", "cycled")
COMPILED = [pytest.param(name, marks=pytest.mark.slow if name in ALSO_SLOW else pytest.mark.full) for name in CASES]


@needs_compiler
@pytest.mark.parametrize("name", COMPILED)
def test_five_compiled_passes_equal_its_own_steps(name: str) -> None:
    assert_compiled_equals_its_own_steps(name, passes=5, n=100)


def test_a_new_decay_and_a_new_dropout_need_no_new_graph(traced: list) -> None:
    ours, other = updates(optim.AdamW), updates(optim.AdamW)
    compiled = CompiledUpdates(ours)
    for decay, dropout in ((0.01, 0.25), (0.1, 0.5)):
        for each in (ours, other):
            each.optimizer.param_groups[0]["weight_decay"], each.network.dropout = decay, dropout
        compiled(examples(4))
        eager_updates(other, examples(4))
    assert_same_run(ours, other, **CLOSE)
    assert len(traced) == 1


# Averages


def values(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_averages_are_torch_s_own(kind: Any) -> None:
    net = nn.Linear(3, 2)
    rule = optim.swa_utils.get_ema_multi_avg_fn(0.9) if kind == "ema" else None
    ours, torchs = Average(net, kind, 0.9), optim.swa_utils.AveragedModel(net, multi_avg_fn=rule)
    for _ in range(5):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        ours.follow()
        torchs.update_parameters(net)
    torch.testing.assert_close(values(ours.network), values(torchs.module))


def test_an_average_begins_after_its_start() -> None:
    net = nn.Linear(3, 2)
    average = Average(net, "swa", start=2)
    seen = []
    for _ in range(4):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(1.0)
        seen.append(values(net))
        average.follow()
    torch.testing.assert_close(values(average.network), (seen[2] + seen[3]) / 2)
