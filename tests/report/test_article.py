"""The report, from raw results alone."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from lecun_repro.commands.report import report
from lecun_repro.errors import UserError
from lecun_repro.report import plain
from lecun_repro.report.collection import rules_digest
from lecun_repro.report.figures import curves_figure, rows_figure
from lecun_repro.report.results import load
from lecun_repro.report.tables import NONE


@pytest.fixture
def raw(tmp_path: Path, split, run) -> Path:
    path = tmp_path / "article.json"
    many = [run("1_baseline", s, split(500, 9), split(500, [*range(1, 9), 10 + s]), source="digits") for s in range(3)]
    few = [run("5_dropout_relu", s, split(500, 1), split(500, [10 + s]), source="digits") for s in range(3)]
    path.write_text(json.dumps(many + few))
    return path


def text_of(raw: Path, records: list[dict] | None = None) -> str:
    """The report on the results in a file, or on other records in their place."""
    if records is not None:
        raw.write_text(json.dumps(records))
    report(str(raw))
    return raw.with_suffix(".md").read_text()


@pytest.mark.drawn
def test_tables_and_figures_are_written_beside_the_results(raw: Path) -> None:
    text = text_of(raw)
    assert "| `1_baseline` | 3 | 1.80 ± 0.00 | 1.00e-02 | 1.80 ± 0.00 | 1.80 to 1.80 | 0.68 to 2.92 |" in text
    assert "| `1_baseline` → `5_dropout_relu` | 3 | the 500 test digits | -1.60 | -1.60 to -1.60 |" in text
    assert f"| -61 | 0.0046 | *better* | {NONE} |" in text  # the article's change
    for name in ("article_steps.png", "article_curves.png", "article_missed.png"):
        assert raw.with_name(name).read_bytes().startswith(b"\x89PNG")
        assert f"]({name})" in text
    with Image.open(raw.with_name("article_steps.png")) as figure:  # of twice a README's width, and small
        assert figure.width == 1720 and raw.with_name("article_steps.png").stat().st_size < 60_000


def test_the_table_is_printed_beside_the_article_s_own_rows_alone(
    raw: Path, split, run, capsys: pytest.CaptureFixture
) -> None:
    report(str(raw))
    header, baseline, modern, written = capsys.readouterr().out.splitlines()
    assert header == "row             seeds  test error %  95 % of the mean  the article's  verdict"
    assert baseline.startswith(
        "1_baseline      3      1.80 ± 0.00   1.80 to 1.80      4.09           not compatible (test"
    )
    assert modern.startswith("5_dropout_relu  3      0.20 ± 0.00") and written == f"report: {raw.with_suffix('.md')}"
    raw.write_text(json.dumps([{**run("1_baseline", 1, split(9, 1), split(50, 3)), "config_hash": "another"}]))
    report(str(raw))
    assert capsys.readouterr().out.splitlines()[1].split() == ["1_baseline", "1", "6.00", NONE]


def test_the_same_results_give_the_same_bytes(raw: Path) -> None:
    report(str(raw))
    first = raw.with_suffix(".md").read_bytes()
    report(str(raw))
    assert raw.with_suffix(".md").read_bytes() == first


def test_other_draws_are_part_of_the_report(raw: Path, split, run) -> None:
    draws = [run("1_baseline", s, split(500, 1), split(500, s + 3), draw=s) for s in range(5)]
    raw.with_name("article_draws.json").write_text(json.dumps(draws))
    report(str(raw.with_name("article_draws.json")))
    text = raw.with_suffix(".md").read_text()
    (line,) = text.split("## Seeds, draws and test digits")[1].split("| `1_baseline` | ")[1:2]
    assert line.startswith("3 | 0.00 (0.00 to 0.00) | ") and "| 5 | 0.32 (0.19 to 0.91) | below 0.70 | own |" in line


def test_only_the_article_s_own_configuration_is_held_against_it(raw: Path, split, run) -> None:
    runs = [run("1_baseline", s, *row_1(split, s)) for s in range(4)]
    runs += [run("my_row", s, split(7291, 1), split(2007, 70 + s)) for s in range(4)]
    text = text_of(raw, runs)
    assert "| `1_baseline` | 4 | 81.5 ± 1.3 (80 to 83) | 82 (82) | 62 | 4.6 | 0.75 | *compatible* |" in text
    assert "| `my_row` | 4 |" in text
    assert "| `1_baseline` → `my_row` | 4 | the 2,007 test digits | -0.50 |" in text
    assert text.count("compatible*") == 1
    assert "The paper trained for 3 days" in text

    text = text_of(raw, [{**record, "config_hash": "of a shortened run"} for record in runs])
    (line,) = [line for line in text.splitlines() if line.startswith("| `1_baseline` |")]
    assert line.endswith("| 4.06 ± 0.06 | 3.96 to 4.16 | 81.5 ± 1.3 (80 to 83) |") and "| 2,007 test |" in line
    assert "| `1_baseline` → `my_row` | 4 | the 2,007 test digits | -0.50 | -0.61 to -0.39 |" in text
    assert not re.search("article[^_.]|compatible|paper|4.09|lower|higher", text.replace("# Results: article", ""))


def row_1(split, s: int) -> tuple[dict, dict]:
    """Splits of a run of row 1 with the article's losses, about."""
    return split(7291, 43 + s, loss=0.004 + 1e-4 * s), split(2007, 80 + s, loss=0.028 + 1e-4 * s)


