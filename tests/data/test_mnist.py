import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from lecun_repro.__main__ import main
from lecun_repro.cli.build import trained
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.data.images import read_digit
from lecun_repro.data.sources import mnist
from lecun_repro.errors import BadArgument, DataError


@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_every_layout_is_found(small_mnist, folder, packed) -> None:
    small_mnist._replace(home=small_mnist.root / folder).write(packed)
    split = mnist.MNIST().load("test", np.array([5, 2]), small_mnist.root)
    assert split.labels.tolist() == small_mnist.labels["test"][[5, 2]].tolist()
    assert torch.equal(split.images, mnist.to_16x16(small_mnist.images["test"][[5, 2]]))


def test_conversion_is_that_of_the_article() -> None:
    images = np.random.default_rng(1).integers(0, 256, (9000, 28, 28), dtype=np.uint8)
    whole = torch.from_numpy(images).float()[:, None] / 127.5 - 1
    whole = torch.nn.functional.interpolate(whole, (16, 16), mode="bilinear")
    small = mnist.to_16x16(images)
    assert torch.equal(small, whole)
    assert small.shape == (9000, 1, 16, 16) and small.dtype == torch.float32
    # By hand: the centre of output pixel 0 is at 0.5 * 28 / 16 - 0.5 = 0.375 of the input.
    corner = images[0].astype(float) / 127.5 - 1
    rows = 0.625 * corner[0] + 0.375 * corner[1]
    assert small[0, 0, 0, 0] == pytest.approx(0.625 * rows[0] + 0.375 * rows[1], abs=1e-6)


def test_in_the_paper_s_frame_the_box_of_the_digit_fills_the_field() -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 4:24, 4:24] = 255  # MNIST's box
    images[1, 2:26, 2:26] = 255  # with 2 pixels around it
    box, whole = mnist.to_16x16(images, "paper")[:, 0]
    assert (whole == 1).all()
    assert (box[2:14, 2:14] == 1).all() and box[1, 8] > -1 and (box[0] == -1).all()
    noise = np.random.default_rng(1).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    middle = torch.from_numpy(noise[:, 2:26, 2:26]).float()[:, None] / 127.5 - 1
    expected = torch.nn.functional.interpolate(middle, (16, 16), mode="bilinear")
    assert torch.equal(mnist.to_16x16(noise, "paper"), expected)


def moments(image: np.ndarray) -> tuple[float, float, float, float, float]:
    """Of ink from 0: means in x and y, slant, and standard deviations in width, without the slant, and height."""
    y, x = (axis.ravel() for axis in np.mgrid[: image.shape[0], : image.shape[1]])
    weights = image.ravel()
    (vx, covariance), (_, vy) = np.cov(x, y, aweights=weights, ddof=0)
    upright = np.sqrt(vx - covariance**2 / vy)
    return np.average(x, weights=weights), np.average(y, weights=weights), covariance / vy, upright, np.sqrt(vy)


@pytest.mark.parametrize(("slant", "width", "height"), [(0, 3, 14), (0.4, 6, 14), (-0.6, 5, 18), (0.2, 10, 10)])
def test_a_normalised_digit_is_upright_in_the_middle_and_of_about_equal_size(slant, width, height) -> None:
    y, x = np.mgrid[:28, :28]
    bar = (np.abs(x - 15 - slant * (y - 12)) <= width / 2) & (np.abs(y - 12) <= height / 2)  # off the middle
    image = (255 * bar).astype(np.uint8)
    shown = mnist.to_16x16(image[None], "normalised")[0, 0].numpy() + 1
    *_, width_before, height_before = moments(image)
    mean_x, mean_y, slant_after, width_after, height_after = moments(shown)
    assert (mean_x, mean_y) == pytest.approx((7.5, 7.5), abs=0.2)
    assert slant_after == pytest.approx(0, abs=0.05)
    # Half of the way, and 24 pixels are 16. Bilinear reading widens what is narrow.
    assert width_after == pytest.approx(np.sqrt(width_before * mnist.WIDTH) / 1.5, rel=0.15)
    assert height_after == pytest.approx(np.sqrt(height_before * mnist.HEIGHT) / 1.5, rel=0.05)


@pytest.mark.parametrize("place", [None, (14, 14), (0, 27)])
def test_an_image_without_extent_can_be_normalised(place) -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    if place:
        image[(0, *place)] = 255
    shown = mnist.to_16x16(image, "normalised")
    assert shown.isfinite().all() and shown.shape == (1, 1, 16, 16)
    assert float(shown.min()) == -1 and (float(shown.max()) > -1) == (place is not None)


def test_digits_come_in_the_frame_that_is_asked_for(small_mnist) -> None:
    arguments = {"train_size": 30, "test_size": 20, "root": small_mnist.write().root}
    article, paper, normalised, default = (
        DigitsDataModule(**arguments, **frame)
        for frame in ({"frame": "article"}, {"frame": "paper"}, {"frame": "normalised"}, {})
    )
    for data in (article, paper, normalised, default):
        data.setup()
    rows = mnist.MNIST().order("article").test[:20]
    for data, frame in ((paper, "paper"), (normalised, "normalised")):
        assert torch.equal(data.splits["test"].images, mnist.to_16x16(small_mnist.images["test"][rows], frame))
        assert not torch.equal(article.train.images, data.train.images)
    assert torch.equal(article.train.images, default.train.images)


