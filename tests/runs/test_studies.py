"""Studies: which trial is whose, and what a trial is suggested."""

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.pruners import NopPruner
from optuna.samplers import GridSampler, TPESampler
from optuna.trial import TrialState

from lecun_repro.errors import BadArgument
from lecun_repro.runs.studies import JOURNAL, Studies, builder


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Studies]:
    monkeypatch.chdir(tmp_path)

    def make(sampler=builder("sampler", None, TPESampler, n_startup_trials=3), rules=None, seed: int = 1) -> Studies:  # noqa: B008
        return Studies(Path("study"), "study", rules or {"space": "a"}, sampler, seed, NopPruner())

    return make


def values(trial) -> tuple[float, float]:
    return trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)


def test_a_trial_that_a_process_left_behind_is_suggested_the_same_wherever_it_stopped(studies) -> None:
    whole = studies()
    expected = []
    for _ in range(8):
        with whole.next_trial(8) as trial:
            expected.append(values(trial))
            trial.study.tell(trial, sum(expected[-1]))
    Path("study").rename("whole")
    for number in range(8):  # each begun by one process and ended by another
        with studies().next_trial(8) as trial:
            trial.suggest_float("x", 0, 1)
            if number % 2:
                trial.suggest_float("y", 0, 1)
        with studies().next_trial(8) as trial:
            assert (trial.number, values(trial)) == (number, expected[number])
            trial.study.tell(trial, sum(expected[number]))
    with studies().next_trial(8) as trial:
        assert trial is None, "there are enough"


def test_a_trial_is_one_process_s_alone(studies) -> None:
    with studies().next_trial(9) as first, studies().next_trial(9) as second:
        assert (first.number, second.number) == (0, 1)
        first.study.tell(first, 1.0)
        with studies().next_trial(9) as third:
            assert third.number == 2
    with studies().next_trial(9) as again:
        assert again.number == 1, "the first is done, the second was left"
    assert not list(Path("study/running").iterdir())


def test_a_line_that_was_cut_off_is_no_harm(studies) -> None:
    with studies().next_trial(9) as trial:
        trial.study.tell(trial, 1.0)
    with open(f"study/{JOURNAL}", "a") as journal:
        journal.write('{"op_code":6,"worker')
    with studies().next_trial(9) as trial:
        trial.study.tell(trial, 2.0)
    assert [trial.value for trial in studies().study().trials] == [1.0, 2.0]


def test_another_search_of_the_same_name_is_refused(studies) -> None:
    studies()
    with pytest.raises(BadArgument, match="space was a and is b; allowed: another one, by --name, or the command"):
        studies(rules={"space": "b"})
    Path(f"study/{JOURNAL}").write_text("nonsense\n")
    with pytest.raises(BadArgument, match=r"name: study, whose journal .* cannot be read"):
        studies()


def test_a_grid_ends_when_it_is_through(studies) -> None:
    grid = builder(
        "sampler",
        {"class_path": "optuna.samplers.GridSampler", "init_args": {"search_space": {"x": [1, 2]}}},
        TPESampler,
    )
    assert isinstance(grid(3), GridSampler)
    with pytest.raises(
        BadArgument, match=r"^sampler: optuna.samplers.GridSampler; allowed: a class that can be built \("
    ):
        builder("sampler", {"class_path": "optuna.samplers.GridSampler", "init_args": {}}, TPESampler)
    seen = []
    for _ in range(2):
        with studies(grid).next_trial(None) as trial:
            seen.append(trial.suggest_float("x", 0, 3))
            trial.study.tell(trial, 1.0)
    with studies(grid).next_trial(None) as trial:
        assert trial is None
    assert sorted(seen) == [1, 2]
    assert all(trial.state == TrialState.COMPLETE for trial in studies(grid).study().trials)
