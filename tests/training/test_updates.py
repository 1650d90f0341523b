"""The eager updates against a plain loop, and the compiled ones against the eager.

Six compilations in all, each of ten seconds or more; what does not need the compiler runs the traced graph as it is.
"""

import copy
import functools
import itertools
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from test_convnet import plain_outputs
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from lecun_repro.data.augment import Augmentations
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.models.base import ACTIVATIONS
from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.models.heads import CrossEntropy, Head, TanhMSE
from lecun_repro.models.vit import MicroViT
from lecun_repro.training.compile_cache import CompileError, compiler
from lecun_repro.training.optimizers import NotTraceable
from lecun_repro.training.updates import (
    CompiledUpdates,
    Examples,
    Updates,
    denormals_flushed,
    eager_updates,
    keep_freed_memory,
)

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no working C++ compiler")


class Case(NamedTuple):
    """A network, its head, its optimizer and how many digits an update has."""

    head: type[Head]
    activation: str
    optimizer: Callable[..., Optimizer]
    batch: int = 1
    dtype: torch.dtype = torch.float64
    dropout: float = 0.25

    def make(self) -> Updates:
        network = ConvNet1989(self.activation, self.dropout, seed=1337).to(self.dtype)  # type: ignore[arg-type]
        return Updates(network, self.head(), self.optimizer(network.parameters()))

    def examples(self, updates: int, seed: int = 0) -> Examples:
        """Shifted digits and, with dropout, the units kept."""
        images, labels = digits(updates * self.batch, self.dtype)
        augmentations = Augmentations("roll", seed=seed)
        images = augmentations.apply(images, augmentations.draw(len(images), 0), slice(None))
        network = self.make().network
        prepared = network.prepare(images.view(updates, self.batch, 1, 16, 16))
        if not self.dropout:
            return prepared, labels.view(updates, self.batch)
        keep = torch.rand((updates, self.batch, 192), generator=torch.Generator().manual_seed(seed)) >= self.dropout
        return prepared, labels.view(updates, self.batch), keep


@functools.cache
def source() -> tuple[Tensor, Tensor]:
    data = DigitsDataModule(source="digits")
    data.setup()
    return data.train


