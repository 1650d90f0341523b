"""The report on configs/1989, from raw results alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from lecun_repro.commands.report import report
from lecun_repro.report.tables import NONE

NAMES = ["1_article_baseline_on_usps", "2_newton", "3_paper", "4_fully_connected", "5_modern"]


def split(n: int, misses: int) -> dict[str, Any]:
    part = {"n": n, "loss": 0.01, "error": 100 * misses / n, "misses": misses}
    part |= {"missed": list(range(misses)), "predicted": [1] * misses}
    return part | {"rejected_at_1_percent": 12.5, "rejection": [5 - share / 10 for share in range(41)]}


def results(row: str, train: int, test: int, seeds: int = 5) -> list[dict[str, Any]]:
    runs = []
    for number in range(seeds):
        a, b = split(7291, train + number), split(2007, test + number)
        run = {"row": row, "seed": 1337 + number, "source": "usps", "passes": 23, "updates": 167_693}
        run |= {"fit_seconds": 10.0, "train": a, "test": b, "versions": {"python": "3"}, "config_hash": "x"}
        runs.append(run | {"curve": [{"pass": p, "train": a, "test": b} for p in range(1, 24)]})
    return runs


def text_of(tmp_path: Path, *given: tuple[str, int, int]) -> str:
    path = tmp_path / "1989.json"
    path.write_text(json.dumps([run for each in given for run in results(*each)]))
    report(str(path))
    return path.with_suffix(".md").read_text()


ALL = [(NAMES[0], 22, 118), (NAMES[1], 8, 108), (NAMES[2], 8, 100), (NAMES[3], 110, 160), (NAMES[4], 20, 60)]


def test_every_configuration_is_held_against_the_paper(tmp_path: Path) -> None:
    text = text_of(tmp_path, *ALL)
    assert "| *paper* | 1 | 0.14 | 10 | 2.5e-03 | 5.00 |" in text
    row = "| `3_paper` | 5 | 0.14 ± 0.02 | 10.0 ± 1.6 | 1.0e-02 | 5.08 ± 0.08 | 4.98 to 5.18 | 102.0 ± 1.6 | 1.0e-02 |"
    assert f"{row} 12.5 ± 0.0 | *reproduced* | *reproduced* |" in text
    assert "12.5 ± 0.0 | *higher* | *higher* |" in text  # the baseline
    assert f"| 12.5 ± 0.0 | {NONE} | {NONE} |" in text  # the modern one, of which the paper has none
    for name in ("1989_curves.png", "1989_rejection.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert f"]({name})" in text


@pytest.mark.parametrize(
    "baseline, paper, verdicts",
    [
        ((22, 118), (8, 100), ["*no (higher)*", "*yes*", "*yes*"]),
        ((22, 100), (15, 100), ["*yes*", "*in part*", "*no*"]),
        ((22, 80), (22, 100), ["*no (lower)*", "*no*", "*no*"]),
        ((9, 100), (8, 100), ["*yes*", "*in part*", "*no*"]),  # the paper's number is the baseline's as well
    ],
)
def test_verdicts_on_the_doubts_follow_their_rules(tmp_path: Path, baseline, paper, verdicts: list[str]) -> None:
    text = text_of(tmp_path, (NAMES[0], *baseline), (NAMES[1], *paper), (NAMES[2], *paper))
    for question, answer in zip(
        ("explain the paper's test", "sigmoid explain its", "halve the"), verdicts, strict=True
    ):
        (line,) = [line for line in text.splitlines() if line.startswith("- **D") and question in line]
        assert answer in line


def test_without_a_configuration_its_verdict_is_left_out(tmp_path: Path) -> None:
    text = text_of(tmp_path, ALL[2])
    assert "explain the paper's test error?**" not in text
    assert "`3_paper`" in text


def test_other_digits_and_single_seeds_get_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "1989.json"
    for others in (results(*ALL[0], seeds=1), [run | {"source": "digits"} for run in results(*ALL[0])]):
        path.write_text(json.dumps(others))
        report(str(path))
        assert "A verdict needs two seeds" in path.with_suffix(".md").read_text()


def test_the_search_stands_in_the_document(tmp_path: Path) -> None:
    tried = {"config": "2_newton", "flags": "--optimizer.lr 0.001", "seeds": [1337, 1338]}
    tried |= {"holdout_misses": [30, 28], "train_misses": [22, 20]}
    (tmp_path / "1989_search.json").write_text(json.dumps([tried]))
    assert "| `2_newton` | `--optimizer.lr 0.001` | 2 | 29.0 ± 1.4 | 21.0 ± 1.4 |" in text_of(tmp_path, *ALL)
