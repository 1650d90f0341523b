import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecun_repro.data.draws import draw_indices
from lecun_repro.errors import DataError

MNIST = {"train": 60_000, "test": 10_000}
TEST_DIGEST = "dfc249aee3aaaa7f7c2cca9b3ae9cc8ca8c2171d3d1c1a12807a254577004e10"
TRAIN_DIGEST = "1fd53c6f469bd9e8d302f559e7d1c72ce7318e6a2c2aacb97dde631f1d101c26"


def digest(indices: np.ndarray) -> str:
    return hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()


@pytest.mark.parametrize("draw", ["article", 1337])
def test_article_draw_is_exact(draw) -> None:
    drawn = draw_indices("mnist", draw, MNIST)
    assert digest(drawn.test) == TEST_DIGEST
    assert digest(drawn.train) == TRAIN_DIGEST
    assert drawn.test[:6].tolist() == [9927, 3245, 2303, 7707, 8820, 6206]
    assert drawn.train[:6].tolist() == [6177, 36861, 23675, 34991, 9241, 12075]


def test_another_seed_is_another_draw_of_as_many() -> None:
    drawn = draw_indices("mnist", 1, MNIST)
    assert (len(drawn.train), len(drawn.test)) == (7291, 2007)
    assert digest(drawn.train) != TRAIN_DIGEST and digest(drawn.test) != TEST_DIGEST


def test_full_is_the_first_50_000_and_the_article_test_digits() -> None:
    drawn = draw_indices("mnist", "full", MNIST)
    assert drawn.train.tolist() == list(range(50_000))
    assert digest(drawn.test) == TEST_DIGEST


def test_full_with_all_test_digits() -> None:
    drawn = draw_indices("mnist", "full", MNIST, test_size=10_000)
    assert sorted(drawn.test) == list(range(10_000))
    assert digest(drawn.test[:2007]) == TEST_DIGEST


@pytest.mark.parametrize("source", ["digits", "usps"])
@pytest.mark.parametrize("draw", ["article", "full"])
def test_other_sources_keep_their_split(source, draw) -> None:
    drawn = draw_indices(source, draw, {"train": 30, "test": 20})
    assert drawn.train.tolist() == list(range(30))
    assert drawn.test.tolist() == list(range(20))


@pytest.mark.parametrize("part", ["train", "test"])
def test_more_than_there_are_says_how_many_there_are(part) -> None:
    with pytest.raises(DataError, match=rf"^{part}_size is 50,000, but source digits has 1,297 {part} digits$"):
        draw_indices("digits", "full", {"train": 1297, "test": 1297}, **{f"{part}_size": 50_000})


@given(
    source=st.sampled_from(["mnist", "digits", "usps"]),
    draw=st.sampled_from(["article", "full"]) | st.integers(0, 2**32 - 1),
    sizes=st.tuples(*[st.integers(1, 60)] * 4),
)
def test_draws_hold_what_they_should(source, draw, sizes) -> None:
    train, test, train_size, test_size = sizes
    wanted = {"train_size": min(train, train_size), "test_size": min(test, test_size)}
    drawn = draw_indices(source, draw, {"train": train, "test": test}, **wanted)
    for indices, size, has in (
        (drawn.train, wanted["train_size"], train),
        (drawn.test, wanted["test_size"], test),
    ):
        assert len(indices) == len(set(indices.tolist())) == size
        assert indices.min() >= 0 and indices.max() < has
    again = draw_indices(source, draw, {"train": train, "test": test}, **wanted)
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))
