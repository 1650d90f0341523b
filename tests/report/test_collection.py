"""The file of results: held by one process, and added to without a loss."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from lecun_repro.errors import BadArgument
from lecun_repro.report.collection import collect, held, refuse_others, rules_digest

MINE = {"row": "mine", "seed": 1, "config_hash": "now"}


def test_what_is_of_another_configuration_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    refuse_others(path, lambda row, seed: "now")
    path.write_text(
        json.dumps([MINE, MINE | {"seed": 2, "config_hash": "then"}, MINE | {"row": "b", "config_hash": ""}])
    )
    with pytest.raises(BadArgument, match=r"out: .*mine.json, which has .* \(mine, seeds 2\); .* --replace true"):
        refuse_others(path, lambda row, seed: "now" if row == "mine" else None)


def test_only_records_of_rows_that_are_asked_for_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    others = [MINE | {"row": "a", "config_hash": "x"}, MINE | {"seed": 7, "config_hash": "then"}]
    path.write_text(json.dumps(others))
    collect(path, [MINE], lambda row, seed: "now" if row == "mine" else None)
    assert json.loads(path.read_text()) == [others[0], MINE]


@pytest.mark.parametrize("name, source", [("mine", "mnist"), ("mine", "usps"), ("claims", "mnist")])
def test_a_collected_record_is_without_what_no_report_reads(tmp_path: Path, name: str, source: str) -> None:
    kept = {"n": 9, "misses": 2, "missed": [1, 3], "predicted": [0, 7]}
    rejection = {"rejection": [0.5], "rejected_at_1_percent": 3.5}
    record = MINE | {"source": source, **dict.fromkeys(("train", "test", "unseen", "test_raw"), kept | rejection)}
    record["curve"] = {key: {"pass": [1], "loss": [0.5], "misses": [2]} for key in ("train", "test")}
    collect(tmp_path / f"{name}.json", [record], lambda row, seed: None)
    (collected,) = json.loads((tmp_path / f"{name}.json").read_text())
    of_paper = rejection if source == "usps" else {}
    lean = name == "claims"
    evaluated = kept | ({"predicted": []} if lean else {}) | of_paper
    assert collected == record | {
        "train": kept | {"predicted": []} | ({"missed": []} if lean else {}) | of_paper,
        "test": evaluated,
        "unseen": evaluated,
        "test_raw": kept | {"missed": [], "predicted": []} | of_paper,
        "curve": {split: record["curve"][split] for split in ("test",) + ("train",) * (not lean)},
    }


def test_the_digest_of_the_rules_is_of_what_they_say(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    assert rules_digest(path) is None
    digests = []
    texts = [("rules", "a = 1 # one"), ("rules", "# one\na=1"), ("rules", "a = 2")]
    for name, text in [*texts, ("mine", "b = 1"), ("other", "c = 1")]:
        (tmp_path / f"{name}.toml").write_text(text)
        digests.append(rules_digest(path))
    assert digests[0] == digests[1] and digests[3] == digests[4] and len(set(digests)) == 3
    (tmp_path / "mine.toml").write_text("a = ")
    with pytest.raises(BadArgument, match=r"out: .*; allowed: a folder whose rules are TOML"):
        rules_digest(path)


def test_a_held_file_is_refused_and_free_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mine.json"
    with held(path):
        with pytest.raises(BadArgument, match=r"mine\.json, to which another reproduce is adding"), held(path):
            pass
        with held(path.with_name("other.json")):
            pass
    with held(path):
        pass
    assert not list(tmp_path.iterdir())


def add(path: Path, row: str, count: int) -> None:
    """Adds records one by one, each as soon as the file is free."""
    for seed in range(count):
        while True:
            try:
                with held(path):
                    collect(path, [MINE | {"row": row, "seed": seed}], lambda row, seed: None)
                break
            except BadArgument:
                continue


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no locks")
def test_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=add, args=(path, row, 20)) for row in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(json.loads(path.read_text())) == 60


def test_without_fcntl_a_file_of_results_is_used_without_a_lock(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("lecun_repro.runs.folders.fcntl", None)  # Windows
    path = tmp_path / "out/mine.json"
    with held(path), held(path):
        collect(path, [MINE], lambda row, seed: "now")
    assert json.loads(path.read_text()) == [MINE]
    assert [file.name for file in path.parent.iterdir()] == ["mine.json"]
