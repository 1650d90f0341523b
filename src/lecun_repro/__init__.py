"""LeCun's 1989 convolutional network, and Karpathy's 2022 article about it, row by row."""

import gc

# ruff: noqa: E402
# The imports make a million objects that stay to the end. Not looking for garbage among them, then and ever after,
# saves a command a second and a half.
_was_enabled = gc.isenabled()
gc.disable()

from lecun_repro.data import DigitsDataModule
from lecun_repro.fully_connected import FullyConnected1989
from lecun_repro.heads import CrossEntropy, Head, TanhMSE
from lecun_repro.module import DigitClassifier
from lecun_repro.network import ConvNet1989, Network
from lecun_repro.network_vit import MicroViT
from lecun_repro.newton import StochasticDiagonalLM

gc.freeze()
if _was_enabled:
    gc.enable()

__all__ = [
    "ConvNet1989",
    "CrossEntropy",
    "DigitClassifier",
    "DigitsDataModule",
    "FullyConnected1989",
    "Head",
    "MicroViT",
    "Network",
    "StochasticDiagonalLM",
    "TanhMSE",
]