def digits(n: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    images, labels = source()
    wrapped = torch.arange(n) % len(labels)
    return images[wrapped].to(dtype), labels[wrapped]


def part(examples: Examples, first: int, last: int | None) -> Examples:
    return tuple(p[first:last] for p in examples)  # type: ignore[return-value]


def in_blocks(update: Callable[[Examples], Tensor], examples: Examples, block: int) -> Tensor:
    n = len(examples[0])
    return torch.cat([update(part(examples, first, first + block)) for first in range(0, n, block)])


def eager(made: Updates) -> Callable[[Examples], Tensor]:
    return lambda examples: eager_updates(made, examples)


CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def assert_same_run(made: Updates, other: Updates, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Equal weights, buffers, averages and optimizer state."""
    close = functools.partial(torch.testing.assert_close, rtol=rtol, atol=atol)
    close(made.network.state_dict(), other.network.state_dict())
    if made.average is not None and other.average is not None:
        close(made.average.state_dict(), other.average.state_dict())
    ours, theirs = made.optimizer.state_dict(), other.optimizer.state_dict()
    close(ours["state"], theirs["state"])
    assert ours["param_groups"] == theirs["param_groups"]


def assert_compiled_equals_eager(made: Updates, other: Updates, examples: Examples, atol: float = 1e-9) -> None:
    """Losses, weights and optimizer state."""
    losses = CompiledUpdates(made)(examples)
    torch.testing.assert_close(losses, eager_updates(other, examples), rtol=1e-6, atol=1e-9)
    assert_same_run(made, other, rtol=1e-6, atol=atol)


# The eager updates against a plain loop


def plain_loop(
    case: Case, images: Tensor, labels: Tensor, keep: Tensor | None
) -> tuple[list[float], dict[str, Tensor]]:
    """Example by example as anyone would write it: none of ours but the initial values."""
    weights = {k: p.detach().clone().contiguous().requires_grad_() for k, p in case.make().network.named_parameters()}
    optimizer = case.optimizer(weights.values())
    losses = []
    for index in range(len(images)):
        mask = None if keep is None else keep[index]
        outputs = plain_outputs(weights, images[index : index + 1], ACTIVATIONS[case.activation], mask, case.dropout)
        if case.head is TanhMSE:
            target = -torch.ones(1, 10, dtype=torch.float64)
            target[0, labels[index]] = 1.0
            loss = torch.mean((torch.tanh(outputs) - target) ** 2)
        else:
            loss = F.cross_entropy(outputs, labels[index : index + 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {k: p.detach() for k, p in weights.items()}


ROW_1 = Case(TanhMSE, "tanh", functools.partial(SGD, lr=0.03), dropout=0.0)
ROW_5 = Case(CrossEntropy, "relu", functools.partial(AdamW, lr=3e-4))
SMOOTHED = ROW_5._replace(head=functools.partial(CrossEntropy, 0.1))


def assert_eager_equals_plain(case: Case, images: Tensor, labels: Tensor) -> None:
    made = case.make()
    examples: tuple = (made.network.prepare(images[:, None]), labels[:, None])
    keep = None
    if case.dropout:
        keep = torch.rand((len(images), 1, 192), generator=torch.Generator().manual_seed(0)) >= case.dropout
        examples = (*examples, keep)
    losses = eager_updates(made, examples)  # type: ignore[arg-type]
    plain_losses, plain_weights = plain_loop(case, images, labels, keep)
    torch.testing.assert_close(losses, torch.tensor(plain_losses, dtype=torch.float64), rtol=1e-6, atol=0)
    for name, weight in made.network.named_parameters():
        torch.testing.assert_close(weight, plain_weights[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", [ROW_1, ROW_5], ids=["row1", "row5"])
def test_eager_equals_a_plain_loop(case: Case) -> None:
    assert_eager_equals_plain(case, *digits(100))


def test_eager_equals_a_plain_loop_on_the_articles_digits(real_data) -> None:
    data = DigitsDataModule(root=real_data, train_size=100, test_size=1)
    data.setup()
    assert_eager_equals_plain(ROW_1, data.train.images.double(), data.train.labels)


# The compiled updates against the eager: every head, every activation, every formula, single digits and batches

COVERING = {
    "sgd": Case(TanhMSE, "tanh", functools.partial(SGD, lr=0.03)),
    "nesterov": Case(
        CrossEntropy, "gelu", functools.partial(SGD, lr=0.003, momentum=0.9, nesterov=True, weight_decay=1e-3), batch=8
    ),
    "dampened": Case(CrossEntropy, "tanh", functools.partial(SGD, lr=1e-5, momentum=0.9, dampening=0.3, maximize=True)),
    "adam": Case(TanhMSE, "silu", functools.partial(Adam, lr=1e-3, amsgrad=True, weight_decay=1e-3, eps=1e-4), batch=8),
    "adamw": Case(CrossEntropy, "relu", functools.partial(AdamW, lr=3e-4, eps=1e-4)),
}
# The sixth, as a fit in float32 has it; shared with the tests of the module.
FLOAT32 = Case(CrossEntropy, "relu", functools.partial(AdamW, lr=3e-4), dtype=torch.float32)

covering = pytest.mark.parametrize("case", COVERING.values(), ids=COVERING)


@pytest.mark.slow
@needs_compiler
@covering
def test_compiled_equals_eager(case: Case) -> None:
    assert_compiled_equals_eager(case.make(), case.make(), case.examples(500))


FULL = {
    "sgd": functools.partial(SGD, lr=0.003),
    "momentum": functools.partial(SGD, lr=0.001, momentum=0.9, dampening=0.3),
    "nesterov": functools.partial(SGD, lr=0.001, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "maximize": functools.partial(SGD, lr=1e-5, maximize=True),
    "adam": functools.partial(Adam, lr=1e-3, weight_decay=1e-3, eps=1e-4),
    "amsgrad": functools.partial(AdamW, lr=1e-3, amsgrad=True, eps=1e-4),
    "adamw": functools.partial(AdamW, lr=3e-4, eps=1e-4),
}


@pytest.mark.full
@needs_compiler
@pytest.mark.parametrize("batch", [1, 8, 64])
@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize(
    "head, activation, optimizer", list(itertools.product([TanhMSE, CrossEntropy], ACTIVATIONS, FULL))
)
def test_compiled_equals_eager_in_full(head, activation: str, optimizer: str, dropout: float, batch: int) -> None:
    test_compiled_equals_eager(Case(head, activation, FULL[optimizer], batch, dropout=dropout))


@pytest.mark.slow
@needs_compiler
def test_float32_has_the_same_loss_in_every_pass() -> None:
    made, other, examples = FLOAT32.make(), FLOAT32.make(), FLOAT32.examples(300)
    compiled = CompiledUpdates(made)
    for _ in range(4):
        loss, expected = compiled(examples).mean(), eager_updates(other, examples).mean()
        torch.testing.assert_close(loss, expected, rtol=0.01, atol=0)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("case", [COVERING["nesterov"], FLOAT32], ids=["nesterov", "float32"])
def test_compiled_blocks_of_any_size_give_the_same_bits(case: Case) -> None:
    examples = case.examples(50)  # no multiple of 7
    whole = case.make()
    losses = CompiledUpdates(whole)(examples)
    for block in (1, 7, 49, 2048):
        made = case.make()
        assert torch.equal(in_blocks(CompiledUpdates(made), examples, block), losses)
        assert_same_run(made, whole)


@pytest.mark.parametrize("case", [ROW_1, COVERING["adam"]], ids=["row1", "adam"])
def test_eager_blocks_of_any_size_give_the_same_bits(case: Case) -> None:
    examples = case.examples(20)
    whole = case.make()
    losses = eager_updates(whole, examples)
    for block in (1, 7, 2048):
        made = case.make()
        assert torch.equal(in_blocks(eager(made), examples, block), losses)
        assert_same_run(made, whole)


@pytest.mark.slow
@needs_compiler
def test_a_smaller_last_update_is_left_to_the_eager_path() -> None:
    case = COVERING["nesterov"]
    compiled = CompiledUpdates(case.make())
    assert compiled.ready(case.examples(3))
    assert not compiled.ready(case._replace(batch=3).examples(1))
    assert compiled.ready(case.examples(1))


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", ["dampened", "adam"])
def test_state_goes_on_in_a_plain_optimizer_and_back(name: str) -> None:
    case = COVERING[name]
    first, second, third = (case.examples(20, seed) for seed in range(3))
    made, other = case.make(), case.make()
    CompiledUpdates(made)(first)
    eager_updates(other, first)

    restored = case.make()
    restored.network.load_state_dict(copy.deepcopy(made.network.state_dict()))
    restored.optimizer.load_state_dict(copy.deepcopy(made.optimizer.state_dict()))
    eager_updates(restored, second)
    CompiledUpdates(restored)(third)
    for examples in (second, third):
        eager_updates(other, examples)
    assert_same_run(restored, other, rtol=1e-6, atol=1e-9)


# What the traced graph has in it and what it reads: run as it is, without the compiler


@pytest.mark.parametrize("case", [ROW_1, ROW_1._replace(batch=32), ROW_5._replace(batch=33), SMOOTHED])
def test_traced_equals_eager_without_dropout_and_by_convolution(case: Case, traced: list) -> None:
    assert_compiled_equals_eager(case.make(), case.make(), case.examples(5), atol=1e-7)


@pytest.mark.parametrize("batch", [1, 33])
@pytest.mark.parametrize(
    "kind, arguments", [(ConvNet1989, {"maps": 6}), (ConvNet1989, {"weight_norm": True}), (MicroViT, {})]
)
def test_traced_equals_eager_for_other_networks(kind: Any, arguments: dict, batch: int, traced: list) -> None:
    made, other = [
        Updates(network, CrossEntropy(), AdamW(network.parameters(), lr=1e-3, eps=1e-4))
        for network in (kind(dropout=0.25, seed=1337, **arguments).double() for _ in range(2))
    ]
    images, labels = digits(5 * batch)
    keep = torch.rand((5, batch, made.network.dropout_units), generator=torch.Generator().manual_seed(0)) >= 0.25
    examples = (made.network.prepare(images.view(5, batch, 1, 16, 16)), labels.view(5, batch), keep)
    assert_compiled_equals_eager(made, other, examples, atol=1e-7)
    assert len(traced) == 1


@pytest.mark.parametrize("case", [ROW_1, ROW_5], ids=["row1", "row5"])
def test_a_learning_rate_of_zero_leaves_the_weights_alone(case: Case, traced: list) -> None:
    # As schedules have it in a warm-up's first pass.
    made = case.make()
    made.optimizer.param_groups[0]["lr"] = 0.0
    CompiledUpdates(made)(case.examples(5))
    torch.testing.assert_close(
        dict(made.network.named_parameters()), dict(case.make().network.named_parameters()), rtol=0, atol=1e-12
    )


MOMENTUM = ROW_1._replace(optimizer=functools.partial(SGD, lr=0.01, momentum=0.9))
ADAMW = ROW_1._replace(optimizer=functools.partial(AdamW, lr=0.001))


@pytest.mark.parametrize("case, name, values, graphs", [
    (ROW_1, "lr", (0.01, 0.001), 1),
    (ROW_5, "lr", (0.01, 0.001), 1),
    (MOMENTUM, "momentum", (0.9, 0.0, 0.9), 2),  # back to the first one: its graph is still there
    pytest.param(MOMENTUM, "momentum", (0.9, 0.5, 0.9), 2, marks=pytest.mark.slow),
    pytest.param(MOMENTUM, "weight_decay", (0.0, 0.1, 0.0), 2, marks=pytest.mark.slow),
    pytest.param(ADAMW, "betas", ((0.9, 0.999), (0.8, 0.99), (0.9, 0.999)), 2, marks=pytest.mark.slow),
])  # fmt: skip
def test_another_hyperparameter_is_honoured(case: Case, name: str, values: tuple, graphs: int, traced: list) -> None:
    made, other, examples = case.make(), case.make(), case.examples(5)
    compiled = CompiledUpdates(made)
    for value in values:
        made.optimizer.param_groups[0][name] = other.optimizer.param_groups[0][name] = value
        compiled(examples)
        eager_updates(other, examples)
    assert_same_run(made, other, rtol=1e-6, atol=1e-7)
    assert len(traced) == graphs  # a learning rate is read by the graph


def test_a_learning_rate_may_be_a_tensor(traced: list) -> None:
    case = ROW_5._replace(optimizer=functools.partial(AdamW, lr=torch.tensor(0.001), foreach=False))
    made, other, examples = case.make(), case.make(), case.examples(5)
    CompiledUpdates(made)(examples)
    eager_updates(other, examples)
    torch.testing.assert_close(
        dict(made.network.named_parameters()), dict(other.network.named_parameters()), rtol=1e-6, atol=1e-7
    )


def test_no_gradient_is_left_behind(traced: list) -> None:
    made = ROW_1.make()
    CompiledUpdates(made)(ROW_1.examples(3))
    assert all(p.grad is None and p.is_leaf and p.requires_grad for p in made.network.parameters())


# What has no compiled update


class MySGD(SGD):
    """Might do anything."""


def test_eager_takes_any_optimizer() -> None:
    for make in (RMSprop, functools.partial(MySGD, lr=0.03)):
        assert_eager_equals_plain(ROW_1._replace(optimizer=make), *digits(10))


class WithSpare(ConvNet1989):
    """Has a parameter that takes no part in the loss."""

    def __init__(self) -> None:
        super().__init__(seed=1337)
        self.spare = torch.nn.Parameter(torch.ones(3))


class WithFrozen(ConvNet1989):
    """Has a parameter that is not to be trained."""

    def __init__(self) -> None:
        super().__init__(seed=1337)
        self.H1w.requires_grad_(False)


@pytest.mark.parametrize("network", [WithSpare, WithFrozen])
@pytest.mark.parametrize("make", [functools.partial(SGD, lr=0.1), AdamW], ids=["sgd", "adamw"])
def test_parameters_without_a_gradient_are_left_alone_or_to_the_eager_path(network, make, traced: list) -> None:
    images, labels = digits(3)
    net, other = network().double(), network().double()
    examples = (net.prepare(images[:, None]), labels[:, None])
    eager_updates(Updates(other, TanhMSE(), make(other.parameters())), examples)
    try:
        compiled = CompiledUpdates(Updates(net, TanhMSE(), make(net.parameters())))
        compiled.ready(examples)
    except (NotTraceable, CompileError):
        return  # refused: a fit then goes on without
    compiled(examples)
    torch.testing.assert_close(dict(net.named_parameters()), dict(other.named_parameters()), rtol=1e-6, atol=1e-9)


def denormals_are_zero() -> bool:
    return not (torch.full((), torch.finfo(torch.float32).tiny, dtype=torch.float32) / 2).item()


def test_numbers_too_small_to_be_normal_are_zero_in_updates_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Seen(SGD):
        def step(self, closure=None):
            seen.append(denormals_are_zero())
            return super().step(closure)

    case = ROW_1._replace(optimizer=functools.partial(Seen, lr=0.03))
    made, examples = case.make(), case.examples(2)
    eager_updates(made, examples)
    compiled = CompiledUpdates(ROW_1.make())

    def run(leaves: list[Tensor], xs: Any) -> tuple[list[Tensor], Tensor]:
        seen.append(denormals_are_zero())
        return leaves, torch.zeros(2)

    monkeypatch.setattr(compiled, "_runner", lambda *_: run)
    compiled(examples)
    assert seen == [True, True, True]
    assert not denormals_are_zero()


def test_a_thread_that_takes_denormals_for_zero_goes_on_doing_so() -> None:
    torch.set_flush_denormal(True)
    try:
        with denormals_flushed():
            pass
        assert denormals_are_zero()
    finally:
        torch.set_flush_denormal(False)


FAULTS = """
import resource, sys
import torch
from lecun_repro.training.updates import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(4):
    torch.ones(16_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another")
def test_memory_that_is_kept_is_not_cleared_anew() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("kept") < 100 < faults("given back")


def test_where_the_c_library_is_another_nothing_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))  # macOS, Windows, musl
    monkeypatch.setattr("ctypes.CDLL", None)
    keep_freed_memory.__wrapped__()
