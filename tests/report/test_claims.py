"""The report on claims, from raw results and a TOML file alone."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lecun_repro.commands.report import report
from lecun_repro.errors import UserError
from lecun_repro.report.claims import answers, claims_table, read
from lecun_repro.report.comparisons.answers import FAILS, HOLDS, NOT_SHOWN, all_of
from lecun_repro.report.comparisons.gains import (
    better,
    further_gain,
    gain_of,
    no_substantial_gain,
    substantial_gain,
    worse,
)
from lecun_repro.report.comparisons.times import reached
from lecun_repro.report.results import load
from lecun_repro.runs.results import RunResult

Runs = Callable[..., list[dict[str, Any]]]
Rows = dict[str, list[RunResult]]


@pytest.fixture
def runs(split, run) -> Runs:
    """Makes runs of a row with so many test misses, after 30, 20 and 10 more in the passes before the last."""

    def make(row: str, *misses: int, **more: Any) -> list[dict[str, Any]]:
        made = []
        for seed, last in enumerate(misses, start=1337):
            train, test = split(2007, 2), split(2007, last)
            curve = [{"pass": p, "test": point(last + 40 - 10 * p)} for p in range(1, 5)]
            made.append(
                run(row, seed, train, test, passes=4, updates=400, curve=curve, **{"us_per_update": 1e6} | more)
            )
        return made

    def point(misses: int) -> dict[str, Any]:
        return {"loss": 0.1, "error": 100 * misses / 2007, "misses": misses}

    return make


@pytest.fixture
def base(runs: Runs) -> list[dict[str, Any]]:
    return runs("base", 98, 100, 102, 100)


def rows(*results: list[dict[str, Any]]) -> Rows:
    return {each[0]["row"]: [RunResult.read(r, "test: ") for r in each] for each in results}


@pytest.mark.parametrize(
    "misses, verdicts",
    [  # no substantial gain, substantial gain, better, worse, further gain
        ((97, 101, 102, 99), (HOLDS, FAILS, NOT_SHOWN, NOT_SHOWN, FAILS)),
        ((90, 91, 93, 90), (HOLDS, FAILS, HOLDS, FAILS, FAILS)),
        ((60, 61, 62, 60), (FAILS, HOLDS, HOLDS, FAILS, HOLDS)),
        ((60, 99, 70, 90), (NOT_SHOWN, NOT_SHOWN, NOT_SHOWN, NOT_SHOWN, NOT_SHOWN)),
        ((140, 142, 141, 139), (HOLDS, FAILS, FAILS, HOLDS, FAILS)),
    ],
)
def test_every_verdict_of_every_rule_is_reachable(
    misses: tuple[int, ...], verdicts: tuple[str, ...], base, runs
) -> None:
    found = gain_of(rows(base, runs("row", *misses)), "base", "row")
    assert found is not None
    rules = (no_substantial_gain, substantial_gain, better, worse, further_gain)
    assert tuple(rule(found, 20) for rule in rules) == verdicts


def test_a_gain_needs_two_seeds_in_common(base, runs) -> None:
    assert gain_of(rows(base, runs("row", 3)), "base", "row") is None
    assert gain_of(rows(base), "base", "row") is None
    found = gain_of(rows(base, runs("row", 78, 80)), "base", "row")
    assert found is not None and found.differences == [-20, -20]
    np.testing.assert_allclose(found.changes, [-2000 / 99] * 2)


def test_of_several_verdicts_one_failure_is_enough() -> None:
    assert all_of([HOLDS, NOT_SHOWN, FAILS]) == FAILS
    assert all_of([HOLDS, NOT_SHOWN]) == all_of([]) == NOT_SHOWN
    assert all_of([HOLDS, HOLDS]) == HOLDS


TOML = """written = "Before the runs."
substantial_percent = 20
further_results = "article.json"
[rules]
better = "a cut of SUBSTANTIAL %"
"""


def answer(folder: Path, claim: str, *results: list[dict[str, Any]], toml: str = TOML) -> tuple[str, str, str]:
    """Verdict, line and document of a single claim."""
    (folder / "results").mkdir(exist_ok=True)
    path = folder / "results" / "claims.json"
    path.write_text(json.dumps([result for each in results for result in each]))
    path.with_suffix(".toml").write_text(f'{toml}[[claim]]\nname = "A claim"\nwords = "it is so"\n{claim}\n')
    report(str(path))
    (found,) = answers(read(path.with_suffix(".toml")), load(path))
    text = path.with_suffix(".md").read_text()
    assert "| **A claim**: \N{LEFT DOUBLE QUOTATION MARK}it is so\N{RIGHT DOUBLE QUOTATION MARK} | *" in text
    assert claims_table([found]) in text and f"*{found.verdict}*: {found.measured}." in text
    return found.verdict, found.measured, text


def test_rows_against_a_base_row(tmp_path: Path, base, runs) -> None:
    claim = 'kind = "no substantial gain"\nnote = "so it is"\nbase = "base"\nrows = ["row"]\nbeside = ["other"]'
    verdict, line, text = answer(tmp_path, claim, base, runs("row", 99, 101, 103, 100), runs("other", 50, 51, 52, 50))
    assert (verdict, line) == (HOLDS, "`row` against `base`: test misses +1 % (95 %: +0 to +2; n = 4)")
    assert "## A claim\n\n> it is so\n" in text and "So it is." in text and "a cut of 20 %" in text
    (other,) = [line for line in text.splitlines() if line.startswith("| `other` |")]
    assert (
        other.startswith("| `other` | 9,760 | 4 | 0.10 ± 0.00 | 50.8 ± 1.0 (50 to 52) | 100.0 ±") and "*fails*" in other
    )
    assert "12 runs" in text
    assert "![Every change](claims_changes.png)" in text
    assert (tmp_path / "results/claims_changes.png").read_bytes().startswith(b"\x89PNG")


def test_verdicts_are_printed_beside_the_words(tmp_path: Path, base, runs, capsys: pytest.CaptureFixture) -> None:
    answer(tmp_path, 'kind = "better"\nbase = "base"\nrows = ["row"]', base, runs("row", 60, 61, 62, 60))
    _, line, _ = capsys.readouterr().out.splitlines()
    assert re.fullmatch("holds +A claim: .it is so.", line)


def test_rows_that_are_missing_are_the_article_s_or_not_run(tmp_path: Path, runs) -> None:
    claim = 'kind = "better"\nbase = "1_baseline"\nrows = ["row"]'
    found = NOT_SHOWN, "`row` against `1_baseline`: fewer than two seeds in common"
    assert answer(tmp_path, claim, runs("row", 50, 51))[:2] == found
    (tmp_path / "results" / "article.json").write_text(json.dumps(runs("1_baseline", 98, 100, 102, 100)))
    verdict, _, text = answer(tmp_path, claim, runs("row", 50, 51, 52, 51))
    assert verdict == HOLDS
    assert "4 runs" in text  # those of the article are counted there


@pytest.mark.slow
def test_shares(tmp_path: Path, base, runs) -> None:
    claim = 'kind = "shares"\nfirst = "base"\nlast = "end"\ningredients = ['
    claim += '{ name = "a", added = "with_a", taken = "without_a" }, { name = "b", added = "with_b", first = "other" }]'
    given = [base, runs("end", 40, 41, 42, 40), runs("with_a", 50, 51, 52, 50), runs("other", 90, 91, 93, 92)]
    given += [runs("with_b", 81, 82, 84, 83)]
    same = runs("without_a", 80, 81, 82, 83)  # twice end's, as base is with_a's
    verdict, line, text = answer(tmp_path, claim, *given, same)
    assert verdict == FAILS and line == "percent of test misses when added first, last: a -49, -50 (n = 4)"
    assert "| b | 4 | -10 |" in text
    assert (tmp_path / "results/claims_a_claim.png").read_bytes().startswith(b"\x89PNG")
    verdict, *_ = answer(tmp_path, claim, *given, runs("without_a", 41, 42, 42, 41))
    assert verdict == HOLDS
    verdict, *_ = answer(tmp_path, claim, *given, runs("without_a", 40, 140, 60, 200))
    assert verdict == NOT_SHOWN


SIZES = """kind = "curve over sizes"
base_size = 1000
series = [{ name = "a net, same passes", rows = { 250 = "s", 1000 = "base", 4000 = "l" }, article = ARTICLE }]
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "large, article, verdict, where",
    [
        ((49, 50, 51, 50), "{ 1000 = 4.98, 4000 = 2.49 }", HOLDS, ("on", "on")),
        ((98, 99, 100, 98), "{ 1000 = 4.98, 4000 = 1.00 }", FAILS, ("on", "off")),
        ((50, 100, 70, 110), "{ 1000 = 40.0, 4000 = 3.00 }", NOT_SHOWN, ("off", "on")),
    ],
)
def test_a_curve_over_sizes(
    tmp_path: Path, large: tuple[int, ...], article: str, verdict: str, where: tuple, base, runs
) -> None:
    given = SIZES.replace("ARTICLE", article)
    found, line, text = answer(tmp_path, given, base, runs("s", 196, 200, 204, 200), runs("l", *large))
    assert found == verdict and line.startswith("a net, same passes, 1,000 to 4,000 digits: test misses -")
    assert tuple(word for word in text.split("*") if word in ("on", "off")) == where
    if verdict == HOLDS:  # the error is halved twice
        assert (
            "error = 4.98 % * (digits / 1,000) ^ -0.50; exponent over seeds 0.50 (95 % of the mean 0.50 to 0.50" in text
        )
        assert "the article's two points imply 0.50." in text
    assert (tmp_path / "results/claims_a_claim.png").read_bytes().startswith(b"\x89PNG")


