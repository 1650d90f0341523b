"""`search`: trials that follow from their history, what is left of them, and, slowly, with real fits."""

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from lecun_repro.__main__ import main, split_flags
from lecun_repro.cli.overlays import configuration
from lecun_repro.cli.search_space import load_space
from lecun_repro.commands import search_trials
from lecun_repro.commands.search import command, default_name, folds_of, record_of, search, seconds_of, write_best
from lecun_repro.commands.search_trials import Plan, Searching, progress
from lecun_repro.errors import BadArgument, UserError
from lecun_repro.runs.fits import Outcome, Run
from lecun_repro.runs.results import CurvePass, Point, RunResult
from lecun_repro.runs.studies import MedianPruner, Studies, TPESampler, builder
from lecun_repro.training.evaluation import SplitResult

pytestmark = pytest.mark.usefixtures("own_folder")

CONFIGS = Path(__file__).parents[2] / "configs"
SPACE = "lr: {low: 1.0e-5, high: 1.0e-2, log: true}\nwd: {low: 0, high: 9}\nact: [relu, tanh]\n"
PASSES, DIGITS = 4, 1000


class Killed(BaseException):
    """What a process that is killed sees no more of."""


class Made(Plan):
    """Fits whose errors follow from their settings and seeds."""

    def runs(self, change: dict[str, Any]) -> list[Run]:
        text = json.dumps(change)
        return [
            Run(fold, seed, text, [], Path(self.name) / f"{abs(hash(text))}_{fold[0]}_{seed}", text, PASSES, 1)
            for fold in self.folds
            for seed in self.seeds
        ]


class Fits:
    """Performs them at once, and dies in the middle of one of them.

    Args:
        dies_at: The number of the pass, over all fits, after which this process is killed.
    """

    def __init__(self, dies_at: int | None = None) -> None:
        self.dies_at, self.done = dies_at, 0

    def __call__(self, run: Run, advance: Any, fits: Any, goes_on: Any) -> Outcome:
        change, folder, curve = json.loads(run.yaml), run.folder, []
        folder.mkdir(parents=True, exist_ok=True)
        if change["wd"] == 9:
            return Outcome(run, {"config_hash": run.config_hash, "diverged": {"pass": 2, "of": "update 7"}})
        best = round(10 + 9000 * abs(change["lr"] - 1e-3) + change["wd"] + (change["act"] == "tanh") + run.seed % 3)
        for number in range(1, PASSES + 1):
            misses = best + 5 * (PASSES - number)
            curve.append(CurvePass(number, {"holdout": Point(0.1, 100 * misses / DIGITS, misses)}))
            wanted = goes_on(number, 100 * misses / DIGITS)
            self.done += 1
            if self.done == self.dies_at:
                raise Killed
            if not wanted:
                return Outcome(run, None, "exit code 143: interrupted")
        split = SplitResult(DIGITS, 0.1, 100 * best / DIGITS, best, [*range(best)], [1] * best)
        result = RunResult(
            "made", run.seed, "digits", "article", PASSES, 1, 1, False, 60.0, 1.0,
            {"train": split, "holdout": split}, curve, {}, run.config_hash, fold=run.row,
        )  # fmt: skip
        record = json.loads(json.dumps(result.to_json()))
        (folder / "results.json").write_text(json.dumps(record))
        return Outcome(run, record)


def searching(fits: Fits, most: int | None = 30, seconds: float = 1e9, name: str = "s", jobs: int = 1) -> Searching:
    Path("space.yaml").write_text(SPACE)
    sampler, pruner = builder("sampler", None, TPESampler), MedianPruner(n_startup_trials=3, n_warmup_steps=1)
    rules = {"config": "", "space": {}, "commit": "", "folds": ["1/2", "2/2"], "seeds": [3, 4]}
    studies = Studies(Path("logs") / name, name, rules, sampler, 7, pruner)
    plan = Made(name, {}, load_space("space.yaml"), [], rules["folds"], rules["seeds"])
    made = Searching(plan, studies, most, seconds, jobs, "local")
    made.perform = fits
    return made