@pytest.mark.parametrize("source", ["digits", "usps"])
def test_other_sources_have_one_frame(source) -> None:
    with pytest.raises(BadArgument, match=f"^frame: paper; allowed: article, the only one of {source}$"):
        DigitsDataModule(source, frame="paper")


def test_images_are_predicted_in_the_checkpoint_s_frame(small_mnist, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    page = np.full((120, 120), 240, np.uint8)
    page[30:90, 55:65] = page[30:40, 55:85] = 20
    Image.fromarray(page).save("digit.png")
    quickstart = Path(__file__).parents[2] / "configs/quickstart.yaml"
    main([
        "fit", "--config", str(quickstart), "--data.source=mnist", f"--data.root={small_mnist.write().root}",
        "--data.frame=paper", "--data.train_size=30", "--data.test_size=20", "--trainer.max_epochs=1",
        "--model.compile=false",
    ])  # fmt: skip
    checkpoint = "lightning_logs/quickstart/version_0/checkpoints/last.ckpt"
    main(["predict", f"--ckpt_path={checkpoint}", "--data.images=digit.png", "--output=digit.csv"])
    probability = float(Path("digit.csv").read_text().splitlines()[1].split(",")[2])
    model, _ = trained(checkpoint)
    with torch.no_grad():
        expected = {
            frame: float(model.head.probabilities(model(mnist.to_16x16(read_digit("digit.png")[None], frame))).max())
            for frame in mnist.MARGINS
        }
    assert probability == pytest.approx(expected["paper"], abs=1e-5)
    assert probability != pytest.approx(expected["article"], abs=1e-5)


@given(arrays(np.uint8, st.lists(st.integers(0, 6), min_size=1, max_size=4).map(tuple)))
def test_idx_round_trip(array) -> None:
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    assert np.array_equal(mnist.parse_idx(header + array.tobytes(), array.shape), array)


@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: b"\0\0\x08\1\0\0\0\3" + tail))
def test_idx_of_anything_is_three_bytes_or_refused(content) -> None:
    try:
        items = mnist.parse_idx(content, (3,))
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert items.shape == (3,) and len(content) == 11


IMAGES, LABELS = mnist.FILES["train"]
HEADER = struct.pack(">4B3I", 0, 0, 8, 3, 300, 28, 28)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        (IMAGES, b"", "empty"),
        (IMAGES, b"<!DOCTYPE html>", "no 300 x 28 x 28 bytes in the IDX format: it begins with b'<!DOCTYPE html>"),
        (IMAGES, struct.pack(">4B3I", 0, 0, 8, 1, 300, 28, 28) + bytes(300 * 784), "in the IDX format"),
        (IMAGES, struct.pack(">4BI", 0, 0, 8, 3, 300), "in the IDX format"),
        (IMAGES, struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3), "in the IDX format"),
        (IMAGES, struct.pack(">4B3I", 0, 0, 8, 3, 300, 14, 56) + bytes(300 * 784), "in the IDX format"),
        (IMAGES, HEADER + bytes(300 * 784 - 1), "235,215 bytes, expected 235,216"),
        (IMAGES, HEADER + bytes(300 * 784), "sha256 of the content is [0-9a-f]{64}, expected [0-9a-f]{64}"),
        (LABELS, struct.pack(">4BI", 0, 0, 8, 1, 299) + bytes(299), "no 300 bytes in the IDX format"),
        (LABELS, struct.pack(">4BI", 0, 0, 8, 1, 300) + bytes(299) + b"\x0a", "sha256 of the content is"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_another_content_is_refused_with_its_file_and_fault(small_mnist, name, content, fault, packed) -> None:
    path = small_mnist.write(packed).path(name, packed)
    path.write_bytes(gzip.compress(content) if packed else content)
    before = path.read_bytes()
    with pytest.raises(DataError, match=fault) as error:
        mnist.MNIST().load("train", np.arange(3), small_mnist.root)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert path.read_bytes() == before


def test_real_article_digits(real_data) -> None:
    data = DigitsDataModule(root=real_data)
    data.setup()
    assert data.train.labels.bincount().tolist() == [724, 826, 756, 765, 708, 632, 701, 744, 720, 715]
    assert data.splits["test"].labels.bincount().tolist() == [217, 231, 216, 177, 195, 172, 191, 206, 200, 202]
    assert data.train.images.min() == -1 and data.train.images.max() <= 1


def test_real_full_set(real_data) -> None:
    data = DigitsDataModule(draw="full", test_size=10_000, root=real_data)
    data.setup()
    assert (data.n_train, len(data.splits["test"].labels)) == (50_000, 10_000)
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
