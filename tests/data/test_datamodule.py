import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lecun_repro.data.augment import Augmentations, Shift
from lecun_repro.data.blocks import Block
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.data.sources import mnist
from lecun_repro.data.splits import EvaluatedSplit, Split
from lecun_repro.errors import BadArgument, DataError

# Lightning 2.6 builds its loaders with a class that torch 2.13 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")


def ready(**arguments) -> DigitsDataModule:
    data = DigitsDataModule(**{"source": "digits"} | arguments)
    data.setup()
    return data


def presented(data: DigitsDataModule) -> Split:
    """All digits of a pass, in the order of presentation."""
    blocks = list(data.train_dataloader())
    return Split(
        torch.cat([block.images.flatten(0, 1) for block in blocks]),
        torch.cat([block.labels.flatten() for block in blocks]),
    )


def same(split: Split, other: Split) -> bool:
    return torch.equal(split.images, other.images) and torch.equal(split.labels, other.labels)


# Splits


def test_splits_of_the_sources_own() -> None:
    data = ready()
    assert list(data.splits) == [split.name for split in data.evaluated] == ["train", "test"]
    assert (data.n_train, len(data.splits["test"].labels), data.evaluation_split) == (1297, 500, "test")
    assert data.train.images.shape == (1297, 1, 16, 16) and data.train.images.dtype == torch.float32
    assert data.train.labels.dtype == torch.int64


def test_small_mnist_by_the_article_procedure(small_mnist) -> None:
    data = ready(source="mnist", train_size=30, test_size=20, root=small_mnist.write().root)
    rng = np.random.RandomState(1337)
    test, train = rng.permutation(100)[:20], rng.permutation(300)[:30]
    assert data.train.labels.tolist() == small_mnist.labels["train"][train].tolist()
    assert torch.equal(data.splits["test"].images, mnist.to_16x16(small_mnist.images["test"][test]))


def test_unseen_digits_are_the_rest_of_the_test_file(small_mnist, monkeypatch) -> None:
    monkeypatch.setattr(mnist, "ARTICLE_SIZES", {"train": 30, "test": 20})
    arguments = {"source": "mnist", "root": small_mnist.write().root}
    order = np.random.RandomState(1337).permutation(100)
    for more, first in (({}, 20), ({"test_size": 10}, 20), ({"test_size": 40, "draw": "full"}, 40)):
        data = ready(**arguments | more)
        assert data.evaluated[1:] == [EvaluatedSplit("test"), EvaluatedSplit("unseen", "end")]
        assert data.splits["test"].labels.tolist() == small_mnist.labels["test"][order[: data.counts.test]].tolist()
        assert torch.equal(data.splits["unseen"].images, mnist.to_16x16(small_mnist.images["test"][order[first:]]))
    for more in ({"test_size": 100}, {"holdout": 10}):
        assert "unseen" not in (data := ready(**arguments | more)).splits and len(data.evaluated) == 2


def test_data_are_loaded_once(small_mnist) -> None:
    data = ready(source="mnist", train_size=30, test_size=20, root=small_mnist.write().root)
    train = data.train
    for path in small_mnist.home.iterdir():
        path.unlink()
    data.setup("test")
    assert data.train is train


def test_holdout_is_the_end_of_training_and_test_files_stay_closed(small_mnist) -> None:
    arguments = {"source": "mnist", "train_size": 50, "test_size": 20, "root": small_mnist.write().root}
    whole = ready(**arguments)
    for name in mnist.FILES["test"]:
        small_mnist.path(name).unlink()
    data = ready(holdout=15, **arguments)
    assert list(data.splits) == [split.name for split in data.evaluated] == ["train", "holdout"]
    assert data.evaluation_split == "holdout"
    assert same(data.train, whole.train.part(0, 35)) and same(data.splits["holdout"], whole.train.part(35, 50))


def test_a_fold_is_held_out_of_the_digits_around_it(small_mnist) -> None:
    arguments = {"source": "mnist", "train_size": 50, "root": small_mnist.write().root}
    whole = ready(test_size=20, **arguments).train
    for name in mnist.FILES["test"]:
        small_mnist.path(name).unlink()
    data = ready(fold="2/5", **arguments)
    assert list(data.splits) == ["train", "holdout"]
    assert same(data.splits["holdout"], whole.part(10, 20)) and same(data.train, whole.without(10, 20))
    assert torch.equal(data.train.labels, torch.cat([whole.labels[:10], whole.labels[20:]]))


