import json
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lecun_repro
from lecun_repro.__main__ import main
from lecun_repro.data.augment import Augmentations, Shift
from lecun_repro.errors import DataError
from lecun_repro.randomness import pass_generator

NINE = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
IMAGES = torch.rand(9, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
ALL = slice(None)
QUICKSTART = Path(__file__).parents[2] / "configs/quickstart.yaml"


# The article's shifts


def test_roll_is_torch_roll() -> None:
    moved = Shift("roll").apply(IMAGES, torch.arange(9))
    for image, result, (dy, dx) in zip(IMAGES, moved, NINE, strict=True):
        assert torch.equal(result, image.roll((dy, dx), (1, 2)))


def test_pad_is_torch_roll_with_background_coming_in() -> None:
    moved = Shift("pad").apply(IMAGES, torch.arange(9))
    for image, result, (dy, dx) in zip(IMAGES, moved, NINE, strict=True):
        framed = torch.nn.functional.pad(image, (1, 1, 1, 1), value=-1.0).roll((dy, dx), (1, 2))
        assert torch.equal(result, framed[:, 1:17, 1:17])


@pytest.mark.parametrize("kind", ["roll", "pad"])
@given(codes=st.lists(st.integers(0, 8), min_size=1, max_size=9))
def test_each_digit_is_moved_on_its_own(kind, codes) -> None:
    shift, images = Shift(kind), IMAGES[: len(codes)]
    together = shift.apply(images, torch.tensor(codes))
    alone = [shift.apply(images[i : i + 1], torch.tensor([code])) for i, code in enumerate(codes)]
    assert torch.equal(together, torch.cat(alone))
    assert together.shape == images.shape


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(1, 50))
def test_shifts_are_the_pass_own(seed, pass_index, n) -> None:
    [shifts] = Augmentations("roll", seed=seed).draw(n, pass_index)
    assert shifts.shape == (n,) and shifts.min() >= 0 and shifts.max() <= 8
    torch.rand(1)  # the global generator has no part in it
    assert torch.equal(shifts, torch.randint(9, (n,), generator=pass_generator(seed, pass_index, "shift")))


def test_all_nine_shifts_are_equally_frequent() -> None:
    def draws(n: int, seed: int, pass_index: int) -> torch.Tensor:
        return Augmentations("roll", seed=seed).draw(n, pass_index)[0]

    counts = draws(90_000, 1337, 0).bincount(minlength=9)
    assert (counts - 10_000).abs().max() < 500  # five standard deviations
    assert draws(8, 1337, 0).tolist() == [4, 7, 7, 8, 2, 7, 2, 0]  # from version to version
    assert not torch.equal(draws(100, 1337, 0), draws(100, 1337, 1))
    assert not torch.equal(draws(100, 1337, 0), draws(100, 1338, 0))


# Several


class Scale(lecun_repro.Augmentation):
    """Multiplies each digit by a factor of its own."""

    def draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(n, 1, generator=generator)

    def apply(self, images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        return images * parameters[..., None, None]


class Crop(Scale):
    def apply(self, images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        return images[:, :, 1:]


def test_several_are_applied_in_order_each_with_its_own_numbers() -> None:
    both = Augmentations("pad", [Scale(), Scale(), Shift("pad")], seed=5)
    first, *others = drawn = both.draw(9, 3)
    assert torch.equal(first, Augmentations("pad", seed=5).draw(9, 3)[0])  # what follows does not change the shifts
    assert not torch.equal(others[0], others[1]) and not torch.equal(first, others[2])
    expected = Shift("pad").apply(IMAGES, first)
    expected = Shift("pad").apply(expected * others[0][..., None, None] * others[1][..., None, None], others[2])
    torch.testing.assert_close(both.apply(IMAGES, drawn, ALL), expected)
    in_parts = [both.apply(IMAGES[part], drawn, part) for part in (slice(0, 4), slice(4, 5), slice(5, 9))]
    assert torch.equal(torch.cat(in_parts), both.apply(IMAGES, drawn, ALL))


def test_none_leaves_the_digits_as_they_are() -> None:
    assert Augmentations().apply(IMAGES, Augmentations().draw(9, 0), ALL) is IMAGES


def test_another_shape_is_refused() -> None:
    crop = Augmentations(None, [Crop()])
    with pytest.raises(DataError, match=r"^data.augment: Crop makes \(9, 1, 16, 16\) into \(9, 1, 15, 16\); allowed:"):
        crop.apply(IMAGES, crop.draw(9, 0), ALL)


class Anything(Scale):
    def __init__(self, thing=None) -> None: ...


def test_an_argument_of_no_type_makes_no_object(monkeypatch, tmp_path, capfd) -> None:
    monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])
    monkeypatch.chdir(tmp_path)
    trap = {"class_path": "pathlib.Path", "init_args": {}}
    config = {"data": {"augment": [{"class_path": "mine.Anything", "init_args": {"thing": trap}}]}}
    Path("mine.yaml").write_text(json.dumps(config))
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(QUICKSTART), "--config", "mine.yaml"])
    line = capfd.readouterr().err
    assert "data.augment[0].init_args.thing.class_path: pathlib.Path; allowed: a plain value" in line
