import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecun_repro.data.draws import in_file_order, permuted
from lecun_repro.data.sources.base import find_source

TEST_DIGEST = "dfc249aee3aaaa7f7c2cca9b3ae9cc8ca8c2171d3d1c1a12807a254577004e10"
TRAIN_DIGEST = "1fd53c6f469bd9e8d302f559e7d1c72ce7318e6a2c2aacb97dde631f1d101c26"
MNIST = find_source("mnist")


def digest(indices: np.ndarray) -> str:
    return hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()


def drawn(draw) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's train and test digits of a draw."""
    order, sizes = MNIST.order(draw), MNIST.sizes(draw)
    return order.train[: sizes["train"]], order.test[: sizes["test"]]


@pytest.mark.parametrize("draw", ["article", 1337])
def test_article_draw_is_exact(draw) -> None:
    train, test = drawn(draw)
    assert digest(test) == TEST_DIGEST
    assert digest(train) == TRAIN_DIGEST
    assert test[:6].tolist() == [9927, 3245, 2303, 7707, 8820, 6206]
    assert train[:6].tolist() == [6177, 36861, 23675, 34991, 9241, 12075]


def test_another_seed_is_another_draw_of_as_many() -> None:
    train, test = drawn(1)
    assert (len(train), len(test)) == (7291, 2007)
    assert digest(train) != TRAIN_DIGEST and digest(test) != TEST_DIGEST


def test_full_is_the_first_50_000_and_the_article_test_digits() -> None:
    train, test = drawn("full")
    assert train.tolist() == list(range(50_000))
    assert digest(test) == TEST_DIGEST
    assert sorted(MNIST.order("full").test) == list(range(10_000))


@pytest.mark.parametrize("name", ["digits", "usps"])
@pytest.mark.parametrize("draw", ["article", "full"])
def test_other_sources_keep_their_split(name, draw) -> None:
    source = find_source(name)
    order = source.order(draw)
    assert order.train.tolist() == list(range(source.counts["train"]))
    assert order.test.tolist() == list(range(source.counts["test"]))
    assert source.sizes(draw) == source.sizes(7) == source.counts


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60))
def test_every_digit_is_drawn_once(seed, train, test) -> None:
    counts = {"train": train, "test": test}
    for part, indices in permuted(counts, seed)._asdict().items():
        assert sorted(indices) == list(range(counts[part])) == in_file_order(counts)._asdict()[part].tolist()
        assert np.array_equal(indices, permuted(counts, seed)._asdict()[part])