def test_a_curve_needs_three_sizes(tmp_path: Path, base, runs) -> None:
    given = SIZES.replace("ARTICLE", "{ 1000 = 4.98, 4000 = 2.49 }")
    assert answer(tmp_path, given, base, runs("l", 50, 51))[:2] == (
        NOT_SHOWN,
        "a net, same passes: fewer than three sizes",
    )


@pytest.mark.slow
def test_error_against_parameters(tmp_path: Path, base, runs) -> None:
    claim = 'kind = "error against parameters"\nbase = "base"\nrows = ["small", "base", "large"]'
    small, large = runs("small", 150, 151, 152, 150, parameters=4450), runs("large", 60, 61, 62, 60, parameters=66820)
    verdict, line, text = answer(tmp_path, claim, base, small, large)
    assert verdict == HOLDS and line.startswith("`small`, 4,450 parameters: test misses +51 %")
    assert "| `large` | 66,820 | 4 |" in text
    assert (tmp_path / "results/claims_a_claim.png").read_bytes().startswith(b"\x89PNG")
    assert answer(tmp_path, claim, base, small)[0] == NOT_SHOWN  # the largest is not there
    assert answer(tmp_path, claim, base)[:2] == (NOT_SHOWN, "not run")


TIMES = """kind = "time to an error"
factor = 2
series = [{ name = "a net", errors = [5.2, 4.9], rows = { 1 = "base", full = "full" } }]
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "us, misses, verdict", [(1e5, 100, HOLDS), (9e5, 100, FAILS), (5e5, 100, NOT_SHOWN), (1e5, 200, NOT_SHOWN)]
)
def test_time_to_an_error(tmp_path: Path, us: float, misses: int, verdict: str, base, runs) -> None:
    base = [r | {"us_per_update": 1e6 * f} for r, f in zip(base, (0.9, 1.0, 1.1, 1.0), strict=True)]
    full = runs("full", *[misses] * 4, us_per_update=us)
    found, line, text = answer(tmp_path, TIMES, base, full)
    assert found == verdict
    assert f"{0 if misses == 200 else 4} of 4 runs in batches of full reach 5.20 %" in line
    assert "| 1 | `base` | 4 | 4 | 4 of 4 | 4 (4 to 4) | 400 (400 to 400) |" in text
    assert (tmp_path / "results/claims_a_claim.png").read_bytes().startswith(b"\x89PNG")
    assert "**a net**, to 4.90 % test error: " in text
    other = TIMES.replace("series = [", 'series = [{ name = "b", errors = [5.2], rows = { 1 = "c" } }, ')
    assert "0 of 0 runs in batches of 1 reach 5.20 %" in answer(tmp_path, other, base, full)[1]  # nothing to draw of it
    found, line, _ = answer(tmp_path, TIMES + 'device_not_at_hand = "a GPU"', base, full)
    assert found == NOT_SHOWN and line.startswith("a GPU was not at hand; on one CPU core, a net: ")


@pytest.mark.slow
def test_a_time_that_some_runs_never_get_to_is_not_shown(tmp_path: Path, base, runs) -> None:
    base = [r | {"us_per_update": 1e6 * f} for r, f in zip(base, (0.9, 1.0, 1.1, 1.0), strict=True)]
    full = runs("full", *[90] * 4, us_per_update=1e5)
    assert answer(tmp_path, TIMES, base, full)[0] == HOLDS
    found, line, _ = answer(tmp_path, TIMES, [*base[:3], {**runs("base", 150)[0], "seed": 1340}], full)
    assert found == NOT_SHOWN
    assert line.startswith(
        "a net: 3 of 4 runs in batches of 1 and 4 of 4 runs in batches of full reach 5.20 %, the latter"
    )


def test_the_first_pass_with_an_error_counts(runs) -> None:
    result = RunResult.read(runs("row", 100)[0], "test: ")  # 130, 120, 110 and 100 misses after passes 1 to 4
    assert reached(result, 5.5) == (3, 300, 300.0)
    assert reached(result, 4.9) is None


@pytest.mark.parametrize(
    "after, iqr, verdict", [(105.0, [104, 106], HOLDS), (150.0, [140, 160], FAILS), (150.0, [50, 250], NOT_SHOWN)]
)
def test_inference(tmp_path: Path, after: float, iqr: list[float], verdict: str, base) -> None:
    claim = 'kind = "inference"\nfile = "../benchmarks/inference.json"\nfirst = "base"\nlast = "row"'
    assert answer(tmp_path, claim, base)[:2] == (NOT_SHOWN, "not measured")
    (tmp_path / "benchmarks").mkdir()
    measured = [{"row": "base", "engine": "eager", "latency_us": 100.0, "latency_us_iqr": [99, 101]}]
    measured += [{"row": "row", "engine": "eager", "latency_us": after, "latency_us_iqr": iqr}]
    (tmp_path / "benchmarks/inference.json").write_text(json.dumps({"measurements": measured}))
    found, line, _ = answer(tmp_path, claim, base)
    assert (found, line) == (verdict, f"latency of one digit, `row` over `base`: eager {after / 100:.2f}")


@pytest.mark.parametrize(
    "toml, fault",
    [
        ("claim =", "claims.toml: .*; allowed: a TOML file of claims"),
        ("substantial_percent = 20\n[rules]\n", "claims.toml: written is missing; allowed"),
        (TOML, "claims.toml: claim is missing; allowed"),
        (TOML.replace("20", "'a lot'"), "claims.toml: substantial_percent is a lot; allowed: a finite number"),
        (TOML + '[[claim]]\nkind = "better"', "claims.toml: a claim without 'rows'; allowed: "),
        (TOML + '[[claim]]\nkind = "bettr"', "claims.toml: kind bettr; allowed: no substantial gain, "),
    ],
)
def test_a_file_of_claims_that_is_none(tmp_path: Path, toml: str, fault: str, base) -> None:
    (tmp_path / "claims.json").write_text(json.dumps(base))
    (tmp_path / "claims.toml").write_text(toml)
    with pytest.raises(UserError, match=fault):
        report(str(tmp_path / "claims.json"))
    assert not (tmp_path / "claims.md").exists()
