import pytest
import torch

from lecun_repro import WideConvNet
from lecun_repro.errors import BadArgument


def test_its_counts() -> None:  # which test_vit holds against torch's
    sizes = WideConvNet().sizes()
    assert sum(size.parameters for size in sizes) == 74_818
    assert [size.shape for size in sizes] == ["24x16x16", "24x16x16", "48x8x8", "48x8x8", "64x4x4", "10"]
    assert sizes[1].macs == 9 * 24 * 24 * 256


def test_outputs_are_those_of_the_layers_one_after_the_other() -> None:
    net = WideConvNet([2, 3, 4, 5, 6], activation="tanh", seed=3).eval()
    images = torch.rand(4, 1, 16, 16)
    x = images
    for number in range(5):
        if number in (2, 4):
            x = torch.nn.functional.max_pool2d(x, 2)
        x = torch.tanh(net.norms[number](net.convolutions[number](x)))
    torch.testing.assert_close(net(images), net.out(x.flatten(1)))
    keep = torch.rand(4, 96) < 0.5
    torch.testing.assert_close(net(images, keep), net.out(x.flatten(1) * keep / 0.7))


@pytest.mark.parametrize("widths", [[8, 8], [8, 8, 0, 8, 8]])
def test_refuses_other_numbers_of_widths(widths: list[int]) -> None:
    with pytest.raises(BadArgument, match="5 integers from 1"):
        WideConvNet(widths)
