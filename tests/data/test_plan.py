import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecun_repro.data.plan import Counts, held_out, plan
from lecun_repro.errors import BadArgument

FOLDS = ("0/5", "6/5", "1/1", "1/7292", "2", "2/5/1", "a/b", "-1/5", "2 / 5", "", "1/" + "9" * 5000, "01/5")  # bad ones
MNIST = {"source": "mnist", "draw": "article", "train_size": None, "test_size": None, "holdout": 0, "batch_size": 1}


@pytest.mark.parametrize(
    ("arguments", "counts", "updates"),
    [
        ({}, Counts(7291, 0, 2007, 1, 7993), 7291),
        ({"draw": "full"}, Counts(50_000, 0, 2007, 1, 7993), 50_000),
        ({"draw": 7, "test_size": 10_000}, Counts(7291, 0, 10_000, 1, 0), 7291),
        ({"test_size": 3_000}, Counts(7291, 0, 3_000, 1, 7_000), 7291),
        ({"test_size": 100}, Counts(7291, 0, 100, 1, 7_993), 7291),  # the article's 2,007 are seen all the same
        ({"draw": "full", "train_size": 60_000}, Counts(60_000, 0, 2007, 1, 7993), 60_000),
        ({"holdout": 291, "batch_size": 128}, Counts(7000, 291, 2007, 128), 55),
        ({"fold": "2/5", "batch_size": 128}, Counts(5833, 1458, 2007, 128), 46),
        ({"fold": "5/5", "train_size": 1000}, Counts(800, 200, 2007, 1), 800),
        ({"source": "usps", "draw": "full"}, Counts(7291, 0, 2007, 1), 7291),
        ({"source": "digits", "batch_size": "full"}, Counts(1297, 0, 500, 1297), 1),
        ({"root": "elsewhere", "shift": "roll"}, Counts(7291, 0, 2007, 1, 7993), 7291),
    ],
)
def test_counts(arguments, counts, updates) -> None:
    assert plan(**MNIST | arguments) == counts
    assert counts.updates() == counts.updates(None) == updates


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("source", "cifar", "digits, mnist, usps, or the import path of a lecun_repro.Source of your own (docs"),
        ("draw", "half", "article, full or an integer from 0 to 4294967295"),
        ("draw", -1, "article, full or an integer from 0 to 4294967295"),
        ("draw", 2**32, "from 0 to 4294967295"),
        ("draw", 1.5, "from 0 to 4294967295"),
        ("draw", None, "from 0 to 4294967295"),
        ("train_size", 0, "an integer from 1 to 60000, all that mnist has, or null"),
        ("train_size", True, "from 1 to 60000"),
        ("train_size", 60_001, "from 1 to 60000"),
        ("test_size", -3, "an integer from 1 to 10000, all that mnist has, or null"),
        ("test_size", 10_001, "from 1 to 10000"),
        ("holdout", -1, "an integer from 0 to 7290, as there are 7291 training digits"),
        ("holdout", 7291, "from 0 to 7290"),
        ("holdout", None, "from 0 to 7290"),
        *(("fold", fold, "k/n such as 2/5, the second of five parts, with n from 2 to 7291") for fold in FOLDS),
        ("batch_size", 0, "an integer from 1 to 7291, the training digits, or full"),
        ("batch_size", 7292, "from 1 to 7291"),
        ("batch_size", "half", "or full"),
        ("batch_size", 2.0, "or full"),
    ],
)
def test_bounds(name, value, allowed) -> None:
    with pytest.raises(BadArgument) as error:
        plan(**MNIST | {name: value})
    assert (error.value.name, error.value.given) == (name, value)
    assert allowed in error.value.allowed


def test_a_fold_beside_a_holdout_is_refused() -> None:
    with pytest.raises(BadArgument, match=r"^fold: 1/2 with a holdout of 10; allowed: a fold or a holdout$"):
        plan(**MNIST | {"fold": "1/2", "holdout": 10})


@given(st.integers(2, 300), st.integers(2, 40))
def test_folds_are_disjoint_and_cover_all(drawn, n) -> None:
    n = min(n, drawn)
    folds = [held_out(drawn, fold=f"{k}/{n}") for k in range(1, n + 1)]
    assert [place for fold in folds for place in fold] == list(range(drawn))
    assert {len(fold) for fold in folds} <= {drawn // n, -(-drawn // n)}


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 400) | st.floats(0, 1))
def test_limits_count_updates(train, batch, limit) -> None:
    counts = Counts(train, 0, 1, min(batch, train))
    whole = -(-train // counts.batch)
    if isinstance(limit, int):
        assert counts.updates(limit) == min(limit, whole)
    elif limit > 0 and whole * limit < 1:
        with pytest.raises(BadArgument, match=f"^limit_train_batches: .* at least one of the pass's {whole} updates$"):
            counts.updates(limit)
    else:
        assert counts.updates(limit) == int(whole * limit)
