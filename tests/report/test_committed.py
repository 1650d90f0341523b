"""The results in the repository: their reports, their bytes, and the tables of the documents."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from lecun_repro.commands.report import report
from lecun_repro.report.collection import collect
from lecun_repro.report.pages import refreshed
from lecun_repro.runs.results import RunResult

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
REPORTS = ["article", "1989", "claims", "beyond", "optimizers", "scaling"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed results without their reports; figures stay, as not every test draws them."""
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(RESULTS, folder / "results", ignore=shutil.ignore_patterns("*.md"))
    (folder / "benchmarks").mkdir()
    for name in ("inference.json", "updates.json"):
        shutil.copy(ROOT / "benchmarks" / name, folder / "benchmarks")
    return folder / "results"


@pytest.mark.parametrize("name", REPORTS)
def test_report_gives_the_committed_text(name: str, copy: Path) -> None:
    report(str(copy / f"{name}.json"))
    assert (copy / f"{name}.md").read_bytes() == (RESULTS / f"{name}.md").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.drawn
def test_report_draws_the_committed_figures(
    name: str, copy: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LECUN_REPRO_DATA", str(real_data))  # for the pictures of missed digits
    names = {path.name for path in RESULTS.glob(f"{name}_*.png")}
    for figure in copy.glob(f"{name}_*.png"):
        figure.unlink()
    report(str(copy / f"{name}.json"))
    assert names and {path.name for path in copy.glob(f"{name}_*.png")} == names
    differences = {figure: difference(copy / figure, RESULTS / figure) for figure in names}
    assert max(differences.values()) < 1, differences


def difference(one: Path, other: Path) -> float:
    """Mean difference of two figures, in levels of 255: other versions of matplotlib may draw a bit otherwise."""
    with Image.open(one) as first, Image.open(other) as second:
        assert first.size == second.size, one.name
        return ImageStat.Stat(ImageChops.difference(first.convert("L"), second.convert("L"))).mean[0]


def test_the_committed_results_are_small() -> None:
    assert sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()) < 8_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["article", "article_draws", "1989", "claims", "claims_later"])
def test_results_are_written_as_they_are_read(name: str, copy: Path) -> None:
    path = copy / f"{name}.json"
    before = path.read_bytes()
    for record in json.loads(before):
        again = RunResult.read(record, "").to_json()
        for split in {*again} & {"train", "test", "unseen"}:  # rejection is kept of the paper's digits
            again[split] = {field: value for field, value in again[split].items() if value is not None}
        assert json.dumps(again) == json.dumps(record)
    collect(path, [], lambda row, seed: None)
    assert path.read_bytes() == before


def test_the_pages_show_the_results() -> None:
    pages = dict(refreshed(RESULTS / "article.json"))
    names = {"README.md", "docs/claims.md", "docs/1989.md", "docs/index.html"}
    assert {path.relative_to(ROOT).as_posix() for path in pages} == names
    assert [path for path, content in pages.items() if path.read_text() != content] == []


def test_results_elsewhere_change_no_page(copy: Path) -> None:
    assert not list(refreshed(copy / "article.json"))
    assert not list(refreshed(RESULTS / "mine.json"))
