"""Plain modules as networks: what they draw and keep, traced and eager, block by block, resumed."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from test_module import make_trainer
from test_updates import CLOSE, assert_same_run, needs_compiler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.errors import BadArgument
from lecun_repro.models.heads import CrossEntropy
from lecun_repro.models.plain import as_network
from lecun_repro.training.averaging import Average
from lecun_repro.training.compile_cache import CompileError
from lecun_repro.training.forward import Drawing, check_network, effects
from lecun_repro.training.module import DigitClassifier
from lecun_repro.training.updates import CompiledUpdates, Updates, eager_updates


class Net(nn.Module):
    """As anyone would write it; some names are those of `Network`'s own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 5, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.2))
        self.dropout, self.alpha = nn.Dropout(0.2), nn.AlphaDropout(0.1)
        self.norms = nn.Sequential(nn.LayerNorm(64), nn.GroupNorm(2, 64), nn.BatchNorm1d(64))
        self.out = nn.LazyLinear(10)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.alpha(self.norms(self.dropout(self.layers(images).flatten(1)))))


class Noisy(nn.Linear):
    """Noise of every kind that can be drawn, on digits and on weights."""

    def __init__(self) -> None:
        super().__init__(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1) + 0.1 * torch.rand_like(images).flatten(1) + 0.1 * torch.randn(256, dtype=images.dtype)
        x = x * torch.empty_like(x).uniform_(0.9, 1.1) * torch.bernoulli(torch.full_like(x, 0.9))
        outputs = F.linear(x, self.weight + 0.1 * torch.randn_like(self.weight), self.bias)
        return outputs + F.gumbel_softmax(outputs) + torch.normal(0.0, 0.1, (10,)).to(x)


def updates(kind: type[nn.Module] = Net, average: Any = None) -> Updates:
    torch.manual_seed(0)
    network = as_network(kind()).double()
    optimizer = SGD(network.parameters(), lr=0.01, momentum=0.9)
    generator = torch.Generator().manual_seed(1)
    return Updates(
        network, CrossEntropy(), optimizer, average=average and Average(network, average, 0.9), generator=generator
    )


