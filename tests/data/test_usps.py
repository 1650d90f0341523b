import gzip

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.data.sources import usps
from lecun_repro.errors import DataError


@pytest.mark.parametrize("folder", ["", "usps"])
@pytest.mark.parametrize("packed", [True, False])
def test_every_layout_is_found(small_usps, folder, packed) -> None:
    small_usps._replace(home=small_usps.root / folder).write(packed).path("zip.test", packed).unlink()  # not needed
    split = usps.USPS().load("train", np.array([7, 1]), small_usps.root)
    assert split.labels.tolist() == small_usps.labels["train"][[7, 1]].tolist()
    assert split.images.shape == (2, 1, 16, 16) and split.images.dtype == torch.float32
    pixels = torch.from_numpy((small_usps.images["train"][[7, 1]] / 1000).astype(np.float32))
    assert torch.equal(split.images.flatten(1), pixels)


@st.composite
def tables(draw):
    n = draw(st.integers(1, 4))
    labels = draw(arrays(np.uint8, n, elements=st.integers(0, 9)))
    return labels, draw(arrays(np.int16, (n, 256), elements=st.integers(-1000, 1000), fill=st.just(-1000)))


@given(tables(), st.sampled_from(["{:g}", "{:.3f}", "{:.4f}"]), st.sampled_from(["\n", " \n", "\r\n"]))
def test_text_round_trip(table, number, end) -> None:
    labels, thousandths = table
    rows = (" ".join(map(number.format, [label, *row])) for label, row in zip(labels, thousandths / 1000, strict=True))
    parsed = usps.parse_zip("".join(row + end for row in rows).encode(), len(labels))
    assert all(np.array_equal(a, b) for a, b in zip(parsed, table, strict=True))


@given(st.binary(max_size=60) | st.text(" 0123456789.-+einf\n", max_size=60).map(str.encode))
def test_anything_else_is_refused_with_its_line(content) -> None:
    with pytest.raises(DataError, match=r"^(line \d+: |the file is empty)"):
        usps.parse_zip(content, 2)


LINE = " ".join(["5", *["-1"] * 256])


def changed(field: int, value: str) -> str:
    fields = LINE.split()
    fields[field] = value
    return " ".join(fields)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (LINE[:-3], "256 fields, expected 257"),
        (LINE + " -1", "more, expected 257"),
        ("", "0 fields"),
        ("<html><body>Not found</body></html>", "2 fields"),
        (changed(0, "10"), "label 10, expected an integer from 0 to 9"),
        (changed(0, "2.5"), "label 2.5"),
        (changed(0, "nan"), "label nan"),
        (changed(9, "nan"), "pixel 9 is nan, expected -1 to 1"),
        (changed(256, "-inf"), "pixel 256 is -inf"),
        (changed(1, "1.001"), "pixel 1 is 1.001"),
        (changed(1, "O.5"), "could not convert string to float: b'O.5'"),
        (changed(1, "0.\xff5" + "a" * 99), "could not convert string to float"),
    ],
)
@given(row=st.integers(0, 29))
def test_a_bad_line_is_named(line, fault, row) -> None:
    lines = [LINE] * 30
    lines[row] = line
    with pytest.raises(DataError, match=rf"^line {row + 1}: .*{fault}") as error:
        usps.parse_zip("\n".join(lines).encode() + b"\n", 30)
    assert len(str(error.value)) < 120


def test_too_few_or_too_many_lines() -> None:
    with pytest.raises(DataError, match=r"^29 lines, expected 30"):
        usps.parse_zip((LINE + "\n").encode() * 29, 30)
    with pytest.raises(DataError, match=r"^31 lines, expected 30"):
        usps.parse_zip((LINE + "\n").encode() * 31, 30)


def test_a_changed_pixel_is_refused_with_both_digests(small_usps) -> None:
    path = small_usps.write().path("zip.train")
    path.write_bytes(gzip.compress(small_usps.contents["zip.train"].replace(b"0.1", b"0.2", 1)))
    digests = r"sha256 of the content is [0-9a-f]{64}, expected [0-9a-f]{64}"
    with pytest.raises(DataError, match=digests) as error:
        usps.USPS().load("train", np.arange(3), small_usps.root)
    assert str(path) in str(error.value)


def test_real_zip_code_digits(real_data) -> None:
    if not (real_data / "usps").is_dir():
        pytest.skip("the real zip-code digits are not there")
    data = DigitsDataModule("usps", root=real_data)
    data.setup()
    assert data.train.labels.bincount().tolist() == [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
    assert data.splits["test"].labels.bincount().tolist() == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
    assert data.train.labels[0] == 6