def test_root_is_the_flag_else_the_variable_else_data(small_usps, monkeypatch, tmp_path) -> None:
    small_usps.write()
    arguments = {"source": "usps", "test_size": 3}
    assert len(ready(root=small_usps.root, **arguments).splits["test"].labels) == 3
    monkeypatch.setenv("LECUN_REPRO_DATA", str(small_usps.root))
    assert len(ready(**arguments).splits["test"].labels) == 3
    monkeypatch.delenv("LECUN_REPRO_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"it is not in data/usps, data \(nor unpacked there\)"):
        ready(**arguments)
    small_usps.root.rename(tmp_path / "data")
    assert len(ready(**arguments).splits["test"].labels) == 3


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("train_size", 1298, "an integer from 1 to 1297, all that digits has, or null"),
        ("shift", 2, "roll, pad or null"), ("shift", "wrap", "roll, pad or null"),
        ("block_size", 0, "an integer from 1"), ("block_size", None, "an integer from 1"),
        ("seed", None, "an integer from 0"), ("seed", -1, "an integer from 0"),
    ],
)  # fmt: skip
def test_arguments_out_of_their_bounds_are_refused(name, value, allowed) -> None:
    with pytest.raises(BadArgument) as error:
        DigitsDataModule(**{"source": "digits", name: value})
    assert (error.value.name, error.value.given, error.value.allowed) == (name, value, allowed)


def test_a_smaller_training_set_is_the_start_of_a_larger_one(small_mnist) -> None:
    arguments = {"source": "mnist", "test_size": 20, "root": small_mnist.write().root}
    small, large = (ready(train_size=size, **arguments) for size in (30, 200))
    assert same(small.train, large.train.part(0, 30)) and same(small.splits["test"], large.splits["test"])


def test_arguments_and_help_by_jsonargparse() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(DigitsDataModule, "data")
    data = parser.parse_args(
        ["--data.draw=7", "--data.batch_size=full", "--data.shift=null", "--data.source=usps"]
    ).data
    assert (data.draw, data.batch_size, data.shift, data.source) == (7, "full", None, "usps")
    shift = parser.parse_args(["--data.augment+=lecun_repro.Shift", "--data.augment.kind=pad"]).data.augment
    assert [(step.class_path, step.init_args.kind) for step in shift] == [("lecun_repro.Shift", "pad")]
    assert parser.parse_args(["--data.draw=full", "--data.batch_size=4"]).data.batch_size == 4
    for wrong in ("draw=-1", "batch_size=0", "shift=2", "train_size=0", "holdout=-1", "block_size=0", "seed=-1"):
        with pytest.raises(Exception, match=wrong.split("=")[0]):
            parser.parse_args([f"--data.{wrong}"])
    text = parser.format_help()
    assert all(word in text for word in ("pixel", "LECUN_REPRO_DATA", "batch_size", "`pad`"))


# Blocks


