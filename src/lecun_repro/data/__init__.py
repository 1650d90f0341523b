"""Digits: three sources, draws from them, shifts, image files, and the LightningDataModule that serves them."""

from lecun_repro.data.blocks import Block
from lecun_repro.data.datamodule import SOURCES, DigitsDataModule
from lecun_repro.data.files import DataError
from lecun_repro.data.splits import Split

__all__ = ["SOURCES", "Block", "DataError", "DigitsDataModule", "Split"]
