"""The diagonal Newton method: its update, its fast path and its place in a fit."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_module import Fitted, make_data, make_module
from test_updates import Case, assert_compiled_equals_eager, assert_same_run, needs_compiler
from torch import nn

from lecun_repro.__main__ import main
from lecun_repro.models.heads import TanhMSE
from lecun_repro.randomness import pass_generator
from lecun_repro.training.curvature import curvatures
from lecun_repro.training.newton import StochasticDiagonalLM
from lecun_repro.training.updates import CompiledUpdates, eager_updates

NEWTON = functools.partial(StochasticDiagonalLM, lr=0.001, mu=0.02, sample=7)


def with_curvature(params: Iterable[nn.Parameter]) -> StochasticDiagonalLM:
    """With a curvature of its own for every weight."""
    optimizer = NEWTON(params)
    generator = torch.Generator().manual_seed(0)
    params = optimizer.param_groups[0]["params"]
    optimizer.set_curvature({p: torch.rand(p.shape, generator=generator, dtype=p.dtype) for p in params})
    return optimizer


CASE = Case(TanhMSE, "scaled_tanh", with_curvature)


def test_every_weight_has_a_rate_of_its_own() -> None:
    p, q = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([3.0]))
    optimizer = StochasticDiagonalLM([p, q], lr=0.1, mu=0.5)
    optimizer.set_curvature({p: torch.tensor([0.0, 1.5])})
    p.grad, q.grad = torch.tensor([1.0, -2.0]), torch.tensor([1.0])
    optimizer.step()
    torch.testing.assert_close(p.detach(), torch.tensor([1 - 0.1 / 0.5, 2 + 2 * 0.1 / 2.0]))
    torch.testing.assert_close(q.detach(), torch.tensor([3 - 0.1 / 1.5]))  # a curvature is 1 until it is set


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    p = nn.Parameter(torch.ones(2))
    StochasticDiagonalLM([p]).step()
    assert (p == 1).all()


@pytest.mark.parametrize(
    "given", [{"lr": -0.1}, {"lr": float("inf")}, {"mu": 0.0}, {"mu": -1.0}, {"mu": float("nan")}, {"sample": 0}]
)
def test_refuses_what_cannot_be(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(given))}: .*; allowed: "):
        StochasticDiagonalLM([nn.Parameter(torch.ones(1))], **given)


def test_takes_no_closure() -> None:
    with pytest.raises(ValueError, match="no closure"):
        NEWTON([nn.Parameter(torch.ones(1))]).step(lambda: 0.0)


def test_one_newton_step_finds_the_bottom_of_a_parabola() -> None:
    # E = (3 w - 6)**2 / 2 has curvature 9; with rate 1 and a mu of next to nothing one update ends at w = 2.
    w = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = StochasticDiagonalLM([w], lr=1.0, mu=1e-12)
    optimizer.set_curvature({w: torch.tensor([9.0])})
    ((3 * w - 6) ** 2 / 2).sum().backward()
    optimizer.step()
    torch.testing.assert_close(w.detach(), torch.tensor([2.0], dtype=torch.float64))


# The fast path


@pytest.mark.slow
@needs_compiler
def test_compiled_equals_eager() -> None:
    assert_compiled_equals_eager(CASE.make(), CASE.make(), CASE.examples(300))


def test_new_curvatures_need_no_new_graph(traced: list) -> None:
    made, other, examples = CASE.make(), CASE.make(), CASE.examples(4)
    compiled = CompiledUpdates(made)
    for scale in (1.0, 0.3):
        for optimizer in (made.optimizer, other.optimizer):
            params = optimizer.param_groups[0]["params"]
            optimizer.set_curvature({p: scale * torch.ones_like(p) for p in params})  # type: ignore[attr-defined]
        compiled(examples)
        eager_updates(other, examples)
    assert_same_run(made, other, rtol=1e-6, atol=1e-7)
    assert len(traced) == 1


# In a fit


def test_a_fit_refreshes_the_curvature_before_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(network, head, images, labels):
        seen.append((images, labels))
        return curvatures(network, head, images, labels)

    monkeypatch.setattr("lecun_repro.training.module.curvatures", watched)
    data = make_data()
    fitted = Fitted(make_module(NEWTON, seed=5), data, max_epochs=2)
    for number, (images, labels) in enumerate(seen):
        drawn = torch.randperm(20, generator=pass_generator(5, number, "curvature"))[:7]
        assert torch.equal(images, data.train.images[drawn]) and torch.equal(labels, data.train.labels[drawn])
    assert len(seen) == 2
    optimizer = fitted.trainer.optimizers[0]
    assert all((optimizer.state[p]["curvature"] != 1).any() for p in fitted.module.network.parameters())


def test_a_sample_larger_than_the_training_digits_is_all_of_them() -> None:
    Fitted(make_module(functools.partial(StochasticDiagonalLM, lr=0.001)), make_data(), max_epochs=1)


@pytest.mark.slow
@pytest.mark.usefixtures("own_folder")
def test_a_resumed_fit_is_the_undisturbed_one_to_the_last_bit() -> None:
    def fitted(version: str, *flags: str) -> dict[str, Any]:
        config = str(Path(__file__).parents[2] / "configs/1989/3_paper.yaml")
        size = ["--data.source=digits", "--data.train_size=30", "--data.test_size=10", "--optimizer.sample=20"]
        main(["fit", "--config", config, *size, f"--trainer.logger.init_args.version={version}", *flags])
        return torch.load(f"lightning_logs/3_paper/{version}/checkpoints/last.ckpt", weights_only=True)

    whole = fitted("whole", "--trainer.max_epochs=3")
    fitted("cut", "--trainer.max_epochs=2")
    last = "lightning_logs/3_paper/cut/checkpoints/last.ckpt"
    resumed = fitted("resumed", "--trainer.max_epochs=3", f"--ckpt_path={last}")
    for name, weight in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], weight)
    for number, state in whole["optimizer_states"][0]["state"].items():
        assert torch.equal(resumed["optimizer_states"][0]["state"][number]["curvature"], state["curvature"])


@pytest.mark.usefixtures("own_folder")
def test_the_command_line_knows_it_by_its_short_name() -> None:
    config = str(Path(__file__).parents[2] / "configs/quickstart.yaml")
    flags = ["--optimizer=StochasticDiagonalLM", "--optimizer.lr=0.001", "--lr_scheduler=null", "--data.train_size=30"]
    main(["fit", "--config", config, *flags, "--trainer.max_epochs=1"])
