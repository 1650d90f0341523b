"""Distortions: what identity, quarter turns and whole pixels come to, and one resampling for several."""

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import pad

from lecun_repro import Affine, Elastic, Erase
from lecun_repro.__main__ import main
from lecun_repro.data.augment import CHUNK, Augmentations, Shift, resampled
from lecun_repro.data.distortions import affine
from lecun_repro.errors import BadArgument

QUICKSTART = Path(__file__).parents[2] / "configs/quickstart.yaml"
N = CHUNK + 44
IMAGES = torch.rand(N, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
ALL = [Shift("pad"), Affine(20, 0.2, 0.3, 2.0), Elastic(5, 1.0), Erase(5, 0.7)]


def mapped(**chosen: float) -> torch.Tensor:
    """The images after one affine map, the same for all."""
    none = {"rotation": 0.0, "width": 1.0, "height": 1.0, "shear": 0.0, "right": 0.0, "down": 0.0}
    return Affine().apply(IMAGES, affine(*(torch.full((N,), value) for value in (none | chosen).values())))


def moved(right: int, down: int) -> torch.Tensor:
    """The images moved by whole pixels, with background coming in."""
    framed = pad(IMAGES, (5, 5, 5, 5), value=-1.0).roll((down, right), (2, 3))
    return framed[:, :, 5:21, 5:21]


# Affine


def test_the_identity_changes_no_bit() -> None:
    assert torch.equal(mapped(), IMAGES)
    for augmentation in (Affine(), Elastic(strength=0), Erase(probability=0)):
        drawn = augmentation.draw(N, torch.Generator().manual_seed(1))
        assert torch.equal(augmentation.apply(IMAGES, drawn), IMAGES)


@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_quarter_turns_are_torch_rot90(quarters: int) -> None:
    turned = mapped(rotation=quarters * math.pi / 2)
    torch.testing.assert_close(turned, IMAGES.rot90(quarters, (2, 3)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, -1), (-1, 1), (3, 5)])
def test_whole_pixels_are_the_shift_with_background(right: int, down: int) -> None:
    assert torch.equal(mapped(right=right, down=down), moved(right, down))
    if max(abs(right), abs(down)) <= 1:
        code = torch.full((N,), 3 * (down + 1) + right + 1)
        assert torch.equal(mapped(right=right, down=down), Shift("pad").apply(IMAGES, code))


def test_half_a_pixel_is_the_mean_of_two() -> None:
    torch.testing.assert_close(mapped(right=0.5), (IMAGES + moved(1, 0)) / 2)


def test_all_that_comes_in_is_background() -> None:
    assert (mapped(right=16) == -1).all() and (mapped(down=-40) == -1).all()


def test_factors_shear_and_rotation_are_applied_in_this_order_about_the_centre() -> None:
    chosen = {"rotation": 0.3, "width": 1.2, "height": 0.9, "shear": 0.4, "right": 1.5, "down": -0.5}
    parameters = affine(*(torch.tensor([value], dtype=torch.float64) for value in chosen.values()))
    turn = torch.tensor([[math.cos(0.3), math.sin(0.3)], [-math.sin(0.3), math.cos(0.3)]], dtype=torch.float64)
    slant = torch.tensor([[1, 0.4], [0, 1]], dtype=torch.float64)
    forward = turn @ slant @ torch.diag(torch.tensor([1.2, 0.9], dtype=torch.float64))
    for x, y in itertools.product((-7.5, 2.5), (-7.5, 0.5)):
        ink = torch.tensor([x, y], dtype=torch.float64)
        arrives = forward @ ink + torch.tensor([1.5, -0.5])
        displacement = parameters[0] @ torch.cat([arrives, torch.ones(1)])
        torch.testing.assert_close(arrives + displacement, ink)


