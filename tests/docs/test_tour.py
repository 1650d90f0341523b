"""docs/tour.ipynb: it runs from its first cell to its last, and what is committed of it is whole and small."""

import json
from pathlib import Path

import pytest

TOUR = Path(__file__).parents[2] / "docs/tour.ipynb"
PICTURES = 6  # the network twice, its kernels, the rows, the optimizers, the digit


def outputs(cells: list[dict]) -> list[dict]:
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


def test_the_committed_tour_was_run_to_its_end() -> None:
    cells = json.loads(TOUR.read_text())["cells"]
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    pictures = [output for output in outputs(cells) if "image/png" in output.get("data", {})]
    assert len(pictures) == PICTURES
    texts = "".join("".join(output.get("text", "")) for output in outputs(cells))
    assert "paired by seed" in texts and "docs/digit.png      2" in texts and "Warning" not in texts
    assert not any(output["output_type"] == "error" for output in outputs(cells))
    assert TOUR.stat().st_size < 1_000_000


def test_outside_of_a_clone_the_first_cell_says_what_to_fill_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (cell for cell in json.loads(TOUR.read_text())["cells"] if cell["cell_type"] == "code")
    first = "".join(next(code)["source"])
    run: list[list[str]] = []

    def cloned(command: list[str], check: bool) -> None:
        run.append(command)
        (tmp_path / "lecun-repro/results").mkdir(parents=True)
        (tmp_path / "lecun-repro/results/article.json").touch()

    monkeypatch.setattr("subprocess.run", cloned)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"is in no clone of the project: put the address to clone from into"):
        exec(first, {})
    filled = first.replace('REPOSITORY = ""', 'REPOSITORY = "https://example.org/lecun-repro.git"')
    for place in (tmp_path, tmp_path, tmp_path / "lecun-repro/results"):  # the second time it is there
        monkeypatch.chdir(place)
        exec(filled if place == tmp_path else first, found := {})
        assert found["PROJECT"] == tmp_path / "lecun-repro"
    assert [command[-2:] for command in run] == [["https://example.org/lecun-repro.git", "lecun-repro"]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's packages
def test_the_tour_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("TOUR_PASSES", "1")
    monkeypatch.setenv("TOUR_SEEDS", "2")
    tour = nbformat.read(TOUR, 4)
    nbclient.NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(TOUR.parent)}}).execute()
    assert len([output for output in outputs(tour.cells) if "image/png" in output.get("data", {})]) == PICTURES