def test_a_row_names_the_numbers_that_are_not_compatible(raw: Path, split, run) -> None:
    runs = [run("1_baseline", s, split(7291, 143 + s, loss=0.004 + 1e-4 * s), row_1(split, s)[1]) for s in range(5)]
    assert "| *not compatible (train error %)* |" in text_of(raw, runs)


def with_unseen(split, run, row: str, misses: int, unseen: int) -> list[dict]:
    """Four runs of a row; every fifth digit that one misses, from a place of its own on, no other misses."""
    made = []
    for s in range(4):
        of = [[*range(n - 2), 1500 + 2 * s, 1501 + 2 * s] for n in (misses, unseen)]
        made.append(run(row, s, split(7291, 9), split(2007, of[0]), unseen=split(7993, of[1])))
    return made


@pytest.mark.parametrize(
    "modern, told", [(300, "not fitted by more than 10 points"), (600, "fitted"), (330, "not decided")]
)
def test_was_the_recipe_fitted_to_its_digits(raw: Path, split, run, modern: int, told: str) -> None:
    runs = with_unseen(split, run, "1_baseline", 200, 800) + with_unseen(split, run, "5_dropout_relu", 75, modern)
    older = run("5_dropout_relu", 9, split(7291, 9), split(2007, 75))  # had no unseen digits
    text = text_of(raw, [*runs, older])
    assert f"| {100 * modern / 7993:.2f} ± 0.00 (4) |" in text
    (line,) = [line for line in text.splitlines() if "on the article's 2,007 digits and by" in line]
    needed = " About 2,100 digits would decide it, and the article has 2,007." if told == "not decided" else ""
    assert line.endswith(f"; n = 4 and 4).{needed}")
    cut = 100 - modern / 8
    assert line.startswith(f"*{told}*: from row 1 to row 5 the error is cut by 62.5 % on the article's")
    assert f"by {cut - 1e-9:.1f} % on the unseen 7,993, a difference of {62.5 - cut:+.1f} points" in line
    assert "| error %, the unseen 7,993 | 95 %, these | 95 %, new | error %, all 10,000 |" in text


def test_a_plain_loop_and_perturbed_runs_are_part_of_the_report(raw: Path, split, run) -> None:
    ours = [run("1_baseline", s, *row_1(split, s)) for s in range(4)]
    others = [run("1_baseline", s, *row_1(split, s), config_hash="plain loop") for s in range(4)]
    raw.with_name("plain_loop.json").write_text(json.dumps(others))
    perturbed = [run("1_perturbed", s, *row_1(split, s)) for s in range(4)]
    raw.with_name("perturbed.json").write_text(json.dumps(perturbed))
    text = text_of(raw, ours)
    engine = text.split("## This engine and a plain loop")[1]
    assert "| `1_baseline` | test | 4 | 81.5 ± 1.3 | 81.5 ± 1.3 | +0.0 (+0.0 to +0.0) |" in engine
    assert "| *equivalent within 5 %* | 100 |" in engine
    assert "`1_perturbed` *compatible*. All rows together, with these in the place of theirs: Stouffer's z +" in text
    assert "- `1_baseline (plain loop)`: seeds 0, 1, 2, 3" in text


def test_how_many_seeds_would_show_a_plain_loop_to_be_equivalent(raw: Path, split, run) -> None:
    ours = [run("1_baseline", s, *row_1(split, s)) for s in range(4)]
    apart = (9, -9, 9, -9)  # of some 81 misses
    others = [run("1_baseline", s, row_1(split, s)[0], split(2007, 80 + s + apart[s])) for s in range(4)]
    raw.with_name("plain_loop.json").write_text(json.dumps(others))
    line = next(line for line in text_of(raw, ours).splitlines() if "| `1_baseline` | test | 4 |" in line)
    assert "*not decided*" in line and line.endswith("about 20 seeds |")


def test_all_rows_together_and_by_whole_seeds(raw: Path, split, run) -> None:
    """Seeds that are good in one row and in the other: what rows that are taken as independent do not know."""
    counts = {"1_baseline": 90, "2_softmax": 95}
    runs = [run(row, s, split(7291, 45), split(2007, n + 5 * s)) for row, n in counts.items() for s in range(5)]
    (line,) = [line for line in text_of(raw, runs).splitlines() if line.startswith("**All 2 rows together**")]
    assert "the article misses 170 digits, ours 205 in the mean (Stouffer's z -2.24" in line
    assert "; by the totals of the 5 seeds that all rows have, 205.0 ± 15.8, which does not take" in line
    assert line.endswith("p 0.11.")  # t = -35 / (15.8 * sqrt(1.2)), of 4 degrees of freedom
    few = [record for record in runs if record["row"] == "1_baseline" or record["seed"] == 4]
    assert "**All" not in text_of(raw, few)


