"""Raw results are read with types, and what is wrong with them is one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lecun_repro.commands.report import report
from lecun_repro.errors import UserError
from lecun_repro.report.comparison import compare
from lecun_repro.report.results import load, load_diverged, read_list
from lecun_repro.report.search import Tried
from lecun_repro.runs.results import Point, RunResult, as_text


@pytest.fixture
def good(split, run) -> dict[str, Any]:
    return run("1_baseline", 7, split(60, 1), split(40, [3, 30]))


def changed(record: dict[str, Any], key: str, value: Any) -> None:
    """Sets a field, by its names within one another; `...` takes it away."""
    *around, name = key.split(".")
    for outer in around:
        record = record[int(outer) if outer.isdecimal() else outer]
    record[name] = value
    if value is ...:
        del record[name]


@pytest.mark.parametrize(
    "key, value, line",
    [
        ("row", ..., "row is missing"),
        ("row", 3, "row is 3; allowed: a text"),
        ("seed", -1, "seed is -1; allowed: an integer from 0"),
        ("seed", True, "seed is true; allowed: an integer from 0"),
        ("updates", 1.5, "updates is 1.5; allowed: an integer"),
        ("passes", 10**30, "passes is 1000.*; allowed: an integer"),
        ("compiled", "no", "compiled is no; allowed: true or false"),
        ("draw", None, "draw is null; allowed: "),
        ("fit_seconds", float("inf"), "fit_seconds is Infinity; allowed: a finite number"),
        ("us_per_update", -1.0, "us_per_update is -1.0; allowed: "),
        ("versions", ["3"], "versions is .*; allowed: an object"),
        ("versions.torch", 2, "versions.torch is 2; allowed: a text"),
        ("test", ..., "test is missing"),
        ("test", 3, "test is 3; allowed: an object"),
        ("train.n", 0, "train.n is 0; allowed: an integer from 1"),
        ("test.misses", -2, "test.misses is -2; allowed: an integer from 0"),
        ("test.misses", 41, "test.misses is 41; allowed: an integer from 0 to 40"),
        ("test.misses", ..., "test.misses is missing"),
        ("test.error", 101, "test.error is 101.0; allowed: a number from 0 to 100"),
        ("test.loss", float("nan"), "test.loss is NaN; allowed: a finite number"),
        ("test.missed", [3], r"test.missed is \[3\]; allowed: 2 different integers from 0 to 39"),
        ("test.missed", [3, 3], "test.missed is .*; allowed: 2 different"),
        ("test.missed", [3, 40], "test.missed is .*; allowed: 2 different"),
        ("test.missed", [3, "4"], r"test.missed\[1\] is 4; allowed: an integer"),
        ("test.predicted", [1, 10], "test.predicted is .*; allowed: 2 digits"),
        ("test.rejection", [1.0], "test.rejection is .*; allowed: 41 numbers"),
        ("curve", [], "curve is .*; allowed: "),
        ("curve.1.pass", ..., r"curve\[1\].pass is missing"),
        ("curve.0.test.error", "4 %", r"curve\[0\].test.error is 4 %; allowed: a finite number"),
    ],
)  # fmt: skip
def test_a_bad_field_is_one_line(key: str, value: Any, line: str, good: dict, tmp_path: Path, run, split) -> None:
    first = run("1_baseline", 6, split(60, 1), split(40, 2))
    changed(good, key, value)
    path = tmp_path / "article.json"
    path.write_text(json.dumps([first, good]))
    with pytest.raises(UserError, match=rf"^results: {path}, record 2: {line}") as refused:
        report(str(path))
    assert "\n" not in str(refused.value)
    assert not path.with_suffix(".md").exists()


@pytest.mark.parametrize("content", [None, "", "{", "{}", "\udcff", "[" * 100_000])
def test_a_file_that_holds_no_results(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "article.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"results: .*article\.json.*; allowed: (a JSON list|records)"):
        report(str(path))
    assert not path.with_suffix(".md").exists()


def test_a_record_that_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "article.json").write_text("[1]")
    with pytest.raises(UserError, match="record 1 is 1; allowed: an object"):
        report(str(tmp_path / "article.json"))


def test_two_configurations_of_one_row_and_seed_do_not_mix(good: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "article.json").write_text(json.dumps([good, good | {"config_hash": "y"}]))
    with pytest.raises(UserError, match="record 2: 1_baseline, seed 7 is there twice; allowed: "):
        load(tmp_path / "article.json")


def test_claims_are_not_answered_on_digits_held_out(good: dict[str, Any], tmp_path: Path) -> None:
    good["holdout"] = good.pop("test")
    (tmp_path / "claims.json").write_text(json.dumps([good]))
    (tmp_path / "claims.toml").touch()
    with pytest.raises(UserError, match="row 1_baseline was evaluated on digits held out; allowed: "):
        report(str(tmp_path / "claims.json"))


def test_runs_of_two_folds_are_not_compared(good: dict[str, Any]) -> None:
    good["holdout"] = good.pop("test")
    good["curve"] = {"holdout": {"pass": [1], "loss": [0.5], "misses": [2]}}
    before, other = (RunResult.read(good | {"fold": fold}, "") for fold in ("1/5", "2/5"))
    assert RunResult.read(before.to_json(), "") == before
    assert compare({"a": [before] * 2, "b": [before] * 2}, "a", "b")
    assert not compare({"a": [before] * 2, "b": [other] * 2}, "a", "b")


def test_fields_of_later_versions_are_ignored_and_their_splits_kept(good: dict[str, Any], tmp_path: Path) -> None:
    good |= {"power": {"watts": 3}, "all_test": good["test"]}
    good["train"]["calibration"] = 0.1
    (tmp_path / "article.json").write_text(json.dumps([good]))
    (result,) = load(tmp_path / "article.json")["1_baseline"]
    assert result.splits == {"train": result.train, "test": result.test, "all_test": result.test}
    assert (result.test.missed, result.test.rejection, result.curve[1].pass_) == ([3, 30], None, 2)


COLUMNS = {"pass": [1, 2], "loss": [0.5, 0.25], "misses": [4, 2]}


def test_a_curve_in_columns_is_that_of_older_files(good: dict[str, Any], tmp_path: Path) -> None:
    points = [{"loss": 0.5, "error": 10.0, "misses": 4}, {"loss": 0.25, "error": 5.0, "misses": 2}]
    older = good | {"seed": 8, "curve": [{"pass": n, "test": point} for n, point in enumerate(points, start=1)]}
    good["curve"] = {"test": COLUMNS}
    (tmp_path / "article.json").write_text(json.dumps([good, older]))
    first, second = load(tmp_path / "article.json")["1_baseline"]
    assert first.curve == second.curve and second.to_json()["curve"] == good["curve"]
    first.curve[0].splits["test"] = Point(1 / 3, 10.0, 4)
    assert json.loads(as_text(first.to_json()))["curve"]["test"]["loss"] == [0.333333, 0.25]


@pytest.mark.parametrize(
    ("curve", "line"),
    [
        ({"test": COLUMNS | {"pass": [1, 1]}}, "curve.test is .*; allowed: as many different passes as losses"),
        ({"test": COLUMNS | {"loss": [1]}}, "curve.test is .*; allowed: as many different passes as losses"),
        ({"test": COLUMNS | {"misses": [4, 41]}}, "curve.test is .*; allowed: .* integers from 0 to 40"),
        ({"test": {"pass": [1]}}, "curve.test.loss is missing"),
        ({"test": COLUMNS | {"loss": [1, "x"]}}, r"curve.test.loss\[1\] is x; allowed: a finite number"),
        ({"other": COLUMNS}, "curve.other is .*; allowed: curves of train, test"),
        ({"test": 3}, "curve.test is 3; allowed: an object"),
        ({}, "curve is .*; allowed: one pass or more"),
        (7, "curve is 7; allowed: an object"),
    ],
)
def test_a_bad_curve_is_one_line(curve: Any, line: str, good: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "article.json").write_text(json.dumps([good | {"curve": curve}]))
    with pytest.raises(UserError, match=f"record 1: {line}") as refused:
        load(tmp_path / "article.json")
    assert "\n" not in str(refused.value)


READERS: dict[str, tuple[Callable[[Path], Any], dict[str, Any]]] = {
    "diverged.rate": (
        load_diverged,
        {"row": "r", "seed": 1, "diverged": {"pass": 3, "of": "update 5", "loss": "inf", "rate": "high"}},
    ),
    "holdout_misses": (
        lambda path: read_list(path, Tried),
        {"config": "c", "flags": "", "seeds": [1], "holdout_misses": 3, "train_misses": [1]},
    ),
}


@pytest.mark.parametrize("field", READERS)
def test_other_lists_are_read_with_types_as_well(field: str, tmp_path: Path) -> None:
    read, record = READERS[field]
    assert not read(tmp_path / "nowhere.json")
    (tmp_path / "list.json").write_text(json.dumps([record]))
    with pytest.raises(UserError, match=rf"list.json, record 1: {field} is .*; allowed: a"):
        read(tmp_path / "list.json")


def test_of_one_run_s_own_results_the_error_is_printed(
    good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "results.json").write_text(json.dumps(good))
    for given in (tmp_path / "results.json", tmp_path):
        report(str(given))
        _, line, note = capsys.readouterr().out.splitlines()
        assert line.split()[:4] == ["1_baseline", "1", "5.00", "\N{EN DASH}"]
        assert note == "one run, and so no interval: reproduce --seeds 5 makes several of 1_baseline, and their report"
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    with pytest.raises(UserError, match=r"elsewhere, which is not there; allowed: "):
        report(str(tmp_path / "elsewhere"))
