"""The report, from raw results alone."""

import json
from pathlib import Path

import pytest

from lecun_repro.commands.report import report
from lecun_repro.report.article import rows_table
from lecun_repro.report.results import load


@pytest.fixture
def raw(tmp_path: Path, split, run) -> Path:
    path = tmp_path / "article.json"
    many = [run("1_baseline", s, split(500, 9), split(500, [*range(1, 9), 10 + s]), source="digits") for s in range(3)]
    few = [run("5_dropout_relu", s, split(500, 1), split(500, [10 + s]), source="digits") for s in range(3)]
    path.write_text(json.dumps(many + few))
    return path


def test_tables_and_figures_are_written_beside_the_results(raw: Path) -> None:
    report(str(raw))
    text = raw.with_suffix(".md").read_text()
    assert "| `1_baseline` | 3 | 1.80 ± 0.00 | 1.80 ± 0.00 |" in text
    # 8 digits fewer missed by every seed: p = 2 / 2**8.
    assert "| `1_baseline` → `5_dropout_relu` | 3 | -8.0 | -8.0 to -8.0 | 0.0078 | 3 of 3 | -50 | *better* |" in text
    for name in ("article_steps.png", "article_curves.png", "article_missed.png"):
        assert raw.with_name(name).read_bytes().startswith(b"\x89PNG")
        assert f"]({name})" in text


def test_the_same_results_give_the_same_bytes(raw: Path) -> None:
    report(str(raw))
    first = raw.with_suffix(".md").read_bytes()
    report(str(raw))
    assert raw.with_suffix(".md").read_bytes() == first


def test_other_draws_are_part_of_the_report(raw: Path, split, run) -> None:
    draws = [run("1_baseline", s, split(500, 1), split(500, s + 3), draw=s) for s in range(5)]
    raw.with_name("article_draws.json").write_text(json.dumps(draws))
    report(str(raw.with_name("article_draws.json")))
    assert "## Other draws of the digits" in raw.with_suffix(".md").read_text()


def test_a_verdict_needs_the_article_s_own_test_digits(raw: Path, split, run) -> None:
    assert "reproduced" not in rows_table(load(raw))
    raw.write_text(json.dumps([run("1_baseline", s, split(7291, 1), split(2007, 80 + s)) for s in range(4)]))
    assert "*reproduced*" in rows_table(load(raw))
