"""What a data configuration comes to in numbers, and where its bounds stand, once for all who need them."""

import re
from typing import Any, NamedTuple

from lecun_repro.data.draws import DrawName
from lecun_repro.data.sources.base import SourceSpec, find_source, source_name
from lecun_repro.errors import BadArgument

MOST_SEED = 2**32 - 1


class Counts(NamedTuple):
    """The numbers of a data configuration."""

    train: int  # digits trained on
    holdout: int  # others of the draw's training digits, kept out of training; 0 where test digits are evaluated
    test: int
    batch: int  # digits per update
    unseen: int = 0  # digits of the test file that are in no test split of the draw, its own or the one asked for

    def updates(self, limit: int | float | None = 1.0) -> int:
        """Updates in a pass; a last one of fewer digits counts.

        Args:
            limit: The trainer's `limit_train_batches`: a number of updates, or a fraction of them.

        Raises:
            BadArgument: A fraction of less than one update.
        """
        updates = -(-self.train // self.batch)
        if limit is None or isinstance(limit, int):
            return updates if limit is None else min(updates, limit)
        if limit > 0 and not int(updates * limit):
            raise BadArgument("limit_train_batches", limit, f"at least one of the pass's {updates} updates")
        return int(updates * limit)


def plan(
    source: SourceSpec,
    draw: DrawName | int,
    train_size: int | None,
    test_size: int | None,
    holdout: int,
    batch_size: int | str,
    frame: str = "article",
    fold: str | None = None,
    **others: Any,
) -> Counts:
    """The counts of a data configuration, from the arguments of `DigitsDataModule`; the `others` have no part in them.

    Raises:
        BadArgument: The first argument that is out of its bounds.
    """
    digits, name = find_source(source), source_name(source)
    if draw not in ("article", "full"):
        require_integer("draw", draw, 0, MOST_SEED, "article, full or ")
    if frame not in digits.frames:
        allowed = ", ".join(digits.frames)
        raise BadArgument("frame", frame, allowed if len(digits.frames) > 1 else f"{allowed}, the only one of {name}")
    own = digits.sizes(draw)
    sizes = dict(own)
    for part, asked in (("train", train_size), ("test", test_size)):
        has = digits.counts[part]
        if asked is not None:
            require_integer(f"{part}_size", asked, 1, has, after=f", all that {name} has, or null")
        sizes[part] = min(asked or sizes[part], has)
    drawn = sizes["train"]
    require_integer("holdout", holdout, 0, drawn - 1, after=f", as there are {drawn} training digits")
    if fold is not None:
        if holdout:
            raise BadArgument("fold", f"{fold} with a holdout of {holdout}", "a fold or a holdout")
        holdout = len(held_out(drawn, holdout, fold))
    train = drawn - holdout
    if batch_size != "full":
        require_integer("batch_size", batch_size, 1, train, after=", the training digits, or full")
    # A smaller test split leaves no more unseen: the draw's own test digits are those that its users have looked at.
    unseen = 0 if holdout else max(digits.counts["test"] - max(sizes["test"], own["test"]), 0)
    return Counts(train, holdout, sizes["test"], train if batch_size == "full" else int(batch_size), unseen)


def held_out(drawn: int, holdout: int = 0, fold: str | None = None) -> range:
    """Which of the training digits of a draw are kept out of training, by their places in it: neighbours, always.

    Args:
        drawn: The training digits of the draw.
        holdout: The last so many of them.
        fold: In its place `k/n`, the k-th of n parts that differ by one digit at most.

    Raises:
        BadArgument: There is no such fold.
    """
    if fold is None:
        return range(drawn - holdout, drawn)
    k, n = map(int, fold.split("/")) if re.fullmatch("[1-9][0-9]{0,8}/[1-9][0-9]{0,8}", fold) else (0, 0)
    if not 1 <= k <= n <= drawn or n < 2:
        allowed = (
            f"k/n such as 2/5, the second of five parts, with n from 2 to {drawn}, the training digits, and k from 1"
        )
        raise BadArgument("fold", fold, f"{allowed} to n; or null")
    return range((k - 1) * drawn // n, k * drawn // n)


def require_integer(
    name: str, value: object, least: int, most: int | None = None, before: str = "", after: str = ""
) -> None:
    """Raises BadArgument for what is no integer in its bounds; `before` and `after` say what else is allowed."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value and (most is None or value <= most):
        return
    raise BadArgument(name, value, f"{before}an integer from {least}{'' if most is None else f' to {most}'}{after}")


def require_number(name: str, value: float, most: float) -> None:
    """Raises BadArgument for what is no number from 0 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise BadArgument(name, value, f"a number from 0 to {most}")
