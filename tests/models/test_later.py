"""The network with what came later: the same parameters, and what each change does to a layer."""

import pytest
import torch
from torch.nn import functional as F

from lecun_repro.models.base import scaled_tanh
from lecun_repro.models.convnet import PAPER_PARAMETERS, ConvNet1989
from lecun_repro.models.later import LaterConvNet

DIGITS = torch.linspace(-1, 1, 3 * 256).view(3, 1, 16, 16)


@pytest.mark.parametrize("change", [{}, {"residual": True}, {"layer_norm": True}])
def test_it_starts_from_the_same_weights(change: dict) -> None:
    network, plain = LaterConvNet(**change, seed=3, activation="relu"), ConvNet1989(seed=3, activation="relu")
    assert sum(p.numel() for p in network.parameters()) == PAPER_PARAMETERS
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), plain.parameters(), strict=True))
    outputs = network(DIGITS)
    assert torch.allclose(outputs, plain(DIGITS), atol=1e-6) == (not change)
    assert torch.equal(network.outputs(network.prepare(DIGITS[None])[0]), outputs)


def test_the_residual_connection_adds_every_other_position_of_h1() -> None:
    network, plain = LaterConvNet(residual=True, seed=3), ConvNet1989(seed=3)
    h1 = plain.h1(DIGITS)
    assert torch.allclose(network.h2(h1) - plain.h2(h1), h1[:, :, ::2, ::2], atol=1e-6)


def test_layer_normalization_is_of_each_digit_s_units() -> None:
    network, plain = LaterConvNet(layer_norm=True, seed=3), ConvNet1989(seed=3)
    before = torch.atanh(plain.h1(DIGITS).double().clamp(-1 + 1e-9, 1 - 1e-9))
    expected = torch.tanh(F.layer_norm(before, before.shape[1:])).float()
    assert torch.allclose(network.h1(DIGITS), expected, atol=1e-3)


def test_batch_normalization_is_of_each_map_and_each_unit_over_the_digits() -> None:
    network, plain = LaterConvNet(batch_norm=True, seed=3), ConvNet1989(seed=3)
    assert sum(p.numel() for p in network.parameters()) == PAPER_PARAMETERS + 2 * (12 + 12 + 30)
    assert network.note == "with batch normalization: 9,868 parameters, the paper has 9,760"
    assert [size.parameters for size in network.sizes()] == [1068 + 24, 2592 + 24, 5790 + 60, 310]
    inputs = {"h1": DIGITS}
    inputs["h2"] = plain.h1(DIGITS)
    inputs["h3"] = plain.h2(inputs["h2"])
    for layer, given in inputs.items():
        before = torch.atanh(getattr(plain, layer)(given).double().clamp(-1 + 1e-9, 1 - 1e-9))
        expected = torch.tanh(F.batch_norm(before, None, None, training=True)).float()
        assert torch.allclose(getattr(network, layer)(given), expected, atol=1e-3)
    assert network.norms["H1"].num_batches_tracked == 1
    assert torch.allclose(network.eval()(DIGITS[:1]), network(DIGITS)[:1], atol=1e-6)  # by its running statistics


def test_the_skip_of_the_scaled_tanh_and_the_wide_range() -> None:
    network = ConvNet1989(activation="scaled_tanh_skip")
    x = torch.tensor([-9.0, 0.5, 9.0])
    assert torch.allclose(network.activation(x), scaled_tanh(x) + 0.05 * x)
    wide, article = ConvNet1989(seed=3, init="wide"), ConvNet1989(seed=3)
    assert torch.allclose(wide.H3w, article.H3w * 192**0.25, rtol=1e-6)
