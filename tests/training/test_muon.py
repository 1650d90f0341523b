"""Muon with AdamW against torch's own two optimizers."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon

from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.training.muon import MuonAdamW
from lecun_repro.training.optimizers import grouped, pure_step


@pytest.mark.parametrize("nesterov", [True, False])
def test_its_steps_are_those_of_torch_s_optimizers(nesterov: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.ParameterList([torch.randn(4, 2, 3, 3), torch.randn(3, 5), torch.randn(3), torch.randn(2, 3, 4)]).double()
    kernel, matrix, *rest = torchs = copy.deepcopy(net)
    flat = nn.Parameter(kernel.detach().view(4, 18))
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.clone)  # ours has the parameters' own precision
    muon = Muon([flat, matrix], 0.01, 0.1, 0.9, nesterov, adjust_lr_fn="match_rms_adamw")
    both = muon, AdamW(rest, 0.01, (0.8, 0.9), 1e-6, 0.1)
    monkeypatch.undo()
    ours = MuonAdamW(net.parameters(), 0.01, 0.1, 0.9, nesterov, (0.8, 0.9), 1e-6)
    for _ in range(3):
        for mine, other in zip(net, [flat, *torchs[1:]], strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone().view(other.shape)
        ours.step()
        with monkeypatch.context() as patch:
            patch.setattr(Tensor, "bfloat16", Tensor.clone)
            for each in both:
                each.step()
    for mine, other in zip(net, [flat, *torchs[1:]], strict=True):
        torch.testing.assert_close(mine.view(other.shape), other, rtol=1e-12, atol=1e-12)
    assert all(value.shape in ((), p.shape) for p, state in ours.state.items() for value in state.values())


def test_matrices_are_weights_unless_a_group_says_otherwise() -> None:
    net = ConvNet1989(seed=1337)
    ours = MuonAdamW(net.parameters())
    assert [[tuple(p.shape) for p in group["params"]] for group in ours.param_groups] == [
        [(12, 1, 5, 5), (12, 8, 5, 5), (192, 30), (30, 10)], [(12, 8, 8), (12, 4, 4), (30,), (10,)]
    ]  # fmt: skip
    ours = MuonAdamW(grouped(net, {"^out": {"muon": False, "lr": 0.1}}))
    assert [(group["muon"], group["lr"], len(group["params"])) for group in ours.param_groups] == [
        (True, 0.001, 3), (False, 0.001, 3), (False, 0.1, 2)
    ]  # fmt: skip


def test_what_is_not_muon_s_goes_through_a_step_as_one_vector() -> None:
    step = pure_step(MuonAdamW(ConvNet1989(seed=1337).parameters()))
    assert [len(tree["param"]) for tree in step.read()] == [12, 12, 192, 30, 1000]
