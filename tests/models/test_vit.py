"""The micro-ViT: its counts against torch's own, its tokens; its updates are in test_updates.py."""

import pytest
import torch
from test_convnet import digits
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lecun_repro.models.base import Network
from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.models.fully_connected import FullyConnected1989
from lecun_repro.models.vit import MicroViT
from lecun_repro.models.wide import WideConvNet

SHAPES = [{}, {"patch": [4, 4], "width": 16, "hidden": 64}, {"blocks": 2, "width": 16, "heads": 4, "hidden": 40}]
OTHERS = [ConvNet1989(table="full"), FullyConnected1989(), WideConvNet()]  # H2 is computed densely, whatever its table


@pytest.mark.parametrize("net", [*(MicroViT(seed=1, **shape) for shape in SHAPES), *OTHERS])
def test_counts_are_those_of_torch(net: Network) -> None:
    with FlopCounterMode(display=False) as counter:
        net(digits(32).float())
    assert counter.get_total_flops() == 2 * 32 * sum(size.macs for size in net.sizes())
    assert sum(size.parameters for size in net.sizes()) == sum(p.numel() for p in net.parameters())


def test_is_of_the_1989_network_s_size() -> None:
    ours, others = (
        [sum(column) for column in zip(*(size[2:4] for size in net.sizes()), strict=True)]
        for net in (MicroViT(), ConvNet1989())
    )
    assert (ours, others) == ([9_794, 63_360], [9_760, 63_660])


def test_a_token_is_a_patch() -> None:
    images = torch.arange(256.0).view(1, 1, 1, 16, 16)
    prepared = MicroViT(patch=[4, 8]).prepare(images)
    assert prepared.shape == (1, 1, 8, 32)
    for token, (row, column) in enumerate((row, column) for row in range(0, 16, 4) for column in (0, 8)):
        assert torch.equal(prepared[0, 0, token].view(4, 8), images[0, 0, 0, row : row + 4, column : column + 8])


def test_attention_is_torch_s() -> None:
    net = MicroViT(seed=3).double()
    block = net.blocks[0]
    rows = torch.randn((5 * 8, 72), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    queries, keys, values = rows.view(5, 8, 3, 2, 12).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).reshape(40, 24)
    torch.testing.assert_close(block.attention(rows), expected)


def test_a_block_adds_attention_and_then_a_perceptron_at_every_token() -> None:
    net = MicroViT(seed=3).double()
    block = net.blocks[0]
    rows = torch.randn((16, 24), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    attended = rows + block.attention(F.layer_norm(rows, (24,)) @ block.qkv.weight) @ block.merge.weight
    perceptron = F.gelu(F.layer_norm(attended, (24,)) @ block.hidden.weight) @ block.back.weight
    torch.testing.assert_close(block(rows), attended + perceptron)  # biases start at 0, norms at 1 and 0


def test_digits_do_not_see_one_another() -> None:
    net, images = MicroViT(seed=1).double(), digits(3)
    torch.testing.assert_close(net(images)[1:2], net(images[1:2]))


def test_keep_drops_numbers_of_the_last_block_and_scales_the_others() -> None:
    net, prepared = MicroViT(seed=1, dropout=0.5).double(), MicroViT().prepare(digits(2)[None])[0]
    keep = torch.zeros((2, 192), dtype=torch.bool)
    torch.testing.assert_close(net.outputs(prepared, keep), net.out.bias.expand(2, 10))
    kept = net.outputs(prepared, ~keep)
    torch.testing.assert_close(kept, 2 * net.outputs(prepared))  # its biases are 0
    torch.testing.assert_close(net(digits(2)), net.outputs(prepared))


@pytest.mark.parametrize(
    "shape, fault",
    [
        ({"patch": [5, 4]}, r"patch: \[5, 4\]; allowed: \[height, width\], each a divisor of 16"),
        ({"patch": [4]}, "patch: "),
        ({"patch": [0, 4]}, "patch: "),
        ({"heads": 5}, "heads: 5; allowed: a divisor of the width, 24"),
        ({"dropout": 1.0}, "dropout: 1.0; allowed: a number from 0 to below 1"),
    ],
)
def test_refuses_shapes_that_are_none(shape: dict, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        MicroViT(**shape)
