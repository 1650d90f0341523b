"""Spaces of a search: what they suggest, and what is wrong with one is one line."""

from pathlib import Path
from typing import Any

import pytest

from lecun_repro.cli.search_space import Choice, Range, _choice, leaves, load_space, probes, refuse_flags, settings
from lecun_repro.errors import BadArgument

SPACE = """
optimizer:
  - class_path: torch.optim.AdamW
    init_args: {lr: {low: 1e-4, high: 1e-2, log: true}, betas: [[0.9, 0.99], [0.9, 0.999]]}
  - class_path: torch.optim.SGD
    init_args: {lr: {low: 0.01, high: 0.1}, momentum: 0.9}
model.network.init_args.dropout: {low: 0.0, high: 0.5, step: 0.25}
data: {batch_size: {low: 1, high: 64, log: true}, shift: [roll, pad, null]}
"""


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> str:
        (tmp_path / "space.yaml").write_text(text)
        return str(tmp_path / "space.yaml")

    return write


def test_ranges_choices_and_branches(written) -> None:
    tree = load_space(written(SPACE))
    assert dict(leaves(tree)) == {
        "optimizer": tree["optimizer"],
        "optimizer[AdamW].init_args.lr": Range(1e-4, 1e-2, True, None, False),
        "optimizer[AdamW].init_args.betas": Choice({"[0.9, 0.99]": [0.9, 0.99], "[0.9, 0.999]": [0.9, 0.999]}),
        "optimizer[SGD].init_args.lr": Range(0.01, 0.1, False, None, False),
        "model.network.init_args.dropout": Range(0.0, 0.5, False, 0.25, False),
        "data.batch_size": Range(1, 64, True, None, True),
        "data.shift": Choice({"roll": "roll", "pad": "pad", "null": None}),
    }
    asked: list[str] = []

    def second(name: str, spec: Any) -> Any:
        asked.append(name)
        return [*spec.values][1] if isinstance(spec, Choice) else spec.high

    assert settings(tree, second) == {
        "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": 0.9}},
        "model": {"network": {"init_args": {"dropout": 0.5}}},
        "data": {"batch_size": 64, "shift": "pad"},
    }
    assert "optimizer[AdamW].init_args.lr" not in asked, "a branch that is not taken has no settings"


def test_probes_have_every_end_and_every_choice(written) -> None:
    tree = load_space(written(SPACE))
    texts = list(map(str, probes(tree)))
    for value in (
        "'lr': 0.0001,",
        "'lr': 0.01,",
        "'lr': 0.01, 'momentum'",
        "'lr': 0.1,",
        "[0.9, 0.999]",
        "'dropout': 0.5",
    ):
        assert any(value in text for text in texts), value
    assert len(texts) == 4  # of each of the two optimizers two


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a.b: {low: 2, high: 1}", 'a.b: {"low": 2, "high": 1}; allowed: {low: …, high: …}, low below high'),
        ("a: {b: {low: 0, high: 1, log: true}}", 'a.b: {"low": 0, "high": 1, "log": true}; allowed: {low: …'),
        ("a: {low: 1, high: 2, logg: true}", "a: {"), ("a: {low: 1}", 'a: {"low": 1}; allowed: {low: …, high: …}'),
        ("a: {low: 1, high: .inf}", "a: {"), ("a: {low: 1, high: 9, step: 0}", "a: {"),
        ("a: {low: 0.1, high: 1, log: true, step: 0.1}", "a: {"), ("a: {low: x, high: y}", "a: {"),
        ("a: []", "a: []; allowed: a list of different choices"), ("a: [1, 1]", "a: [1, 1]; allowed: a list of diff"),
        ("a: [{b: {low: 1, high: 0}}, 2]", "a[{\"b\": {\"low\": 1, \"high\": 0}}].b: {"),
        ("a.b: 1\na: {b: [1, 2]}", "a: given twice; allowed: one value for each dotted key"),
        ("a: [1, 2]\na.b: [1, 2]", "a.b: [1, 2]; allowed: a key that is not within another"),
        ("a..b: [1, 2]", "a..b: [1, 2]; allowed: one value for each dotted key"),
        ("a: 1", "space: "), ("", "space: "), ("a: [1", "space: "),
        ("data.fold: [1/5, 2/5]", "data.fold: in a space; allowed: --folds in its place"),
        ("seed_everything: [1, 2]", "seed_everything: in a space; allowed: --seeds in its place"),
        ("trainer.logger: [false, true]", "trainer.logger: in a space; allowed: other keys"),
    ],
)  # fmt: skip
def test_a_bad_space_is_one_line(text: str, line: str, written) -> None:
    with pytest.raises(BadArgument) as refused:
        load_space(written(text))
    assert str(refused.value).startswith(line) and "\n" not in str(refused.value)


@pytest.mark.parametrize("flag", ["--optimizer=SGD", "--optimizer.lr=1", "--optimizer.init_args.lr", "--data=x.yaml"])
def test_a_flag_does_not_win_over_what_is_searched(flag: str, written) -> None:
    tree = load_space(written("optimizer.init_args.lr: [1, 2]\ndata.batch_size: [1, 2]"))
    refuse_flags(tree, ["--data.root=elsewhere", "--trainer.max_epochs", "3"])
    with pytest.raises(BadArgument, match="allowed: no flag, as the space has"):
        refuse_flags(tree, [flag, "1"])


def test_lists_of_classes_are_called_by_their_arguments() -> None:
    affine = {"class_path": "lecun_repro.Affine", "init_args": {"rotation": 15.0, "scale": 0.1}}
    choice = _choice([[affine], [affine, {"class_path": "lecun_repro.Elastic"}], []], "data.augment")
    assert list(choice.values) == ["Affine(15.0, 0.1)", "Affine(15.0, 0.1) + Elastic()", "[]"]
