"""The report, from raw results alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from lecun_repro.commands.report import report
from lecun_repro.errors import UserError
from lecun_repro.report.article import rows_table
from lecun_repro.report.results import load
from lecun_repro.report.tables import spread

ROOT = Path(__file__).parents[2]


def result(row: str, seed: int, missed: list[int], **other: Any) -> dict[str, Any]:
    split = {"n": 500, "loss": 0.1, "error": len(missed) / 5, "misses": len(missed), "missed": missed}
    split["predicted"] = [3] * len(missed)
    point = {"loss": 0.1, "error": len(missed) / 5, "misses": len(missed)}
    return {
        "row": row, "seed": seed, "source": "digits", "draw": "article", "passes": 2, "updates": 100,
        "parameters": 9760, "compiled": False, "fit_seconds": 2.0, "us_per_update": 500.0,
        "train": split, "test": split, "curve": [{"pass": p, "train": point, "test": point} for p in (1, 2)],
        "versions": {"python": "3"}, "config_hash": "x",
    } | other  # fmt: skip


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "article.json"
    results = [result("1_baseline", s, [1, 2, 3, 4, 5, 6, 7, 8, 10 + s]) for s in range(3)]
    results += [result("5_dropout_relu", s, [10 + s]) for s in range(3)]
    path.write_text(json.dumps(results))
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


def test_other_draws_are_part_of_the_report(raw: Path) -> None:
    draws = [result("1_baseline", s, list(range(s + 3)), draw=s) for s in range(5)]
    raw.with_name("article_draws.json").write_text(json.dumps(draws))
    report(str(raw.with_name("article_draws.json")))
    assert "## Other draws of the digits" in raw.with_suffix(".md").read_text()


def test_a_verdict_needs_the_article_s_own_test_digits(raw: Path) -> None:
    assert "reproduced" not in rows_table(load(raw))
    results = [result("1_baseline", s, list(range(80 + s))) for s in range(4)]
    for r in results:
        r["test"]["n"] = 2007
    raw.write_text(json.dumps(results))
    assert "*reproduced*" in rows_table(load(raw))


@pytest.mark.parametrize("content", [None, "", "{", '[{"no": "row"}]', "[1]"])
def test_results_that_are_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "article.json").write_text(content)
    with pytest.raises(UserError, match=r"results: .*article\.json.*; allowed: a JSON list"):
        report(str(tmp_path / "article.json"))
    assert not (tmp_path / "article.md").exists()


@pytest.mark.skipif(not (ROOT / "results" / "article.json").exists(), reason="no committed results")
class TestCommitted:
    """The results in the repository."""

    def test_report_gives_the_committed_tables(self, tmp_path: Path) -> None:
        for name in ("article.json", "article_draws.json"):
            if (ROOT / "results" / name).exists():
                (tmp_path / name).write_bytes((ROOT / "results" / name).read_bytes())
        for figure in (ROOT / "results").glob("article_*.png"):  # the one of digits needs the digits
            (tmp_path / figure.name).write_bytes(figure.read_bytes())
        report(str(tmp_path / "article.json"))
        assert (tmp_path / "article.md").read_bytes() == (ROOT / "results" / "article.md").read_bytes()

    def test_the_page_s_1989_numbers_are_those_of_the_results(self) -> None:
        rows = load(ROOT / "results" / "1989.json")
        block = (ROOT / "docs/1989.md").read_text().split("<!-- 1989 -->")[1].split("<!-- /1989 -->")[0]
        shown = [row for row in rows if f"`{row}`" in block]
        assert len(shown) == 4
        for row in shown:
            line = next(line for line in block.splitlines() if f"`{row}`" in line)
            rejected = spread([r["test"]["rejected_at_1_percent"] for r in rows[row]], 1)
            train, test = ([r[split]["misses"] for r in rows[row]] for split in ("train", "test"))
            assert line.endswith(f"| {len(rows[row])} | {spread(train, 1)} | {spread(test, 1)} | {rejected} % |")

    def test_report_gives_the_committed_1989_tables(self, tmp_path: Path) -> None:
        for name in ("1989.json", "1989_search.json"):
            (tmp_path / name).write_bytes((ROOT / "results" / name).read_bytes())
        report(str(tmp_path / "1989.json"))
        assert (tmp_path / "1989.md").read_bytes() == (ROOT / "results" / "1989.md").read_bytes()
