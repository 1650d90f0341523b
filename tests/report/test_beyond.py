"""The report beyond the article, from records made up here."""

import re
from pathlib import Path

import pytest

from lecun_repro.errors import UserError
from lecun_repro.report import beyond, plain
from lecun_repro.report.printed import rows_in_short
from lecun_repro.runs.results import RunResult
from lecun_repro.training.evaluation import SplitResult

FILE = beyond.rules(Path(__file__).parents[2] / "results" / "beyond.toml")


def run(row: str, seed: int, test: int, unseen: int, train: int = 7291) -> RunResult:
    def split(n: int, misses: int) -> SplitResult:
        missed = [(seed + 7 * k) % n for k in range(misses)]
        return SplitResult(n, 0.1, 100 * misses / n, misses, missed, [0] * misses)

    splits = {"train": split(train, 30), "test": split(2007, test), "unseen": split(7993, unseen)}
    return RunResult(row, seed, "mnist", "article", 10, 570, 9760, True, 60.0, 20.0, splits, [], {"torch": "2"}, "x")


ROWS = {
    "4_frame": [run("4_frame", seed, 30 + seed, 110 + seed) for seed in range(5)],
    "5_taught": [run("5_taught", seed, 16, 80 + seed) for seed in range(5)],
    "6_50k": [run("6_50k", seed, 20, 60, 50_000) for seed in range(5)],
}


def test_errors_are_those_of_all_ten_thousand() -> None:
    assert beyond.all_digits(ROWS["5_taught"]) == pytest.approx([0.96, 0.97, 0.98, 0.99, 1.0])


def test_what_was_asked_is_answered_by_the_best_row_of_each_size() -> None:
    small, large = beyond.asked_table(ROWS, FILE.asked).splitlines()[2:]
    assert "| `5_taught` | 5 | 0.98 ± 0.02 |" in small and small.endswith("| *reached* |")
    assert "| `6_50k` | 5 | 0.80 ± 0.00 |" in large and large.endswith("| *not reached* |")
    missing, *_ = beyond.asked_table({"5_taught": ROWS["5_taught"]}, FILE.asked).splitlines()[3:]
    assert missing.count("\N{EN DASH}") == 5


@pytest.mark.parametrize(
    "text, fault",
    [
        ("asked =", "beyond.toml: .*; allowed: a TOML file of what was asked"),
        ("[asked]", "beyond.toml: choice is missing"),
        ("[choice]\n[asked]\n'7,291 digits' = {most = 1.0}", "beyond.toml: asked.7,291 digits.aim is missing"),
    ],
)
def test_a_file_of_rules_that_is_none(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "beyond.toml").write_text(text)
    with pytest.raises(UserError, match=fault):
        beyond.rules(tmp_path / "beyond.toml")


def test_the_document_says_rules_steps_and_recipe() -> None:
    tried = [beyond.Tried("5_taught", "batch", "--data.batch_size 64", 1_312_380, 1.1, 1.6, 3.7, 80.0, "Noted.")]
    text = beyond.document("beyond", ROWS, FILE, tried, ["beyond_story.png"], {})
    assert "| `4_frame` → `5_taught` | 5, 5 | -0.46 |" in text
    assert FILE.choice["strength"] in text
    assert "| `5_taught` | batch | `--data.batch_size 64` | 1.3 | 1.10 | 1.60 | 3.70 | 80 |" in text
    assert text.count("\n10. ") == text.count("\n\nNoted.\n") == 1


def test_the_speed_run_is_no_step_and_stands_beside_a_plain_loop() -> None:
    fast = [run("fast_row_1", seed, 90, 360 + seed) for seed in range(3)]
    assert beyond.of_1989({**ROWS, "fast_row_1": fast}).keys() == ROWS.keys()
    line = beyond.fast_table({"fast_row_1": fast}, {"1_baseline": 232.4}).splitlines()[2]
    assert line.startswith("| `fast_row_1` | 3 | 10 | 4.51 ± 0.01 |") and line.endswith("| `1_baseline`: 232 |")
    assert "| 4.65 | *reached* | 0.01 ± 0.00 |" in line  # 570 updates of 20 microseconds
    plain = beyond.plain_seconds(Path(__file__).parents[2] / "results")
    assert plain["5_dropout_relu"] > 3 * plain["1_baseline"] > 60


def test_digits_that_all_seeds_miss_stand_with_what_is_seen_in_them() -> None:
    readings = [beyond.Reading("test", 7, 4, "a 9 that is open")]
    text = beyond.missed_table([run("5_taught", 0, 2, 0), run("5_taught", 0, 3, 0)], readings)
    assert "All 2 seeds miss 2 of" in text and "| test 7 | 4 | 0 | a 9 that is open |" in text
    assert "test 14" not in text, "missed by one of them"


SCALING = {
    "12_maps": [run("12_maps", seed, 24 + seed, 120) for seed in range(3)],
    "12_maps_long": [run("12_maps_long", seed, 20, 100)._replace(passes=20) for seed in range(3)],
    "06_maps": [run("06_maps", seed, 30, 125)._replace(parameters=4450) for seed in range(3)],
    "03_maps": [run("03_maps", seed, 60, 230)._replace(parameters=2245) for seed in range(3)],
}


def test_the_smallest_network_that_is_as_good_as_the_article_s_is_named_and_drawn() -> None:
    assert list(beyond.same_length(SCALING)) == ["12_maps", "06_maps", "03_maps"]
    told = beyond.how_far_down(SCALING)
    assert "has 4,450 parameters: 1.55 ± 0.00 % of all 10,000 (3 seeds)" in told
    assert beyond.how_far_down({"03_maps": SCALING["03_maps"]}).startswith("No network")
    by_size, by_length = beyond.scaling_figure(SCALING, {"5_taught": ROWS["5_taught"]}).axes
    assert list(by_size.lines[0].get_xdata()) == [2245, 4450, 9760]
    assert list(by_length.lines[0].get_xdata()) == pytest.approx([0.07291, 0.14582])
    text = beyond.document("beyond", ROWS, FILE, [], ["beyond_scaling.png"], {}, scaling=SCALING)
    assert told in text and "| `03_maps` | 2,245 | 3 |" in text


def test_fifty_thousand_digits_follow_the_row_that_differs_in_nothing_else() -> None:
    before = [line.split("|")[1].strip() for line in beyond.steps_table(ROWS).splitlines()[2:]]
    assert before == ["`4_frame` → `5_taught`", "`4_frame` → `6_50k`"]


def test_no_table_has_an_error_below_0() -> None:
    rows = {"5_taught": [run("5_taught", 1, 2, 4), run("5_taught", 2, 40, 300)]}
    printed = [beyond.rows_table(rows), beyond.asked_table(rows, FILE.asked), plain.rows_table(rows)]
    for text in [*printed, rows_in_short(rows, {})]:
        assert "0.00 to " in text and not re.search(r"-\d", text.replace(" ---", "")), text


def test_settings_were_chosen_before_and_without_test_digits() -> None:
    assert "test digits are not loaded" in FILE.choice["digits"]
    assert FILE.asked["7,291 digits"] == beyond.Bounds(most=1.0, aim=0.8)
