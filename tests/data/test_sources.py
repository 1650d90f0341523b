import json
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import lecun_repro
from lecun_repro.cli.build import resolve
from lecun_repro.cli.config_files import load_config
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.data.sources.base import find_source
from lecun_repro.data.sources.digits import Digits
from lecun_repro.data.splits import Split
from lecun_repro.errors import BadArgument, DataError
from lecun_repro.runs.identity import config_hash


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


class Some(Stripes):
    """As many as are asked for, from a file that has to be there."""

    def __init__(self, train: int, file: str = "") -> None:
        self.counts = {"train": train, "test": 4}
        self.file = file

    def load(self, part: str, indices: np.ndarray, root: Path) -> Split:
        if self.file:
            Path(self.file).read_bytes()
        return super().load(part, indices, root)


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
    assert error.value.given in (name, f"{name}, which is no Source")


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


def some(**arguments: object) -> dict:
    return {"class_path": "letters.Some", "init_args": arguments}


def test_a_source_takes_arguments() -> None:
    data = DigitsDataModule(some(train=5))
    data.setup()
    assert len(data.train.labels) == 5
    assert data.source == "letters.Some"
    with pytest.raises(BadArgument, match=r"^source: letters.Some; allowed: .*unexpected keyword argument 'trian'"):
        find_source(some(trian=5))
    for spec in ({}, {"class_path": "os.getcwd"}, {"class_path": "mnist", "init_args": {"a": 1}}):
        with pytest.raises(BadArgument, match=r"^source: "):
            find_source(spec)


def test_a_file_that_a_source_does_not_find_is_one_line() -> None:
    data = DigitsDataModule(some(train=5, file="nowhere.npz"))
    with pytest.raises(DataError, match=r"^data.source: letters.Some: .*No such file or directory: 'nowhere.npz'$"):
        data.setup()


def test_data_as_a_class_is_its_source_in_a_configuration() -> None:
    spec = some(train=5)
    assert load_config(json.dumps({"data": spec | {"draw": 1}})) == {"data": {"source": spec, "draw": 1}}
    ours = {"class_path": "lecun_repro.DigitsDataModule", "init_args": {"source": "digits"}}
    assert load_config(json.dumps({"data": ours})) == {"data": {"source": "digits"}}


def test_its_arguments_are_part_of_a_run_s_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--data.source", json.dumps(some(train=5))]
    config = resolve("quickstart", flags)
    assert config["data"]["source"] == some(train=5)
    assert config_hash(config) != config_hash(resolve("quickstart", ["--data.source", json.dumps(some(train=6))]))
