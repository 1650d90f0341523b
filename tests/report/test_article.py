"""The report, from raw results alone."""

import json
import re
from pathlib import Path

import pytest

from lecun_repro.commands.report import report
from lecun_repro.report.article import rows_table
from lecun_repro.report.figures import curves_figure, waterfall_figure
from lecun_repro.report.results import load, paired


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


def test_the_table_is_printed_beside_the_article_s_own_rows_alone(
    raw: Path, split, run, capsys: pytest.CaptureFixture
) -> None:
    report(str(raw))
    header, baseline, modern, written = capsys.readouterr().out.splitlines()
    assert header == "row             seeds  test error %  95 % of the mean  the article's  verdict"
    assert baseline == "1_baseline      3      1.80 ± 0.00   1.80 to 1.80      4.09           lower"
    assert modern.startswith("5_dropout_relu  3      0.20 ± 0.00") and written == f"report: {raw.with_suffix('.md')}"
    raw.write_text(json.dumps([{**run("1_baseline", 1, split(9, 1), split(50, 3)), "config_hash": "another"}]))
    report(str(raw))
    assert capsys.readouterr().out.splitlines()[1].split() == ["1_baseline", "1", "6.00", "\N{EN DASH}"]


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


def test_only_the_article_s_own_configuration_is_held_against_it(raw: Path, split, run) -> None:
    runs = [run("1_baseline", s, split(7291, 1), split(2007, 80 + s)) for s in range(4)]
    runs += [run("my_row", s, split(7291, 1), split(2007, 70 + s)) for s in range(4)]
    raw.write_text(json.dumps(runs))
    assert "| 82 (82) | *reproduced* |" in rows_table(load(raw))
    report(str(raw))
    text = raw.with_suffix(".md").read_text()
    assert "| `my_row` | 4 |" in text
    assert "| `1_baseline` → `my_row` | 4 | -10.0 |" in text
    assert text.count("reproduced*") == 2  # in a row and in the rules
    assert "The paper trained for 3 days" in text

    raw.write_text(json.dumps([{**record, "config_hash": "of a shortened run"} for record in runs]))
    report(str(raw))
    text = raw.with_suffix(".md").read_text()
    assert (
        "| `1_baseline` | 4 | 2,007 test | 0.01 ± 0.00 | 4.06 ± 0.06 | 3.96 to 4.16 | 81.5 ± 1.3 (80 to 83) |" in text
    )
    assert "| `1_baseline` → `my_row` | 4 | -10.0 | -10.0 to -10.0 | 0.002 | 4 of 4 | *better* |" in text
    assert not re.search("article[^_.]|reproduced|paper|4.09|lower|higher", text.replace("# Results: article", ""))


def test_figures_show_the_article_only_beside_its_own_rows(raw: Path) -> None:
    rows = load(raw)
    for own, labels in ((rows, ["baseline", "+ dropout,\nReLU"]), ((), [*rows])):
        axes = waterfall_figure(rows, own).axes[0]
        assert [label.get_text() for label in axes.get_xticklabels()] == labels
        assert ("the article (one seed)" in axes.get_legend_handles_labels()[1]) == bool(own)


def test_digits_held_out_are_a_table_of_their_own(raw: Path, split, run) -> None:
    runs = [run(row, s, split(500, 1), split(300, 9 + s)) for row in ("1_baseline", "my_row") for s in range(2)]
    for record in runs:
        record["holdout"] = record.pop("test")
        for entry in record["curve"]:
            entry["holdout"] = entry.pop("test")
    raw.write_text(json.dumps(runs))
    report(str(raw))
    text = raw.with_suffix(".md").read_text()
    assert "| `1_baseline` | 2 | 300 holdout | 0.20 ± 0.00 | 3.17 ± 0.24 |" in text
    assert "| `1_baseline` → `my_row` | 2 | +0.0 |" in text
    assert "reproduced" not in text
    axes = curves_figure(load(raw)).axes
    assert [panel.get_title() for panel in axes] == ["train error, %", "holdout error, %"]


@pytest.mark.parametrize(
    "after, pairs",
    [({}, 2), ({"source": "usps"}, 0), ({"draw": "full"}, 2), ({"draw": 7}, 0)],
)
def test_runs_are_paired_on_the_same_digits_alone(raw: Path, split, run, after: dict, pairs: int) -> None:
    runs = [run(row, s, split(9, 1), split(9, 1), **more) for row, more in (("a", {}), ("b", after)) for s in (1, 2)]
    raw.write_text(json.dumps(runs))
    assert len(paired(load(raw), "a", "b")) == pairs
