"""The LightningDataModule: the drawn digits, in memory, served to the training in blocks of updates."""

import os
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch import LightningDataModule
from torch import Tensor

from lecun_repro.data.augment import Augmentation, Augmentations, ShiftKind
from lecun_repro.data.blocks import Blocks, Chunks
from lecun_repro.data.download import data_root
from lecun_repro.data.draws import DrawName
from lecun_repro.data.plan import held_out, plan, require_integer
from lecun_repro.data.sources.base import FrameName, SourceSpec, find_source, source_name
from lecun_repro.data.splits import EvaluatedSplit, Split
from lecun_repro.errors import BadArgument, DataError

if TYPE_CHECKING:
    from lecun_repro.data.images import ImageDigits

SEED_OF_COPIES = 1337


class DigitsDataModule(LightningDataModule):
    """Digits of 16x16 pixels from -1 (background) to 1 (ink), presented in the constant order of their draw.

    Args:
        source: Where the digits come from: `mnist` (70,000; downloaded if missing), `digits` (1,797 that ship
            with scikit-learn; needs no file), `usps` (the 1989 paper's 9,298 zip-code digits; downloaded if
            missing), or the import path of a `lecun_repro.Source` of your own; one that takes arguments
            as `class_path` and `init_args`, which may stand directly under `data` as well.
        draw: Which digits, in which order: `article` (MNIST: the article's exact 7,291 and 2,007; other
            sources: their own split), `full` (all the source has; MNIST: its first 50,000 and the article's
            2,007), or the seed of another draw, an integer from 0.
        train_size: Number of training digits, if not the draw's own.
        test_size: Number of test digits, if not the draw's own; 10000 are all of MNIST's. What the test file has beyond
            them and the draw's own, the split `unseen`, is evaluated once, after the last pass.
        frame: What of MNIST's 28x28 pixels is reduced to 16x16: `article` (all, with their margins of 4 pixels),
            `paper` (the middle 24x24, so that the digit fills the field as the paper's digits do) or `normalised` (as
            large, but each digit upright and of about equal size). Images to predict are framed likewise.
        holdout: Number of training digits, the last ones, that are kept out of training and evaluated in the
            place of the test digits and the unseen ones, which are then not loaded.
        fold: In the place of `holdout`, `k/n` keeps the k-th of n equal parts of the training digits out, `2/5` say; n
            fits of one fold each are thus evaluated on every training digit once. Null for none.
        shift: Move each digit by -1, 0 or 1 pixel either way whenever it is presented: `roll` (pixels leaving
            on one side come back on the other, as in the article's code) or `pad` (background comes in); null
            for none.
        augment: Further augmentations, a list of `class_path` and `init_args`, each a subclass of
            `lecun_repro.Augmentation`; applied in this order after the shifts.
        copies: Make so many augmented copies of the digits, the same in every run whatever its seed, and show them in
            turn, one in each pass; null draws anew for every pass. What teaches by `lecun_repro.Taught` needs them.
        batch_size: Digits per update, or `full` for all training digits in each update.
        block_size: Digits handed to the network at a time, rounded down to whole updates (at least one); a
            matter of speed and memory, not of results.
        root: Folder of the data files; by default that of the environment variable LECUN_REPRO_DATA, else
            `data`.
        seed: Seed of the augmentations, an integer from 0.
        images: For `predict` alone: image files (PNG, JPEG, GIF, BMP, PPM, WebP, TIFF; HEIC with the extra `heic`) with
            one digit each, dark or light, in the place of the evaluation split; files, folders, patterns such as
            "photos/*.png". No data set is then loaded.

    Attributes:
        counts: The numbers that these arguments come to.
        splits: After `setup`, the digits by the names of their splits.
        image_digits: What the image files gave, after `setup`; None without `images`.

    Raises:
        BadArgument: An argument is out of its bounds.
    """

    splits: dict[str, Split]

    def __init__(
        self,
        source: SourceSpec = "mnist",
        draw: DrawName | NonNegativeInt = "article",
        train_size: PositiveInt | None = None,
        test_size: PositiveInt | None = None,
        frame: FrameName = "article",
        holdout: NonNegativeInt = 0,
        fold: str | None = None,
        shift: ShiftKind | None = None,
        augment: list[Augmentation] | None = None,
        copies: PositiveInt | None = None,
        batch_size: PositiveInt | Literal["full"] = 1,
        block_size: PositiveInt = 2048,
        root: str | os.PathLike[str] | None = None,
        seed: NonNegativeInt = 1337,
        images: list[str] | str | None = None,
    ) -> None:
        super().__init__()
        self.counts = plan(source, draw, train_size, test_size, holdout, batch_size, frame, fold)
        if shift not in (None, *get_args(ShiftKind)):
            raise BadArgument("shift", shift, "roll, pad or null")
        require_integer("block_size", block_size, 1)
        require_integer("seed", seed, 0)
        if copies is not None:
            require_integer("copies", copies, 1)
        self.source, self.source_spec = source_name(source), source
        self.draw = draw
        self.frame = frame
        self.fold = fold
        self.shift = shift
        self.copies = copies
        self.augmentations = Augmentations(shift, augment or (), seed if copies is None else SEED_OF_COPIES)
        self.block_size = block_size
        self.root = root
        self.images = images
        self.image_digits: ImageDigits | None = None
        self.evaluation_split = "holdout" if self.counts.holdout else "test"

    @property
    def evaluated(self) -> list[EvaluatedSplit]:
        """What is evaluated, in this order, and when. Names are keys of `splits`."""
        unseen = [EvaluatedSplit("unseen", "end")] if self.counts.unseen else []
        return [EvaluatedSplit("train"), EvaluatedSplit(self.evaluation_split), *unseen]

    @property
    def train(self) -> Split:
        """The training digits, after `setup`."""
        return self.splits["train"]

    @property
    def n_train(self) -> int:
        """Training digits."""
        return self.counts.train

    @property
    def batch(self) -> int:
        """Digits per update."""
        return self.counts.batch

    @property
    def updates_per_pass(self) -> int:
        """Updates in a pass within the trainer's limit.

        The trainer's `limit_train_batches`, `overfit_batches` and `fast_dev_run` count updates here, a fraction being
        one of the updates.

        Raises:
            BadArgument: The limit is a fraction of less than one update.
        """
        return self.counts.updates(self._limit)

    @property
    def _limit(self) -> int | float:
        """The trainer's limit: an integer number of updates, or a fraction of them."""
        return 1.0 if self.trainer is None else self.trainer.limit_train_batches

    def setup(self, stage: str | None = None) -> None:
        """Loads the digits, once: those of the data set, or, if there are `images`, those alone.

        Raises:
            DataError: Data are missing or not what they should be; or something else than predicting is about to be
                done with images.
            BadArgument: The trainer's `overfit_batches` is a fraction.
        """
        if self.images is not None:
            if stage not in (None, "predict"):
                raise DataError(f"data.images can be predicted alone; they have no labels to {stage} with")
            from lecun_repro.data.images import read_images  # with SciPy, which nothing else in a fit needs

            self.image_digits = self.image_digits or read_images(self.images, self.frame)
            return
        if 0 < (fraction := getattr(self.trainer, "overfit_batches", 0)) < 1:
            raise BadArgument("overfit_batches", fraction, "a whole number of updates")
        if hasattr(self, "splits"):
            return
        try:
            self.splits = self.load()
        except FileNotFoundError as error:  # of a source of one's own, which need not say it as ours do
            raise DataError(f"data.source: {self.source}: {error}") from error

    def load(self) -> dict[str, Split]:
        """The splits by their names; files are opened only for what is evaluated."""
        source, root, counts = find_source(self.source_spec), data_root(self.root), self.counts
        source.frame = self.frame
        order = source.order(self.draw)
        n = counts.train + counts.holdout
        drawn = source.load("train", order.train[:n], root)
        if counts.holdout:
            out = held_out(n, counts.holdout, self.fold)
            return {"train": drawn.without(out.start, out.stop), "holdout": drawn.part(out.start, out.stop)}
        last = order.test[len(order.test) - counts.unseen :]
        file = source.load("test", np.concatenate([order.test[: counts.test], last]), root)
        unseen = {"unseen": file.part(counts.test, len(file.labels))} if counts.unseen else {}
        return {"train": drawn, "test": file.part(0, counts.test), **unseen}

    def train_dataloader(self) -> Blocks:
        """The training digits in blocks."""
        return Blocks(
            self.train,
            batch=self.batch,
            block_size=self.block_size,
            updates=self.updates_per_pass,
            limit=self._limit,
            augmentations=self.augmentations,
            pass_index=lambda: self.shown_in(0 if self.trainer is None else self.trainer.current_epoch),
        )

    def shown_in(self, pass_index: int) -> int:
        """Which drawing of the augmentations, from 0, a pass shows."""
        return pass_index if self.copies is None else pass_index % self.copies

    def copy(self, number: int) -> Tensor:
        """The training digits, (n, 1, 16, 16), as they are shown in the passes of that drawing."""
        drawn = self.augmentations.draw(self.n_train, number)
        return self.augmentations.apply(self.train.images, drawn, slice(0, self.n_train))

    def evaluated_now(self) -> list[str]:
        """Names of the splits that a loop evaluates: in a fit those of every pass, else all."""
        fits = self.trainer is not None and self.trainer.state.fn == "fit"
        return [split.name for split in self.evaluated if split.when == "every pass" or not fits]

    def val_dataloader(self) -> list[Chunks]:
        """The digits of each split that is evaluated now, not augmented."""
        return [Chunks(self.splits[name]) for name in self.evaluated_now()]

    test_dataloader = val_dataloader

    def predict_dataloader(self) -> Chunks:
        """The evaluation split, or the digits of the images."""
        return Chunks(self.splits[self.evaluation_split] if self.image_digits is None else self.image_digits.digits)
