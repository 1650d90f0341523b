"""What a fit tells the program that started it."""

import os
from types import SimpleNamespace

import pytest

from lecun_repro.runs.fits import Fits, follow
from lecun_repro.runs.progress import PIPE, CountUpdates


def followed(text: str) -> tuple[list[int], list[str]]:
    """Updates by which a fit that writes this was followed, and what it told."""
    counts: list[int] = []
    told: list[str] = []
    out, into = os.pipe()
    os.write(into, text.encode())
    os.close(into)
    follow(out, counts.append, lambda number, error: True, lambda: None, told.append)
    return counts, told


def test_why_updates_take_long_is_told_beside_their_number() -> None:
    assert followed("10\n# plain updates; some 5 min\n30\n1 4.5\n") == ([10, 20], ["plain updates; some 5 min"])


def test_a_fit_writes_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    out, into = os.pipe()
    monkeypatch.setenv(PIPE, str(into))
    writer, module = CountUpdates(), SimpleNamespace(notice="")
    for step, notice in ((1, ""), (2, "plain\nupdates"), (3, "plain\nupdates")):
        module.notice = notice
        writer.on_train_batch_end(SimpleNamespace(global_step=step), module)
    os.close(into)
    with open(out) as lines:
        assert lines.read() == "1\n2\n# plain updates\n3\n"


def test_a_row_s_runs_tell_it_once(capsys: pytest.CaptureFixture[str]) -> None:
    fits = Fits()
    for row, seed in (("a", 1), ("a", 2), ("b", 1)):
        fits.tell(SimpleNamespace(row=row, seed=seed), "slow\x1b[2J")
    assert capsys.readouterr().err.splitlines() == [r"a, seed 1: slow\x1b[2J", r"b, seed 1: slow\x1b[2J"]