def trials(one: Searching) -> list[tuple[Any, ...]]:
    return [
        (t.state.name, t.params, t.value, t.intermediate_values, t.user_attrs["note"], t.user_attrs["diverged"])
        for t in one.studies.study().trials
    ]


def test_a_search_that_is_killed_again_and_again_goes_on_to_the_same_trials(capsys: pytest.CaptureFixture) -> None:
    whole = searching(Fits(), name="whole")
    whole.run()
    kills = 0
    while True:
        killed = searching(Fits(dies_at=17))
        try:
            killed.run()
            break
        except Killed:
            kills += 1
    assert kills > 2
    assert trials(killed) == trials(whole)
    counts = whole.counts()
    assert counts["PRUNED"] > 2 and counts["COMPLETE"] > 5 and sum(counts.values()) == 30
    assert len(list(Path("whole").glob("*/pruned.json"))) == counts["PRUNED"]
    lines = capsys.readouterr().out
    assert "% held out (lr 0.0" in lines and ": pruned after pass 1 of 4 of fit 1 of 4, at " in lines


def test_several_processes_share_a_search() -> None:
    first, second = searching(Fits(), 5), searching(Fits(), 8)
    first.run()
    second.run()
    assert len(trials(first)) == len(trials(second)) == 8
    searching(Fits(), 12, jobs=3).run()
    assert [trial.number for trial in first.studies.study().trials] == [*range(12)]


def test_a_budget_counts_what_was_spent_before() -> None:
    searching(Fits(), None, seconds=0.0).run()
    searching(Fits(), 2).run()  # of 4 fits of a minute each
    searching(Fits(), None, seconds=480.0).run()
    assert len(trials(searching(Fits()))) == 2
    searching(Fits(), 3, seconds=500.0).run()
    assert len(trials(searching(Fits()))) == 3


def test_failures_in_a_row_end_it_and_are_no_trials_of_the_report(capsys: pytest.CaptureFixture) -> None:
    failing = searching(lambda run, *rest: Outcome(run, None, "exit code 1: \x1b]0;full"))
    with pytest.raises(UserError, match="3 trials in a row failed: exit code 1"):
        failing.run()
    assert [state for state, *_ in trials(failing)] == ["FAIL"] * 3
    assert capsys.readouterr().err.splitlines()[0] == "failed: trial 0: exit code 1: \\x1b]0;full"


def test_the_line_of_progress() -> None:
    assert progress(12, 50, 3, 1.853, 3623.7) == "12 of 50 trials, 3 pruned, best 1.85 %, 1:00:23 left"
    assert progress(0, None, 0, None, None) == "0 trials, 0 pruned"


@pytest.mark.parametrize("budget, seconds", [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172800)])
def test_budgets(budget: str, seconds: float) -> None:
    assert seconds_of(budget) == seconds


@pytest.mark.parametrize("budget", ["", "2", "h", "-1h", "0s", "1h30m", "1e9s"])
def test_a_budget_that_is_no_time(budget: str) -> None:
    with pytest.raises(BadArgument, match=r"^budget: .*; allowed: a time above 0 such as 90s"):
        seconds_of(budget)


def test_what_is_held_out() -> None:
    nothing = {"holdout": 0, "fold": None}
    assert folds_of(nothing, None) == ["1/5"] and folds_of(nothing, 3) == ["1/3", "2/3", "3/3"]
    assert folds_of(nothing | {"holdout": 9}, None) == [""] and folds_of(nothing | {"fold": "2/7"}, None) == ["2/7"]
    for data, folds in (({"fold": "2/7"}, 5), ({"holdout": 9}, 5), ({}, 1)):
        with pytest.raises(BadArgument, match=r"^folds: "):
            folds_of(nothing | data, folds)


