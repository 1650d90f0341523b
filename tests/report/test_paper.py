"""The report on configs/1989, from raw results alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lecun_repro.commands.report import report
from lecun_repro.report.tables import NONE

NAMES = ["1_article_baseline_on_usps", "2_newton", "3_paper", "4_fully_connected", "5_modern", "6_sgd_control"]
RULES = """[families]
1989 = [["6_sgd_control", "2_newton"], ["1_article_baseline_on_usps", "3_paper"]]
[rules]
1989 = "in words"
"""

Write = Callable[..., str]


@pytest.fixture
def text_of(tmp_path: Path, split, run) -> Write:
    """Writes runs of rows, each with its training and test misses with the first seed, and returns their report.

    Losses are about the paper's, whose MSEs are 2.5e-3 and 1.8e-2. A row's curve halves its misses from pass to pass,
    down to the last ones.
    """

    def write(*rows: tuple[str, int, int], seeds: int = 5, **more: Any) -> str:
        rejection = {"rejected_at_1_percent": 12.5, "rejection": [5 - share / 10 for share in range(41)]}
        runs = []
        for row, train, test in rows:
            for s in range(seeds):
                of_train = split(7291, train + s, loss=2.4e-3 + 1e-4 * s, **rejection)
                of_test = split(2007, test + s, loss=1.7e-2 + 1e-3 * s, **rejection)
                curve = [
                    {"pass": p, "train": point((train + s) << (4 - p)), "test": point(test + s)} for p in range(1, 5)
                ]
                settings = {"source": "usps", "passes": 4, "curve": curve}
                runs.append(run(row, 1337 + s, of_train, of_test, **settings | more))
        path = tmp_path / "1989.json"
        path.write_text(json.dumps(runs))
        (tmp_path / "rules.toml").write_text(RULES)
        report(str(path))
        return path.with_suffix(".md").read_text()

    return write


def point(misses: int) -> dict[str, Any]:
    return {"loss": 0.1, "error": 100 * misses / 7291, "misses": misses}


ALL = [(NAMES[0], 22, 118), (NAMES[1], 8, 108), (NAMES[2], 8, 100), (NAMES[3], 110, 160), (NAMES[4], 20, 60)]


@pytest.mark.drawn
def test_every_configuration_is_held_against_the_paper(tmp_path: Path, text_of: Write) -> None:
    text = text_of(*ALL)
    assert "| *paper* | 1 | 0.14 | 10 | 2.5e-03 | 5.00 |" in text
    row = "| `3_paper` | 5 | 0.14 ± 0.02 | 10.0 ± 1.6 | 2.6e-03 | 5.08 ± 0.08 | 4.98 to 5.18 | 102.0 ± 1.6 | 1.9e-02 |"
    assert f"{row} 12.5 ± 0.0 | *compatible* |" in text
    assert "12.5 ± 0.0 | *not compatible (train misses, test misses)* |" in text  # the baseline
    assert f"12.5 ± 0.0 | {NONE} |" in text  # the modern one, of which the paper has none
    assert "| `3_paper` | train MSE | 0.00250 | 0.00260 ± 0.00016 | 5 | 40 | 0.00048 | 0.59 |" in text
    for name in ("1989_curves.png", "1989_rejection.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert f"]({name})" in text


@pytest.mark.parametrize(
    "baseline, paper, verdicts",
    [
        ((22, 118), (8, 100), ["*no (higher)*", "*yes*", "*yes*"]),
        ((22, 100), (15, 100), ["*they may*", "*in part*", "*no*"]),
        ((22, 106), (8, 100), ["*they may*", "*yes*", "*yes*"]),  # p 0.03, as one of its row's four numbers 0.08
        ((22, 80), (22, 100), ["*no (lower)*", "*no*", "*no*"]),
        ((9, 100), (8, 100), ["*they may*", "*no*", "*no*"]),
    ],
)
def test_verdicts_on_the_doubts_follow_their_rules(text_of: Write, baseline, paper, verdicts: list[str]) -> None:
    text = text_of((NAMES[0], *baseline), (NAMES[1], *paper), (NAMES[2], *paper))
    for question, answer in zip(
        ("explain the paper's test", "sigmoid explain its", "halve the"), verdicts, strict=True
    ):
        (line,) = [line for line in text.splitlines() if line.startswith("- **D") and question in line]
        assert answer in line


@pytest.mark.parametrize(
    "newton, sgd, passes, told", [(20, 20, "1.00", "holds"), (80, 20, "0.", "holds"), (1, 60, "4.00", "fails")]
)
def test_the_learning_speed_is_that_of_the_curves(
    text_of: Write, newton: int, sgd: int, passes: str, told: str
) -> None:
    text = text_of((NAMES[1], newton, 100), (NAMES[5], sgd, 100))
    (line,) = [line for line in text.splitlines() if "learning speed" in line and line.startswith("- **No")]
    assert f"*{told}*: SGD takes {passes}" in line
    assert ("not get to in 5 of 5" in line) == (newton == 80)


@pytest.fixture
def tried(tmp_path: Path, split, run) -> Callable[..., None]:
    """Writes runs of rows on digits held out, of two seeds, each with its misses of the first."""

    def write(**misses: int) -> None:
        runs = []
        for row, first in misses.items():
            for s in (0, 1):
                record = run(row, s, split(6291, 9), split(1000, first + s), source="usps")
                record["holdout"], record["curve"] = record.pop("test"), [{"pass": 1, "train": point(9)}]
                runs.append(record)
        (tmp_path / "holdout").mkdir(exist_ok=True)
        (tmp_path / "holdout" / "1989.json").write_text(json.dumps(runs))

    return write


def test_the_setting_with_the_fewest_misses_held_out_is_judged(text_of: Write, tried) -> None:
    three = {"6_sgd_control": 21, "6_sgd_target_1": 22, "6_sgd_article_range": 21}
    tried(**three)
    assert "With SGD not all four have been tried" in text_of((NAMES[5], 8, 100))
    tried(**three, **{NAMES[0]: 22})
    text = text_of((NAMES[5], 8, 100))
    fewest = "- With SGD `6_sgd_control` misses the fewest digits held out, `6_sgd_article_range` 0.0 more"
    assert f"{fewest} (95 % -3.0 to +3.0): *compatible* with the paper." in text
    assert "| SGD | 2.4 over the fan-in | 0.8 | `6_sgd_control` | 21.5 ± 0.7 | 5 | 10.0 ± 1.6 | 102.0 ± 1.6 |" in text


def test_newton_is_judged_with_the_setting_chosen_on_digits_held_out(text_of: Write, tried) -> None:
    rows = (ALL[0], ALL[1], ("2_newton_target_1", 18, 108), (NAMES[5], 12, 100), ("6_sgd_target_1", 30, 100))
    cells = {
        "2_newton": 21,
        "2_newton_target_1": 20,
        "2_newton_article_range": 24,
        "2_newton_article_range_target_1": 25,
    }
    first = ["`2_newton`: *yes*", "`6_sgd_control`, in training misses: *fewer*", "tremendous"]
    doubts = [line for line in text_of(*rows).splitlines() if line.startswith(("- **Does Newton", "- **Is", "- **No"))]
    assert len(doubts) == 3 and all(told in line for told, line in zip(first, doubts, strict=True))
    tried(**cells)
    doubts = [line for line in text_of(*rows).splitlines() if line.startswith(("- **Does Newton", "- **Is", "- **No"))]
    chosen = ["`2_newton_target_1`: *no*", "`6_sgd_target_1`, in training misses: *fewer*", "tremendous"]
    assert len(doubts) == 6 and all(told in line for told, line in zip([*chosen, *first], doubts, strict=True))


def test_without_a_configuration_its_verdict_is_left_out(text_of: Write) -> None:
    text = text_of(ALL[2])
    assert "explain the paper's test error?**" not in text
    assert "`3_paper`" in text and "- **1989**: in words" in text


def test_other_configurations_and_single_seeds_get_no_verdict(text_of: Write) -> None:
    assert "A verdict needs two seeds" in text_of(ALL[0], seeds=1)
    text = text_of(*ALL, config_hash="of a shortened run")
    assert "| `3_paper` | 5 | 2,007 test |" in text
    assert "*paper*" not in text
    assert "compatible" not in text


def test_the_search_stands_in_the_document(tmp_path: Path, text_of: Write) -> None:
    tried = {"config": "2_newton", "flags": "--optimizer.lr 0.001", "seeds": [1337, 1338]}
    tried |= {"holdout_misses": [30, 28], "train_misses": [22, 20]}
    (tmp_path / "1989_search.json").write_text(json.dumps([tried]))
    assert "| `2_newton` | `--optimizer.lr 0.001` | 2 | 29.0 ± 1.4 | 21.0 ± 1.4 |" in text_of(*ALL)