def digits(n: int, batch: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((n, batch, 1, 16, 16), generator=generator, dtype=torch.float64) * 2 - 1
    return images, torch.randint(10, (n, batch), generator=generator)


def assert_compiled_equals_eager(kind: type[nn.Module], average: str | None) -> None:
    ours, other = updates(kind, average), updates(kind, average)
    compiled, (images, labels) = CompiledUpdates(ours), digits(6)
    losses = torch.cat([compiled((images[a:b], labels[a:b])) for a, b in ((0, 2), (2, 6))])
    torch.testing.assert_close(losses, eager_updates(other, (images, labels)), **CLOSE)
    assert_same_run(ours, other, **CLOSE)


@pytest.mark.parametrize("kind", [Net, pytest.param(Noisy, marks=pytest.mark.slow)])
def test_traced_equals_eager_whatever_the_blocks(kind: type[nn.Module], traced: list) -> None:
    assert_compiled_equals_eager(kind, None)
    assert len(traced) == 1


class Small(nn.Sequential):
    """Compiled in less time than `Net`."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 10), nn.BatchNorm1d(10))


@needs_compiler
@pytest.mark.parametrize(
    "kind", [pytest.param(Small, marks=pytest.mark.slow), pytest.param(Net, marks=pytest.mark.full)]
)
def test_compiled_equals_eager(kind: type[nn.Module]) -> None:
    assert_compiled_equals_eager(kind, "swa")


def test_eager_blocks_give_the_same_bits() -> None:
    whole, parts, (images, labels) = updates(), updates(), digits(6)
    eager_updates(whole, (images, labels))
    for first, last in ((0, 1), (1, 6)):
        eager_updates(parts, (images[first:last], labels[first:last]))
    assert_same_run(parts, whole)


@pytest.mark.parametrize("draw, mean, std", [
    (lambda x: F.dropout(x, 0.2), 1.0, 0.5), (lambda x: torch.rand_like(x), 0.5, 12**-0.5),
    (lambda x: torch.randn_like(x), 0.0, 1.0), (lambda x: x.clone().exponential_(2.0), 0.5, 0.5),
    (lambda x: x.clone().normal_(3.0, 2.0), 3.0, 2.0), (lambda x: x.clone().uniform_(1.0, 3.0), 2.0, 3**-0.5),
])  # fmt: skip
def test_what_is_drawn_has_its_distribution(draw: Any, mean: float, std: float) -> None:
    with Drawing(functools.partial(torch.rand, generator=torch.Generator().manual_seed(0))):
        drawn = draw(torch.ones(100_000))
    torch.testing.assert_close((drawn.mean().item(), drawn.std().item()), (mean, std), rtol=0.01, atol=0.01)


def test_an_average_takes_the_running_statistics_as_they_are() -> None:
    made = updates(average="ema")
    eager_updates(made, digits(3))
    assert made.average is not None
    for name, buffer in made.network.named_buffers():
        assert torch.equal(buffer, made.average.network.get_buffer(name))
    assert not torch.equal(made.average.network.module.out.weight, made.network.module.out.weight)


# What could not be trained, resumed or traced


def test_buffers_that_change_are_found_and_the_network_is_left_alone() -> None:
    network = as_network(Net())
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    found = effects(network, (torch.rand(2, 1, 16, 16),))
    assert set(found.changes) == set(before) and found.draws == 2 * (4 + 64 + 64)
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


class Assigns(nn.Linear):
    """A buffer in the place of another, or one that no checkpoint has."""

    def __init__(self, persistent: bool) -> None:
        super().__init__(256, 10)
        self.register_buffer("seen", torch.zeros(()), persistent)
        self.persistent = persistent

    def forward(self, images: Tensor) -> Tensor:
        if self.persistent:
            self.seen = self.seen + 1
        else:
            self.seen += 1
        return super().forward(images.flatten(1))


class Permutes(nn.Linear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.flatten(1)[torch.randperm(len(images))])


@pytest.mark.parametrize("network, batch, left, why", [
    (Net(), 1, 0, "data.batch_size: 1 with batch normalization"),
    (Net(), 8, 1, "data.batch_size: 8 with batch normalization, and a pass's last update of one digit"),
    (nn.Sequential(nn.Flatten(), nn.Linear(256, 7)), 1, 0, r"which makes \(1, 7\) of 1 digits; .*outputs \(n, 10\)"),
    (nn.Linear(3, 3), 4, 0, "Linear; allowed: .*cannot be multiplied"),
    (Assigns(True), 1, 0, "which assigns its buffer seen anew; allowed: one that changes it in place"),
    (Assigns(False), 1, 0, "which changes its buffer seen; allowed: one whose buffers that change are persistent"),
    (Permutes(256, 10), 1, 0, "draws with aten.randperm"),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused(network: nn.Module, batch: int, left: int, why: str) -> None:
    with pytest.raises(BadArgument, match=why):
        check_network(as_network(network), batch, left)


class Branches(nn.Linear):
    """Looks at its digits."""

    def forward(self, images: Tensor) -> Tensor:
        outputs = super().forward(images.flatten(1))
        return -outputs if outputs.sum() > 0 else outputs


class Counts(nn.Linear):
    """Keeps a number in Python."""

    calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(images.flatten(1)) / self.calls


@pytest.mark.parametrize("kind, why", [(Branches, "cannot be traced .*value"), (Counts, "another one each time")])
def test_what_cannot_be_traced_says_why(kind: Any, why: str, traced: list) -> None:
    made = updates(functools.partial(kind, 256, 10))  # type: ignore[arg-type]
    with pytest.raises(CompileError, match=f"^{kind.__name__}.*{why}"):
        CompiledUpdates(made).ready(digits(2))


# Whole fits


def fit(checkpoint: Path, passes: int, ckpt_path: Path | None = None, block_size: int = 2048) -> dict[str, Tensor]:
    torch.manual_seed(1)
    optimizer = functools.partial(SGD, lr=0.03)
    module = DigitClassifier(Net(), CrossEntropy(), optimizer, average="ema", average_decay=0.9, compile=False)
    trainer = make_trainer(max_epochs=passes)
    data = DigitsDataModule("digits", train_size=30, test_size=10, batch_size=8, block_size=block_size)
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    trainer.save_checkpoint(checkpoint)
    return module.state_dict()


def test_fits_depend_on_the_seed_alone_and_resume_exactly(tmp_path: Path) -> None:
    whole, one = fit(tmp_path / "whole.ckpt", 2), tmp_path / "one.ckpt"
    fit(one, 1)
    for again in (fit(tmp_path / "blocks.ckpt", 2, block_size=1), fit(tmp_path / "resumed.ckpt", 2, one)):
        assert all(torch.equal(again[name], value) for name, value in whole.items())
    assert whole["network.norms.2.num_batches_tracked"] == 2 * 4