def test_the_ranges_are_kept_and_filled() -> None:
    def drawn(**ranges: float) -> torch.Tensor:
        return Affine(**ranges).draw(4000, torch.Generator().manual_seed(0))

    turned = drawn(rotation=30)
    angle = torch.atan2(turned[:, 1, 0], turned[:, 0, 0] + 1).rad2deg()
    assert -30 <= angle.min() < -29.5 and 29.5 < angle.max() <= 30 and abs(angle.mean()) < 1
    factors = 1 / (drawn(scale=0.2)[:, [0, 1], [0, 1]] + 1)
    assert 0.8 <= factors.min() < 0.81 and 1.19 < factors.max() <= 1.2001
    assert abs(torch.corrcoef(factors.T)[0, 1]) < 0.05  # width and height are independent
    assert drawn(shear=0.3)[:, 0, 1].abs().max() == pytest.approx(0.3, abs=0.01)
    assert drawn(translation=2)[:, :, 2].abs().amax(0).tolist() == pytest.approx([2, 2], abs=0.01)


# Elastic and Erase


def test_knots_in_the_corners_move_the_corners_and_equal_ones_everything() -> None:
    elastic = Elastic(4)
    knots = torch.zeros(N, 2, 16)
    knots[:, 0, 3] = 1.0  # upper right: one pixel further right
    field = elastic.field(knots)
    assert torch.equal(field[:, 1], torch.zeros(N, 16, 16))
    assert field[0, 0, 0, 15] == pytest.approx(1, abs=1e-6) and field[0, 0, 15, 0] == 0
    steps = field[0, 0, 0, 1:] - field[0, 0, 0, :-1]
    assert steps.abs().max() < 0.4  # smooth
    everything = torch.stack([torch.full((N, 16), -1.0), torch.full((N, 16), 2.0)], 1)
    torch.testing.assert_close(elastic.apply(IMAGES, everything), moved(1, -2), rtol=0, atol=1e-5)


def test_knots_are_moved_by_up_to_the_strength() -> None:
    drawn = Elastic(3, 1.5).draw(1000, torch.Generator().manual_seed(0))
    assert drawn.shape == (1000, 2, 9)
    assert 1.49 < drawn.abs().max() <= 1.5 and drawn.mean().abs() < 0.05


@pytest.mark.parametrize(("size", "probability"), [(1, 1.0), (4, 0.25), (16, 1.0)])
def test_a_square_of_background_is_erased(size: int, probability: float) -> None:
    erase = Erase(size, probability)
    corners = erase.draw(N, torch.Generator().manual_seed(0))
    erased = erase.apply(IMAGES, corners)
    for image, before, (top, left) in zip(erased[:, 0], IMAGES[:, 0], corners.tolist(), strict=True):
        expected = before.clone()
        expected[top : top + size, left : left + size] = -1.0
        assert torch.equal(image, expected)
    share = (corners[:, 0] < 16).float().mean().item()
    assert share == pytest.approx(probability, abs=0.1)
    assert corners.unique().tolist() == [*range(17 - size), *([16] if probability < 1 else [])]


# Several


@pytest.mark.parametrize("size", [1, 37, CHUNK, CHUNK + 1])
def test_the_size_of_blocks_changes_no_bit(size: int) -> None:
    several = Augmentations("roll", ALL, seed=3)
    drawn = several.draw(N, 2)
    whole = several.apply(IMAGES, drawn, slice(None))
    some = range(0, N, size) if size > 1 else (0, 1, 255, 256, N - 1)
    for first in some:
        part = slice(first, first + size)
        assert torch.equal(several.apply(IMAGES[part], drawn, part), whole[part])
    picked = torch.tensor([5, 280, 17])
    assert torch.equal(several.apply(IMAGES[picked], drawn, picked), whole[picked])


def test_neighbours_are_resampled_once_by_the_sum_of_their_fields() -> None:
    turn, elastic = Affine(10, 0.1), Elastic()
    several = Augmentations(None, [turn, elastic])
    drawn = several.draw(N, 0)
    expected = resampled(IMAGES, [(turn, drawn[0]), (elastic, drawn[1])])
    assert torch.equal(several.apply(IMAGES, drawn, slice(None)), expected)
    one_after_the_other = elastic.apply(turn.apply(IMAGES, drawn[0]), drawn[1])
    assert not torch.allclose(one_after_the_other, expected, atol=0.1)
    halves = resampled(IMAGES, [(turn, drawn[0] / 2), (turn, drawn[0] / 2)])
    torch.testing.assert_close(halves, turn.apply(IMAGES, drawn[0]), rtol=0, atol=1e-4)