def test_the_rules_and_the_runs_under_them_are_told(raw: Path) -> None:
    raw.with_name("rules.toml").write_text(
        'known = "Nothing."\n[rules]\narticle = "in words"\n[families]\nsteps = []\n'
    )
    digest = rules_digest(raw)
    runs = json.loads(raw.read_text())
    runs[0]["rules"] = digest
    text = text_of(raw, runs)
    assert f"1 of the 6 runs were collected under these very rules (digest {digest}), 5 before" in text
    assert "\nNothing.\n\n- **article**: in words\n" in text


@pytest.mark.parametrize(
    "rules, line",
    [
        ("known =", "rules.toml: .*; allowed: a TOML file of rules"),
        ("level = 'low'", "rules.toml: level is low; allowed: a finite number"),
        ('families = { steps = ["1_baseline"] }', r"rules.toml: families.steps; allowed: a list of \[base row, row\]"),
        ("families = { 1989 = [[1]] }", r"rules.toml: families.1989; allowed: a list of \[base row, row\]"),
    ],
)
def test_rules_that_are_none(raw: Path, rules: str, line: str) -> None:
    raw.with_name("rules.toml").write_text(rules)
    with pytest.raises(UserError, match=line):
        report(str(raw))
    assert {path.name for path in raw.parent.iterdir()} == {"article.json", "rules.toml"}


def test_rows_of_a_single_seed_have_no_intervals(raw: Path, split, run) -> None:
    text = text_of(raw, [run(row, 1, *row_1(split, 1)) for row in ("1_baseline", "5_dropout_relu")])
    assert f"| `1_baseline` | 1 | 81.0 (81 to 81) | 82 (82) | 100 | {NONE} | {NONE} | *one run* |" in text
    assert "nan" not in text and "## Steps" not in text


def test_times_are_medians_which_no_single_run_that_had_to_wait_moves(raw: Path, split, run) -> None:
    runs = [run("1_baseline", s, *row_1(split, s), fit_seconds=took) for s, took in enumerate((8.0, 9.0, 4742.0))]
    text = text_of(raw, runs)
    assert "take 9.0 (8.0 to 4,742.0) s on one core (the median, least and most of 3 runs beside others)" in text
    assert ": 28,800 times faster than 1989." in text  # 259,200 s / 9 s


def test_figures_show_the_article_only_beside_its_own_rows(raw: Path) -> None:
    rows = load(raw)
    for own, labels in ((rows, ["baseline", "+ dropout,\nReLU"]), ((), [*rows])):
        axes = rows_figure(rows, own).axes[0]
        assert [label.get_text() for label in axes.get_xticklabels()] == labels
        assert ("the article (one seed)" in axes.get_legend_handles_labels()[1]) == bool(own)


def test_curves_have_axes_of_their_own_and_rows_their_titles(raw: Path) -> None:
    rows = load(raw)
    figure = curves_figure(rows, {"1_baseline": "the first row"})
    train, test = figure.axes
    assert not train.get_shared_y_axes().joined(train, test)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["the first row", "5_dropout_relu"]


def test_rows_evaluated_once_are_points_and_alone_have_no_curves(raw: Path, split, run) -> None:
    whole, once = (run(row, 1, split(500, 9), split(300, 9)) for row in ("whole", "once"))
    once["curve"] = once["curve"][-1:]
    for records, markers in (([once, whole], ["o", ""]), ([once], None)):
        raw.write_text(json.dumps(records))
        drawn = plain.figures("mine", load(raw))
        assert ("mine_curves.png" in drawn) == (markers is not None)
        if markers:
            assert [line.get_marker() for line in drawn["mine_curves.png"].axes[0].lines] == markers


def test_digits_held_out_are_a_table_of_their_own(raw: Path, split, run) -> None:
    runs = [run(row, s, split(500, 1), split(300, 9 + s)) for row in ("1_baseline", "my_row") for s in range(2)]
    for record in runs:
        record["holdout"] = record.pop("test")
        for entry in record["curve"]:
            entry["holdout"] = entry.pop("test")
    text = text_of(raw, runs)
    assert "| `1_baseline` | 2 | 300 holdout | 0.20 ± 0.00 | 3.17 ± 0.24 |" in text
    assert "| `1_baseline` → `my_row` | 2 | the 300 held out | +0.00 |" in text
    assert "compatible" not in text
    axes = curves_figure(load(raw)).axes
    assert [panel.get_title() for panel in axes] == ["train error, %", "holdout error, %"]
