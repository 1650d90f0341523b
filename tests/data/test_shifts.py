import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lecun_repro.data.augment import draw_shifts, shift_table, shifted

NINE = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
IMAGES = torch.rand(9, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_roll_is_torch_roll() -> None:
    moved = shifted(IMAGES, torch.arange(9), shift_table("roll"))
    for image, result, (dy, dx) in zip(IMAGES, moved, NINE, strict=True):
        assert torch.equal(result, image.roll((dy, dx), (1, 2)))


def test_pad_is_torch_roll_with_background_coming_in() -> None:
    moved = shifted(IMAGES, torch.arange(9), shift_table("pad"))
    for image, result, (dy, dx) in zip(IMAGES, moved, NINE, strict=True):
        framed = torch.nn.functional.pad(image, (1, 1, 1, 1), value=-1.0).roll((dy, dx), (1, 2))
        assert torch.equal(result, framed[:, 1:17, 1:17])


@pytest.mark.parametrize("shift", ["roll", "pad"])
@given(codes=st.lists(st.integers(0, 8), min_size=1, max_size=9))
def test_each_digit_is_moved_on_its_own(shift, codes) -> None:
    table, images = shift_table(shift), IMAGES[: len(codes)]
    together = shifted(images, torch.tensor(codes), table)
    alone = [shifted(images[i : i + 1], torch.tensor([code]), table) for i, code in enumerate(codes)]
    assert torch.equal(together, torch.cat(alone))
    assert together.shape == images.shape


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(1, 50))
def test_draws_are_the_pass_own(seed, pass_index, n) -> None:
    shifts = draw_shifts(n, seed, pass_index)
    assert shifts.shape == (n,) and shifts.min() >= 0 and shifts.max() <= 8
    torch.rand(1)  # the global generator has no part in it
    assert torch.equal(shifts, draw_shifts(n, seed, pass_index))


def test_all_nine_shifts_are_equally_frequent() -> None:
    counts = draw_shifts(90_000, 1337, 0).bincount(minlength=9)
    assert (counts - 10_000).abs().max() < 500  # five standard deviations
    assert not torch.equal(draw_shifts(100, 1337, 0), draw_shifts(100, 1337, 1))
    assert not torch.equal(draw_shifts(100, 1337, 0), draw_shifts(100, 1338, 0))