@given(n=st.integers(1, 60), batch=st.integers(1, 60) | st.just("full"), block_size=st.integers(1, 80))
def test_blocks_hold_every_digit_once_in_order(n, batch, block_size) -> None:
    size = n if batch == "full" else min(batch, n)
    data = ready(train_size=n, batch_size=batch if batch == "full" else size, block_size=block_size)
    blocks = list(data.train_dataloader())
    assert len(blocks) == len(data.train_dataloader())
    assert sum(len(block.labels) for block in blocks) == data.updates_per_pass == math.ceil(n / size)
    assert same(presented(data), data.train)
    for block in blocks:
        assert isinstance(block, Block)
        assert block.images.shape == (*block.labels.shape, 1, 16, 16)
        assert len(block.labels) <= max(1, block_size // size)
    full = [block for block in blocks if block.labels.shape[1] == size]
    rest = [tuple(block.labels.shape) for block in blocks[len(full) :]]
    assert rest == ([(1, n % size)] if n % size else [])


@pytest.mark.parametrize("shift", ["roll", "pad"])
def test_shifts_depend_on_neither_blocks_nor_batches(shift) -> None:
    data = ready(shift=shift, train_size=100, seed=5)
    [shifts] = Augmentations(shift, seed=5).draw(100, 0)
    expected = Shift(shift).apply(data.train.images, shifts)
    assert torch.equal(presented(data).images, expected)
    for arguments in ({"block_size": 7}, {"batch_size": 8}, {"batch_size": "full"}, {"batch_size": 3, "block_size": 1}):
        assert torch.equal(presented(ready(shift=shift, train_size=100, seed=5, **arguments)).images, expected)
    assert not torch.equal(presented(ready(shift=shift, train_size=100, seed=6)).images, expected)


def test_evaluation_is_in_chunks_and_unshifted() -> None:
    data = ready(shift="roll")
    data.splits["train"] = Split(data.train.images.repeat(2, 1, 1, 1), data.train.labels.repeat(2))
    for train, test in (data.val_dataloader(), data.test_dataloader()):
        assert [len(labels) for _, labels in train] == [512] * 5 + [34] and len(train) == 6
        assert same(Split(*map(torch.cat, zip(*train, strict=True))), data.train)
        assert same(Split(*next(iter(test))), data.splits["test"])
    assert same(Split(*next(iter(data.predict_dataloader()))), data.splits["test"])


# With Lightning


class Recorder(LightningModule):
    """Records what reaches it; one weight, so that there is something to save."""

    def __init__(self, cut_at: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.cut_at = cut_at
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.passes: list[list[Block]] = [[]]
        self.ended = 0
        self.evaluated = [0, 0, 0]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, block: Block, index: int) -> None:
        if (self.current_epoch, index) == self.cut_at:
            raise ZeroDivisionError
        assert isinstance(block, Block)
        self.passes[-1].append(block)
        self.optimizers().step()

    def on_train_epoch_end(self) -> None:
        self.ended += 1
        self.passes.append([])

    def validation_step(self, batch, index: int, dataloader_idx: int) -> None:
        self.evaluated[dataloader_idx] += len(batch[1])

    test_step = validation_step

    def predict_step(self, batch, index: int):
        return batch[1]

    def updates(self) -> list[int]:
        return [sum(len(block.labels) for block in blocks) for blocks in self.passes[:-1]]


def trainer(**arguments) -> Trainer:
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(**dict.fromkeys(quiet, False) | {"accelerator": "cpu", "max_epochs": 2} | arguments)


# 101 digits: at batch 1, 101 updates in blocks of 16; at batch 4, 25 in blocks of 4 and one of 1 digit.
@pytest.mark.parametrize(
    ("batch_size", "arguments", "updates"),
    [
        (1, {}, 101),
        (1, {"limit_train_batches": 1}, 1),
        (1, {"limit_train_batches": 16}, 16),
        (1, {"limit_train_batches": 17}, 17),
        (1, {"limit_train_batches": 1000}, 101),
        (1, {"limit_train_batches": 1.0}, 101),
        (1, {"limit_train_batches": 0.01}, 1),
        (1, {"limit_train_batches": 0.3}, 30),
        (1, {"limit_train_batches": 0.5}, 50),
        (1, {"limit_train_batches": 0.999}, 100),
        (1, {"overfit_batches": 20}, 20),
        (4, {}, 26),
        (4, {"limit_train_batches": 25}, 25),
        (4, {"limit_train_batches": 26}, 26),
        (4, {"limit_train_batches": 0.99}, 25),
        (4, {"limit_train_batches": 0.2}, 5),
        ("full", {}, 1),
        ("full", {"limit_train_batches": 3}, 1),
    ],
)
def test_limits_count_updates(batch_size, arguments, updates) -> None:
    module = Recorder()
    data = DigitsDataModule("digits", train_size=101, batch_size=batch_size, block_size=16)
    run = trainer(**arguments)
    run.fit(module, data)
    assert module.updates() == [updates, updates]
    assert data.updates_per_pass == updates
    assert run.num_training_batches == len(module.passes[0])
    assert module.ended == 2 and module.evaluated[0] >= 2 * 101 and module.evaluated[1] >= 2 * 500
    labels = torch.cat([block.labels.flatten() for block in module.passes[1]])
    assert torch.equal(labels, data.train.labels[: len(labels)])


@given(st.integers(1, 300), st.integers(1, 40), st.floats(1e-3, 1, exclude_max=True))
def test_lightning_takes_no_further_cut_of_a_fraction(n, block_size, fraction) -> None:
    data = ready(train_size=n, block_size=block_size)
    data.trainer = type("Limited", (), {"limit_train_batches": fraction, "current_epoch": 0})
    if not int(n * fraction):
        with pytest.raises(BadArgument, match=f"^limit_train_batches: .* at least one of the pass's {n} updates"):
            data.train_dataloader()
        return
    loader = data.train_dataloader()
    assert int(len(loader) * fraction) == len(list(loader)) == math.ceil(int(n * fraction) / block_size)


@pytest.mark.parametrize(("fast_dev_run", "updates"), [(True, 1), (5, 5)])
@pytest.mark.filterwarnings("ignore:Running in `fast_dev_run` mode")
def test_fast_dev_run_counts_updates(fast_dev_run, updates) -> None:
    module = Recorder()
    trainer(fast_dev_run=fast_dev_run).fit(module, DigitsDataModule("digits", block_size=2))
    assert module.updates() == [updates] and module.ended == 1
    assert module.evaluated == ([512, 500, 0] if fast_dev_run is True else [1297, 500, 0])  # in chunks of 512


def test_a_fraction_of_overfit_batches_is_refused() -> None:
    with pytest.raises(BadArgument, match=r"^overfit_batches: 0.5; allowed: a whole number of updates"):
        trainer(overfit_batches=0.5).fit(Recorder(), DigitsDataModule("digits"))


def test_splits_of_the_end_are_evaluated_by_test_and_not_in_a_fit() -> None:
    class Late(DigitsDataModule):
        evaluated = [EvaluatedSplit("late", "end"), *DigitsDataModule("digits").evaluated]  # noqa: RUF012

        def load(self) -> dict[str, Split]:
            splits = super().load()
            return splits | {"late": splits["test"].part(0, 7)}

    data, run = Late("digits"), trainer(num_sanity_val_steps=0)
    module = Recorder()
    run.fit(module, data)
    assert module.evaluated == [2 * 1297, 2 * 500, 0]
    for loop in (run.test, run.validate):
        module.evaluated = [0, 0, 0]
        loop(module, data, verbose=False)
        assert module.evaluated == [7, 1297, 500]


def test_test_and_predict() -> None:
    module, data = Recorder(), DigitsDataModule("digits")
    run = trainer()
    run.test(module, data, verbose=False)
    assert module.evaluated == [1297, 500, 0]
    assert torch.equal(torch.cat(run.predict(module, data)), data.splits["test"].labels)


def test_shifts_are_drawn_anew_each_pass_and_as_well_after_a_resume(tmp_path) -> None:
    class SaveEachPass(Callback):
        def on_train_epoch_end(self, trainer, module) -> None:
            trainer.save_checkpoint(tmp_path / "last.ckpt")

    def images(blocks: list[Block]) -> torch.Tensor:
        return torch.cat([block.images.flatten(0, 1) for block in blocks])

    def data() -> DigitsDataModule:
        return DigitsDataModule("digits", train_size=50, shift="roll", block_size=16)

    undisturbed = Recorder()
    trainer(max_epochs=4).fit(undisturbed, data())
    passes = [images(blocks) for blocks in undisturbed.passes[:-1]]
    assert not any(torch.equal(passes[i], passes[j]) for i in range(4) for j in range(i))

    cut = Recorder(cut_at=(2, 1))
    with pytest.raises(ZeroDivisionError):
        trainer(max_epochs=4, callbacks=[SaveEachPass()]).fit(cut, data())
    assert [len(blocks) for blocks in cut.passes] == [4, 4, 1]
    resumed = Recorder()
    trainer(max_epochs=4).fit(resumed, data(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert [len(blocks) for blocks in resumed.passes] == [4, 4, 0]
    assert all(torch.equal(images(blocks), passes[2 + i]) for i, blocks in enumerate(resumed.passes[:-1]))
