import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import lecun_repro
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.data.sources.base import find_source
from lecun_repro.data.sources.digits import Digits
from lecun_repro.data.splits import Split
from lecun_repro.errors import BadArgument


class Stripes(lecun_repro.Source):
    """Six and four rows of a step function."""

    counts: ClassVar = {"train": 6, "test": 4}

    def load(self, part: str, indices: np.ndarray, root: Path) -> Split:
        images = torch.zeros(len(indices), 1, 16, 16) + torch.from_numpy(indices).float().view(-1, 1, 1, 1) / 10
        return Split(images, torch.from_numpy(indices))


class Unfinished(lecun_repro.Source):
    counts: ClassVar = {"train": 6, "test": 4}


class Greedy(Stripes):
    def __init__(self, argument) -> None: ...


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "letters", sys.modules[__name__])


def test_our_own_are_found_by_their_file_and_of_a_user_s_by_import_path() -> None:
    assert isinstance(find_source("digits"), Digits)
    assert isinstance(find_source("letters.Stripes"), Stripes)


@pytest.mark.parametrize("name", ["base", "mnits", "sys", "os.getcwd", "nowhere.Letters", "letters.Unfinished", "", 3])
def test_all_else_is_refused_and_not_called(name) -> None:
    with pytest.raises(BadArgument, match=r"^source: .*; allowed: digits, mnist, usps, or the import path") as error:
        find_source(name)
    assert error.value.given == name


def test_a_source_that_cannot_be_built_says_why() -> None:
    with pytest.raises(BadArgument, match=r"of your own \(.*missing 1 required positional argument: 'argument'\)"):
        find_source("letters.Greedy")


@pytest.mark.parametrize(("draw", "train"), [("article", [0, 1, 2, 3]), (3, None)])
def test_a_source_of_one_s_own_is_drawn_from_and_served(draw, train) -> None:
    data = DigitsDataModule("letters.Stripes", draw=draw, train_size=5, holdout=1)
    data.setup()
    expected = np.random.RandomState(3)
    expected.permutation(4)
    train = train or expected.permutation(6)[:4].tolist()
    assert data.train.labels.tolist() == train
    assert data.source == "letters.Stripes"
    [block] = data.train_dataloader()
    assert block.labels.flatten().tolist() == train
