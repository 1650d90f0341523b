"""The report on a search."""

import json
from pathlib import Path
from typing import Any

import pytest

from lecun_repro.commands.report import report
from lecun_repro.errors import UserError
from lecun_repro.report.searches import Fit, Trial, against, find, interval, tried


def fit(missed: list[int], seed: int = 1, fold: str = "1/2", n: int = 100) -> dict[str, Any]:
    counts = {"error": 100 * len(missed) / n, "misses": len(missed), "n": n, "missed": missed}
    return {"fold": fold, "seed": seed, **counts, "seconds": 3600.0, "config_hash": "x"}


def trial(number: int, lr: float, *fits: dict[str, Any], state: str = "complete", note: str = "") -> dict[str, Any]:
    error = sum(each["error"] for each in fits) / len(fits) if fits else None
    settings = {"optimizer": "SGD", "optimizer[SGD].init_args.lr": lr}
    return {"number": number, "state": state, "settings": settings, "error": error, "fits": list(fits), "note": note}


@pytest.fixture
def made() -> dict[str, Any]:
    worse = [fit([*range(20)]), fit([*range(30)], fold="2/2")]
    best = [fit([*range(5)]), fit([*range(4)], fold="2/2")]
    close = [fit([*range(2, 9)]), fit([*range(4)], fold="2/2")]
    trials = [trial(0, 0.5, *worse), trial(1, 0.1, *best), trial(2, 0.2, *close), trial(3, 0.1, *best)]
    trials += [trial(4, 9.0, state="pruned", note="after pass 3 of 9, at 40.00 %"), trial(5, 99.0, state="diverged")]
    return {
        "name": "s", "command": "python cli.py search --name s", "config": "c.yaml", "config_hash": "x",
        "space": {"lr": {"low": 0, "high": 99}}, "commit": "abc", "passes": 9, "folds": ["1/2", "2/2"], "seeds": [1],
        "trials": trials, "importance": {"optimizer[SGD].init_args.lr": 1.0},
        "ranges": {"optimizer[SGD].init_args.lr": [0.09, 99.0, True]},
    }  # fmt: skip


def test_the_report_tells_what_cannot_be_told_from_the_best(made: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps(made))
    report(str(path))
    text = path.with_suffix(".md").read_text()
    assert "Error 4.50 ± 0.71 % (95 %: 0.00 to 10.85), n = 2 (seeds 1; folds 1/2, 2/2; 200 digits held out" in text
    assert "Of the 2 other settings that were tried in full, 1 cannot be told from it." in text
    assert (
        "| 1 | `optimizer` SGD<br>`optimizer[SGD].lr` 0.1 | 2 | 4.50 ± 0.71 | 0.00 to 10.85 |  |  | **best** |" in text
    )
    assert "| +2.0 | 0.69 | *cannot be told apart* |" in text and "| +41.0 | 9.1e-13 | worse |" in text
    assert "| pruned | after pass 3 of 9, at 40.00 % |" in text
    assert "6 trials: 4 complete, 1 pruned, 1 diverged; 8.00 hours of fits" in text
    assert "- `optimizer[SGD].init_args.lr`: 0.1, at an edge of its range\n" in text and "- `optimizer`: SGD\n" in text
    assert all((tmp_path / name).exists() and f"({name})" in text for name in ("s_best.png", "s_settings.png"))


def test_a_setting_is_compared_over_seeds_and_folds() -> None:
    best = Trial.__new__(Trial, 0, "complete", {}, 1.0, [Fit(**fit([], seed)) for seed in (1, 2, 3)])
    same = best._replace(fits=[Fit(**fit([1], seed)) for seed in (1, 2, 3)])
    found = against(same, best)
    assert (found.difference, found.told) == (1, False), "one miss more with every seed is no evidence on the digits"
    worse = best._replace(fits=[Fit(**fit([*range(n)], seed)) for seed, n in ((1, 9), (2, 8), (3, 10))])
    assert against(worse, best).told and against(worse, best).difference == 9
    other_fold = best._replace(fits=[Fit(**fit([*range(9)], 1)), Fit(**fit([*range(9)], 1, "2/2"))])
    swapped = best._replace(fits=[Fit(**fit([*range(9)], 1)), Fit(**fit([*range(9, 18)], 1, "2/2"))])
    assert against(swapped, other_fold) == (0.0, 1.0, False), "digits of two folds are different digits"


def test_one_fit_has_the_interval_of_its_misses(made: dict[str, Any]) -> None:
    low, high = interval(Trial(0, "complete", {}, 5.0, [Fit(**fit([*range(5)]))]))
    assert (round(low, 2), round(high, 2)) == (1.64, 11.28)


def test_what_is_no_search(made: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    for content in ("[]", "{", '{"rows": 1}'):
        path.write_text(content)
        assert find(path) is None
    path.write_text(json.dumps(made | {"trials": [made["trials"][0] | {"state": 3}]}))
    with pytest.raises(UserError, match=r"s\.json: trials\[0\]\.state is 3; allowed: a text"):
        find(path)
    path.write_text(json.dumps(made | {"trials": made["trials"][4:]}))
    with pytest.raises(UserError, match="in which no trial is complete"):
        report(str(path))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    path.write_text(json.dumps(made))
    assert [each.number for each in tried(find(path))] == [1, 2, 0], "of equal settings the first"
