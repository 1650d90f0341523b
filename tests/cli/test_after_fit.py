"""The commands that a fit ends with."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from lecun_repro import ConvNet1989, CrossEntropy, DigitClassifier
from lecun_repro.cli.after_fit import drawable, of_ones_own


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.flatten(1))


def test_a_command_names_classes_of_one_s_own_which_it_would_be_refused_without() -> None:
    def flags(network: nn.Module, source: str) -> list[str]:
        trainer: Any = SimpleNamespace(datamodule=SimpleNamespace(source=source))
        return of_ones_own(trainer, DigitClassifier(network, CrossEntropy()))

    own = ["--model.network", f"{__name__}.Perceptron", "--data.source", "my_source.Letters"]
    assert flags(Perceptron(), "my_source.Letters") == own
    assert flags(ConvNet1989(), "mnist") == []


def test_a_page_is_offered_of_networks_that_it_computes_alone() -> None:
    def offered(network: nn.Module) -> bool:
        return drawable(DigitClassifier(network, CrossEntropy()))

    assert offered(ConvNet1989(activation="gelu"))
    assert not offered(ConvNet1989(activation="scaled_tanh_skip"))
    assert not offered(Perceptron())