def test_flags_of_sampler_and_pruner_are_no_flags_of_fit() -> None:
    own, overrides = split_flags(["--sampler.seed", "3", "--pruner.x=1", "--data.root", "r", "--trials", "2"])
    assert (own, overrides) == (["--sampler.seed=3", "--pruner.x=1", "--trials=2"], ["--data.root=r"])


def test_the_command_is_given_back_as_one_would_type_it() -> None:
    given = {key: parameter.default for key, parameter in inspect.signature(search).parameters.items()}
    sampler = {"class_path": "optuna.samplers.TPESampler", "init_args": {"seed": None, "n_startup_trials": 5}}
    given |= {"config": "a b.yaml", "space": "s.yaml", "trials": 9, "seeds": [1, 2], "sampler": sampler}
    line = "python cli.py search --config 'a b.yaml' --space s.yaml --trials 9 --seeds '[1, 2]'"
    line += " --sampler optuna.samplers.TPESampler --sampler.n_startup_trials 5 --data.root=r"
    assert command(given | {"overrides": ["--data.root=r"]}) == line


def test_the_best_setting_is_a_file_on_the_searched_one() -> None:
    (one := searching(Fits(), 6)).run()
    tree, base = load_space("space.yaml"), {"lr": 1.0, "kept": 2}
    record = record_of(one.studies, "s", "python cli.py search", "configs/a.yaml", PASSES, tree)
    Path("configs").mkdir()
    Path("configs/a.yaml").write_text(yaml.dump(base))
    write_best(Path("results/search/s_best.yaml"), record, "configs/a.yaml", base, tree)
    text = Path("results/search/s_best.yaml").read_text()
    assert text.startswith("# s: the best of ") and "base: ../../configs/a.yaml\n" in text
    assert "#   python cli.py fit --config results/search/s_best.yaml\n" in text
    assert "#   python cli.py search\n" in text
    complete = [trial for trial in record["trials"] if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: trial["error"])
    full = configuration("results/search/s_best.yaml")[0]
    assert full == base | best["settings"]
    Path("a.yaml").write_text(yaml.dump(base))  # which may be no base of a file elsewhere
    write_best(Path("results/search/s_best.yaml"), record, "a.yaml", base, tree)
    assert "base" not in (again := configuration("results/search/s_best.yaml")[0]) and full.items() <= again.items()


def test_another_search_has_another_name() -> None:
    row, space = "configs/article/5_dropout_relu.yaml", "configs/search/adamw.yaml"
    named = {flags: default_name(row, space, flags.split()) for flags in ("", "--data.root=r --threads 2")}
    assert {*named.values()} == {"5_dropout_relu_adamw"}, "the same search on another machine"
    assert default_name(row, space, ["--data.source=digits", "--trainer.max_epochs", "2"]) == (
        "5_dropout_relu_adamw_source_digits_max_epochs_2"
    )
    long = {default_name(row, space, [f"--optimizer={{class_path: {'a' * 200}{n}}}"]) for n in range(2)}
    assert len(long) == 2 and all(re.fullmatch(r"\w[\w.+-]*", name) and len(name) < 120 for name in long)