def test_what_stands_between_keeps_its_place() -> None:
    several = Augmentations(None, [Affine(translation=3), Erase(8, 1.0), Elastic()])
    drawn = several.draw(N, 0)
    expected = IMAGES
    for (augmentation, *_), parameters in zip(several.steps, drawn, strict=True):
        expected = augmentation.apply(expected, parameters)
    assert torch.equal(several.apply(IMAGES, drawn, slice(None)), expected)


def test_draws_are_those_of_the_seed_the_pass_and_the_place_in_the_list() -> None:
    def first(seed: int, pass_index: int, others: list) -> torch.Tensor:
        torch.rand(1)  # the global generator has no part in it
        return Augmentations(None, others, seed).draw(20, pass_index)[-1]

    drawn = first(1, 2, [Elastic()])
    assert torch.equal(drawn, first(1, 2, [Elastic()]))
    for other in (first(2, 2, [Elastic()]), first(1, 3, [Elastic()]), first(1, 2, [Erase(), Elastic()])):
        assert not torch.equal(drawn, other)


# From YAML


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (Affine, "rotation", -1), (Affine, "rotation", 181), (Affine, "scale", 1.0), (Affine, "shear", math.nan),
        (Affine, "translation", math.inf), (Affine, "translation", "much"), (Elastic, "grid", 1),
        (Elastic, "grid", 4.5), (Elastic, "strength", -0.1), (Erase, "size", 0), (Erase, "size", 17),
        (Erase, "size", True), (Erase, "probability", 1.1), (Erase, "probability", math.nan),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(kind: type, name: str, value: object) -> None:
    with pytest.raises(BadArgument) as error:
        kind(**{name: value})
    assert error.value.name == name


def test_a_bad_value_is_one_line(monkeypatch, tmp_path, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    augment = [{"class_path": "lecun_repro.Erase"}, {"class_path": "Affine", "init_args": {"scale": 2.0}}]
    Path("mine.yaml").write_text(json.dumps({"data": {"augment": augment}}))
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(QUICKSTART), "--config", "mine.yaml"])
    line = "lecun-repro: error: data.augment[1].init_args.scale: 2.0; allowed: a number from 0 to 0.9\n"
    assert capfd.readouterr().err == line


@pytest.mark.slow
def test_augmented_digits_are_fitted_and_resumed_to_the_same_bits(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    augment = [
        {"class_path": "lecun_repro.Affine", "init_args": {"rotation": 10, "scale": 0.1}},
        {"class_path": "lecun_repro.Elastic"},
        {"class_path": "lecun_repro.Erase", "init_args": {"size": 3}},
    ]
    Path("mine.yaml").write_text(json.dumps({"data": {"augment": augment}}))

    def weights(version: str, block: int, passes: int, *flags: str) -> dict[str, torch.Tensor]:
        main([
            "fit", "--config", str(QUICKSTART), "--config", "mine.yaml", "--data.train_size=60", "--data.test_size=20",
            f"--data.block_size={block}", f"--trainer.max_epochs={passes}", "--model.compile=false",
            f"--trainer.logger.init_args.version={version}", *flags,
        ])  # fmt: skip
        return torch.load(last(version), weights_only=True)["state_dict"]

    def last(version: str) -> Path:
        return Path(f"lightning_logs/quickstart/{version}/checkpoints/last.ckpt")

    whole = weights("whole", 2048, 3)
    weights("half", 17, 2)
    again = weights("again", 25, 3, f"--ckpt_path={last('half')}")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    config = Path("lightning_logs/quickstart/whole/config.yaml").read_text()
    assert all(f"class_path: {name}" in config for name in ("lecun_repro.Affine", "lecun_repro.Elastic"))
