"""LeCun's 1989 convolutional network, and Karpathy's 2022 article about it, row by row."""

from lecun_repro.data import DigitsDataModule
from lecun_repro.heads import CrossEntropy, Head, TanhMSE
from lecun_repro.module import DigitClassifier
from lecun_repro.network import ConvNet1989, Network

__all__ = ["ConvNet1989", "CrossEntropy", "DigitClassifier", "DigitsDataModule", "Head", "Network", "TanhMSE"]
