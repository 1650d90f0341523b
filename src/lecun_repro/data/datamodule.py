"""The LightningDataModule: the drawn digits, in memory, served to the training in blocks of updates."""

import math
import os
from typing import Any, Literal, get_args

from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch import LightningDataModule

from lecun_repro.data.augment import Shift
from lecun_repro.data.blocks import Blocks, Chunks
from lecun_repro.data.download import data_root
from lecun_repro.data.draws import draw_indices
from lecun_repro.data.images import ImageDigits, read_images
from lecun_repro.data.sources import SOURCES, SourceName
from lecun_repro.data.splits import Split
from lecun_repro.errors import BadArgument, DataError


class DigitsDataModule(LightningDataModule):
    """Digits of 16x16 pixels from -1 (background) to 1 (ink), presented in the constant order of their draw.

    Args:
        source: Where the digits come from: `mnist` (70,000; downloaded if missing), `digits` (1,797 that ship
            with scikit-learn; needs no file) or `usps` (the 1989 paper's 9,298 zip-code digits; downloaded if
            missing).
        draw: Which digits, in which order: `article` (MNIST: the article's exact 7,291 and 2,007; other
            sources: their own split), `full` (all the source has; MNIST: its first 50,000 and the article's
            2,007), or the seed of another draw, an integer from 0.
        train_size: Number of training digits, if not the draw's own.
        test_size: Number of test digits, if not the draw's own; 10000 are all of MNIST's.
        holdout: Number of training digits, the last ones, that are kept out of training and evaluated in the
            place of the test digits, which are then not loaded.
        shift: Move each digit by -1, 0 or 1 pixel either way whenever it is presented: `roll` (pixels leaving
            on one side come back on the other, as in the article's code) or `pad` (background comes in); null
            for none.
        batch_size: Digits per update, or `full` for all training digits in each update.
        block_size: Digits handed to the network at a time, rounded down to whole updates (at least one); a
            matter of speed and memory, not of results.
        root: Folder of the data files; by default that of the environment variable LECUN_REPRO_DATA, else
            `data`.
        seed: Seed of the shifts, an integer from 0.
        images: For `predict` alone: image files (PNG, JPEG, GIF, BMP or PPM) with one digit each, dark or light, in
            the place of the second split; a file, a pattern in quotes such as "photos/*.png", or a list of them. No
            data set is then loaded.

    Attributes:
        train: The training digits.
        second: The test digits, or those held out.
        second_name: What `second` is: `test` or `holdout`.
        image_digits: What the image files gave, after `setup`; None without `images`.
    """

    train: Split
    second: Split

    def __init__(
        self,
        source: SourceName = "mnist",
        draw: Literal["article", "full"] | NonNegativeInt = "article",
        train_size: PositiveInt | None = None,
        test_size: PositiveInt | None = None,
        holdout: NonNegativeInt = 0,
        shift: Shift | None = None,
        batch_size: PositiveInt | Literal["full"] = 1,
        block_size: PositiveInt = 2048,
        root: str | os.PathLike[str] | None = None,
        seed: NonNegativeInt = 1337,
        images: list[str] | str | None = None,
    ) -> None:
        super().__init__()
        _require_choice("source", source, get_args(SourceName))
        _require_integer("draw", draw, 0, 2**32 - 1, or_one_of=("article", "full"))
        _require_integer("train_size", train_size, 1, or_one_of=(None,))
        _require_integer("test_size", test_size, 1, or_one_of=(None,))
        _require_integer("holdout", holdout, 0)
        _require_choice("shift", shift, (None, *get_args(Shift)))
        _require_integer("batch_size", batch_size, 1, or_one_of=("full",))
        _require_integer("block_size", block_size, 1)
        _require_integer("seed", seed, 0)
        self.source: SourceName = source
        self.draw = draw
        self.train_size = train_size
        self.test_size = test_size
        self.holdout = holdout
        self.shift = shift
        self.batch_size = batch_size
        self.block_size = block_size
        self.root = root
        self.seed = seed
        self.images = images
        self.image_digits: ImageDigits | None = None

    @property
    def second_name(self) -> str:
        """`holdout` if training digits are held out, else `test`."""
        return "holdout" if self.holdout else "test"

    @property
    def n_train(self) -> int:
        """Training digits, after `setup`."""
        return len(self.train.labels)

    @property
    def batch(self) -> int:
        """Digits per update, after `setup`."""
        return self.n_train if self.batch_size == "full" else self.batch_size

    @property
    def updates_per_pass(self) -> int:
        """Updates in a pass, after `setup`, within the trainer's limit.

        A last update of fewer digits counts. The trainer's `limit_train_batches`, `overfit_batches` and
        `fast_dev_run` count updates here, a fraction being one of the updates.
        """
        updates = -(-self.n_train // self.batch)
        limit = self._limit
        return min(updates, limit) if isinstance(limit, int) else int(updates * limit)

    @property
    def _limit(self) -> int | float:
        """The trainer's limit: an integer number of updates, or a fraction of them."""
        return 1.0 if self.trainer is None else self.trainer.limit_train_batches

    def setup(self, stage: str | None = None) -> None:
        """Loads the digits, once: those of the data set, or, if there are `images`, those alone.

        Raises:
            DataError: Data are missing or not what they should be, or fewer than wanted; or something else than
                predicting is about to be done with images.
        """
        if self.images is not None:
            if stage not in (None, "predict"):
                raise DataError(f"data.images can be predicted alone; they have no labels to {stage} with")
            self.image_digits = self.image_digits or read_images(self.images)
            return
        if 0 < getattr(self.trainer, "overfit_batches", 0) < 1:
            raise DataError("trainer.overfit_batches is a fraction; give it as a number of updates")
        if hasattr(self, "second"):
            return
        source, root = SOURCES[self.source], data_root(self.root)
        drawn = draw_indices(self.source, self.draw, source.COUNTS, self.train_size, self.test_size)
        kept = len(drawn.train) - self.holdout
        if kept < 1:
            raise DataError(f"holdout is {self.holdout:,} of only {len(drawn.train):,} training digits")
        if self.batch_size != "full" and self.batch_size > kept:
            raise DataError(f"batch_size is {self.batch_size:,} with only {kept:,} training digits")
        train = source.load("train", drawn.train, root)
        self.train = train.part(0, kept)
        if self.holdout:
            self.second = train.part(kept, len(drawn.train))
        else:
            self.second = source.load("test", drawn.test, root)

    def train_dataloader(self) -> Blocks:
        """The training digits in blocks.

        Raises:
            DataError: The trainer's limit is a fraction of less than one update.
        """
        if self._limit > 0 and not self.updates_per_pass:
            raise DataError(
                f"trainer.limit_train_batches is {self._limit}: less than one update in a pass over "
                f"{self.n_train:,} digits with batch_size {self.batch_size}"
            )
        return Blocks(
            self.train,
            batch=self.batch,
            block_size=self.block_size,
            updates=self.updates_per_pass,
            limit=self._limit,
            shift=self.shift,
            seed=self.seed,
            pass_index=lambda: 0 if self.trainer is None else self.trainer.current_epoch,
        )

    def val_dataloader(self) -> list[Chunks]:
        """Both splits, unshifted: training digits, then the second split."""
        return [Chunks(self.train), Chunks(self.second)]

    def test_dataloader(self) -> list[Chunks]:
        """The same as for validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> Chunks:
        """The second split, or the digits of the images."""
        return Chunks(self.second if self.image_digits is None else self.image_digits.digits)


def _require_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise BadArgument(name, value, ", ".join(map(str, choices)))


def _require_integer(
    name: str, value: Any, least: int, most: int | None = None, or_one_of: tuple[object, ...] = ()
) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value in or_one_of or (whole and least <= value <= (most or math.inf)):
        return
    bounds = f"from {least}" + (f" to {most}" if most is not None else "")
    others = "".join(f" or {choice!r}" for choice in or_one_of)
    raise BadArgument(name, value, f"an integer {bounds}{others}")
