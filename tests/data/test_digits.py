import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lecun_repro.data.sources.digits import Digits


def test_split_is_fixed_and_complete() -> None:
    train = Digits().load("train", np.arange(1297))
    test = Digits().load("test", np.arange(500))
    assert (len(train.labels), len(test.labels)) == (1297, 500)
    assert train.labels[:10].tolist() == [8, 3, 8, 3, 1, 4, 9, 3, 0, 8]
    counts = torch.cat([train.labels, test.labels]).bincount()
    assert counts.tolist() == np.bincount(load_digits().target).tolist()


def test_pixels_are_doubled_bilinearly_and_scaled() -> None:
    split = Digits().load("train", np.array([3, 0]))
    assert split.images.shape == (2, 1, 16, 16) and split.images.dtype == torch.float32
    assert split.labels.dtype == torch.int64
    order = np.random.RandomState(1337).permutation(1797)
    image = load_digits().images[order[3]] / 8 - 1
    corner = image[0, 0]
    assert split.images[0, 0, 0, 0] == pytest.approx(corner)
    # Halfway between pixel centres the weights are 3/4 and 1/4.
    rows = 0.75 * image[3] + 0.25 * image[4]
    assert split.images[0, 0, 7, 7] == pytest.approx(0.75 * rows[3] + 0.25 * rows[4], abs=1e-6)
    everything = Digits().load("train", np.arange(1297)).images
    assert everything.min() == -1 and everything.max() <= 1