def test_what_is_another_search_under_a_taken_name_is_told_by_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("space.yaml").write_text("optimizer.init_args.lr: [0.1, 0.2]")
    monkeypatch.setattr("lecun_repro.commands.search.Searching", lambda *args: pytest.fail("a trial was begun"))
    row = str(CONFIGS / "quickstart.yaml")
    with pytest.raises(pytest.fail.Exception):
        search(row, "space.yaml", trials=3, name="s")
    told = (
        r"name: s, which .*: data.source was digits and is mnist; seeds was \[1337\] and is \[1337, 1338\]; allowed: "
    )
    with pytest.raises(BadArgument, match=told + r".* --name, .*: python cli.py search .*--trials 3 --name s$"):
        search(row, "space.yaml", trials=3, seeds=2, name="s", overrides=["--data.source", "mnist"])
    Path("results/search").mkdir(parents=True)
    shutil.copy(CONFIGS.parent / "results/search/adamw.json", "results/search/t.json")
    kept = Path("results/search/t.json").read_bytes()
    with pytest.raises(
        BadArgument,
        match=r"t.json, which has the results of another search: --config or a flag of fit was one and is another; ",
    ):
        search(row, "space.yaml", trials=3, name="t")
    assert Path("results/search/t.json").read_bytes() == kept and not Path("lightning_logs/search/t").exists()


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    for name in ("commands.search", "commands.search_trials", "runs.studies"):
        monkeypatch.delitem(sys.modules, f"lecun_repro.{name}")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit) as stop:
        main(["search", "--config", "a.yaml", "--space", "b.yaml", "--trials", "1"])
    told = "search needs optuna, which is not installed: pip install optuna"
    assert (stop.value.code, capsys.readouterr().err) == (2, f"lecun-repro: error: {told}\n")


BAD = {
    "--space space.yaml": "trials: missing; allowed: a number of trials, or --budget",
    "--space bad.yaml --trials 3": "optimizer.init_args.lrr: unknown key; allowed: keys such as",
    "--space low.yaml --trials 3": "optimizer.init_args.lr: -1.0; allowed: a finite number from 0",
    "--space space.yaml --trials 3 --name ../x": "name: ../x; allowed: letters",
    "--space space.yaml --trials 3 --sampler os._exit": "sampler: os._exit; allowed: a",
    "--space space.yaml --trials 3 --optimizer.lr 1": "optimizer.lr: 1; allowed: no flag",
    "--space nowhere.yaml --trials 3": "space: nowhere.yaml: no such file; allowed: a YAML",
}


@pytest.mark.slow
@pytest.mark.parametrize("flags", BAD)
def test_what_is_wrong_is_told_before_the_first_trial(flags: str, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_trials, "perform_one", lambda *args: pytest.fail("a fit was begun"))
    Path("space.yaml").write_text("optimizer.init_args.lr: [0.1, 0.2]")
    Path("bad.yaml").write_text("optimizer.init_args.lrr: [0.1, 0.2]")
    Path("low.yaml").write_text("optimizer.init_args.lr: {low: -1.0, high: 0.1}")
    row = str(CONFIGS / "article/5_dropout_relu.yaml")
    assert refused("search", "--config", row, *flags.split()).startswith(BAD[flags])


@pytest.mark.slow
def test_real_fits_without_test_digits_are_killed_and_go_on(real_data: Path, one_server) -> None:
    Path("data/mnist").mkdir(parents=True)
    for file in (real_data / "mnist").glob("train-*"):
        Path("data/mnist", file.name).symlink_to(file)
    Path("space.yaml").write_text("optimizer.init_args.lr: {low: 1.0e-5, high: 1.0e-2, log: true}")
    row = str(CONFIGS / "article/5_dropout_relu.yaml")
    flags = "--space space.yaml --trials 2 --name s --data.root data --data.train_size 60 --model.compile false"
    command = ["search", "--config", row, *flags.split(), "--trainer.max_epochs", "3"]
    process = subprocess.Popen([sys.executable, "-m", "lecun_repro", *command], start_new_session=True)
    while not list(Path("lightning_logs").rglob("last.ckpt")):
        time.sleep(0.02)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    main(command)
    found = json.loads(Path("results/search/s.json").read_text())
    assert [t["number"] for t in found["trials"]] == [0, 1]
    assert all((t["state"], len(t["curve"])) == ("complete", 3) for t in found["trials"])
    assert {fit["n"] for t in found["trials"] for fit in t["fits"]} == {12}
    assert "## What" in Path("results/search/s.md").read_text()
    assert Path("results/search/s_best.png").exists()
