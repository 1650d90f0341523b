"""LeCun's 1989 convolutional network, and Karpathy's 2022 article about it, row by row.

The public names. YAML files, checkpoints and results name classes by them, so that a class may move within the package.
They are imported when first asked for: `import lecun_repro` alone costs and does nothing.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lecun_repro.cli.build import load as load
    from lecun_repro.data.augment import Augmentation as Augmentation
    from lecun_repro.data.augment import Distortion as Distortion
    from lecun_repro.data.augment import Erase as Erase
    from lecun_repro.data.augment import Shift as Shift
    from lecun_repro.data.datamodule import DigitsDataModule as DigitsDataModule
    from lecun_repro.data.distortions import Affine as Affine
    from lecun_repro.data.distortions import Elastic as Elastic
    from lecun_repro.data.sources.base import Source as Source
    from lecun_repro.data.sources.mnist import to_16x16 as to_16x16
    from lecun_repro.data.splits import Split as Split
    from lecun_repro.models.base import Network as Network
    from lecun_repro.models.convnet import ConvNet1989 as ConvNet1989
    from lecun_repro.models.fully_connected import FullyConnected1989 as FullyConnected1989
    from lecun_repro.models.heads import CrossEntropy as CrossEntropy
    from lecun_repro.models.heads import Head as Head
    from lecun_repro.models.heads import TanhMSE as TanhMSE
    from lecun_repro.models.heads import Taught as Taught
    from lecun_repro.models.later import LaterConvNet as LaterConvNet
    from lecun_repro.models.vit import MicroViT as MicroViT
    from lecun_repro.models.wide import WideConvNet as WideConvNet
    from lecun_repro.training.module import DigitClassifier as DigitClassifier
    from lecun_repro.training.muon import MuonAdamW as MuonAdamW
    from lecun_repro.training.newton import StochasticDiagonalLM as StochasticDiagonalLM

_ROOMS = {
    "Affine": "data.distortions",
    "Augmentation": "data.augment",
    "ConvNet1989": "models.convnet",
    "CrossEntropy": "models.heads",
    "DigitClassifier": "training.module",
    "DigitsDataModule": "data.datamodule",
    "Distortion": "data.augment",
    "Elastic": "data.distortions",
    "Erase": "data.augment",
    "FullyConnected1989": "models.fully_connected",
    "Head": "models.heads",
    "LaterConvNet": "models.later",
    "MicroViT": "models.vit",
    "MuonAdamW": "training.muon",
    "Network": "models.base",
    "Shift": "data.augment",
    "Source": "data.sources.base",
    "Split": "data.splits",
    "StochasticDiagonalLM": "training.newton",
    "TanhMSE": "models.heads",
    "Taught": "models.heads",
    "WideConvNet": "models.wide",
}

_FUNCTIONS = {"load": "cli.build", "to_16x16": "data.sources.mnist"}

CLASSES = list(_ROOMS)
__all__ = [*_ROOMS, *_FUNCTIONS]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("lecun-repro")
    if (room := (_ROOMS | _FUNCTIONS).get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{room}"), name)
    return value
