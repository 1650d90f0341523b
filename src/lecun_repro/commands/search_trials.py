"""The trials of a search, several at a time: each a setting, its fits, and a line when it has ended."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import joblib
from tqdm import tqdm

from lecun_repro.cli.build import resolve
from lecun_repro.cli.overlays import as_yaml, merged
from lecun_repro.cli.search_space import Choice, Range, settings
from lecun_repro.commands.reproduce import plan_row
from lecun_repro.errors import UserError, printable
from lecun_repro.report.searches import short, value_of
from lecun_repro.runs.fits import Fits, Outcome, Run, fork_server, keep, perform_one, started_ray
from lecun_repro.runs.results import RunResult
from lecun_repro.runs.signals import Interrupted, StopSignals
from lecun_repro.runs.studies import Studies, TrialState, optuna
from lecun_repro.runs.trials import Answers

MOST_FAILURES = 3  # one after the other


class Plan(NamedTuple):
    """What is searched."""

    name: str
    base: dict[str, Any]  # the searched file in full
    tree: dict[str, Any]  # what may be changed in it
    flags: list[str]  # of every fit
    folds: list[str]  # held out by turns; '' for the configuration's holdout
    seeds: list[int]

    def runs(self, change: dict[str, Any]) -> list[Run]:
        """The fits that answer a change. Raises UserError for one that no fit takes."""
        tree, runs = merged(self.base, change), []
        held_out = [["--data.fold", fold] if fold else [] for fold in self.folds]
        config = resolve(as_yaml(tree), [*self.flags, *held_out[0]])
        for fold, flags in zip(self.folds, held_out, strict=True):
            resolved = config | {"data": config["data"] | ({"fold": fold} if fold else {})}
            text = as_yaml(tree, in_braces=False)
            runs += plan_row(self.name, text, resolved, self.seeds, False, [*self.flags, *flags])
        return runs


def suggested(trial: optuna.Trial) -> Callable[[str, Range | Choice], Any]:
    """What Optuna suggests for a range or a choice."""

    def suggest(name: str, spec: Range | Choice) -> Any:
        if isinstance(spec, Choice):
            return trial.suggest_categorical(name, [*spec.values])
        step = {} if spec.step is None else {"step": spec.step}
        method: Callable[..., Any] = trial.suggest_int if spec.integer else trial.suggest_float
        return method(name, spec.low, spec.high, log=spec.log, **step)

    return suggest


class Searching:
    """Asks for trials and answers them, until there are enough, the time is over, or a signal comes.

    Args:
        plan: What is searched.
        studies: Where trials come from.
        most: Trials in all; None for no end.
        seconds: After which none is begun, with what those of a search that goes on have taken.
        jobs: Trials at a time.
        backend: `local` or `ray`.

    Attributes:
        failures: Trials that failed here.
        last_failure: Of the last of them, a colon and the reason.
    """

    def __init__(self, plan: Plan, studies: Studies, most: int | None, seconds: float, jobs: int, backend: str) -> None:
        self.plan, self.studies, self.most, self.jobs = plan, studies, most, jobs
        self.perform = self._on_ray() if backend == "ray" else perform_one
        self.fits = Fits()
        self.failures, self.last_failure = 0, ""
        self._failures_in_a_row = 0
        self._parser = threading.Lock()  # which keeps what it has seen
        self._begun, self._done_before = time.monotonic(), len(self._finished())
        spent = sum(fit["seconds"] for trial in self._finished() for fit in trial.user_attrs.get("fits", [])) / jobs
        self._ends = self._begun + seconds - spent

    def run(self) -> None:
        """Raises Interrupted for SIGINT or SIGTERM; what is finished is kept, and what is not goes on."""
        with (
            StopSignals(self.fits.stop) as signals,
            fork_server() if self.perform is perform_one else nullcontext() as self.fits.server,
            tqdm(total=self.most, desc=self.plan.name, bar_format="{desc}", disable=None) as self.bar,
        ):
            self._show()
            try:
                # Threads are enough, as each only waits for a process.
                work = [joblib.delayed(self._work)() for _ in range(self.jobs)]
                joblib.Parallel(n_jobs=self.jobs, backend="threading")(work)
            except KeyboardInterrupt:
                self.fits.kill()
        if signals.received is not None:
            done = len(self._finished())
            raise Interrupted(
                f"interrupted; {done} trials are done and kept, the same command goes on with the others",
                signals.exit_code,
            )

    def counts(self) -> Counter[str]:
        """Trials by state; diverged ones are no complete ones."""
        return Counter("DIVERGED" if t.user_attrs.get("diverged") else t.state.name for t in self._finished())

    def _finished(self) -> list[optuna.trial.FrozenTrial]:
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return self.studies.study().get_trials(deepcopy=False, states=states)

    def _work(self) -> None:
        try:
            while not self.fits.stopping and time.monotonic() < self._ends:
                with self.studies.next_trial(self.most) as trial:
                    if trial is None:
                        return
                    self._answer(trial)
                if self._failures_in_a_row >= MOST_FAILURES:
                    raise UserError(f"{MOST_FAILURES} trials in a row failed{self.last_failure}")
        except Exception:
            if not self.fits.stopping and self.jobs > 1:
                self.fits.stop()  # the other threads'
            raise

    def _answer(self, trial: optuna.Trial) -> None:
        """Performs a trial and says how it ended; one that a signal cuts off stays open, to be gone on with."""
        change = settings(self.plan.tree, suggested(trial))
        try:
            with self._parser:
                runs = self.plan.runs(change)
        except UserError as refused:
            return self._fail(trial, str(refused))
        reported = trial.storage.get_trial(trial._trial_id).intermediate_values
        answers = Answers(
            runs, lambda step, error: trial.report(error, step), trial.should_prune, reported, self.perform
        )
        answers.get(self.fits, lambda updates: self._show())
        trial.set_user_attr("fits", [fit_of(run, result) for run, result in zip(runs, answers.results, strict=False)])
        if answers.ended is not None:
            fit, pass_, error = answers.ended
            of = f" of fit {fit} of {len(runs)}" if len(runs) > 1 else ""
            note = f"after pass {pass_} of {runs[fit - 1].passes}{of}, at {error:.2f} %"
            self._tell(trial, f"pruned {note}", note=note, state=TrialState.PRUNED)
        elif answers.diverged:
            self._tell(
                trial, f"diverged, {answers.diverged}", note=answers.diverged, diverged=True, values=answers.error
            )
        elif len(answers.results) == len(runs):
            self._tell(trial, f"{answers.error:.2f} % held out", values=answers.error)
        elif not self.fits.stopping:
            self._fail(trial, answers.failure)

    def _fail(self, trial: optuna.Trial, reason: str) -> None:
        self.failures, self.last_failure = self.failures + 1, f": {reason}"
        self._failures_in_a_row += 1
        print(printable(f"failed: trial {trial.number}: {reason}"), file=sys.stderr)
        self._tell(trial, "", note=reason, state=TrialState.FAIL)

    def _tell(self, trial: optuna.Trial, line: str, note: str = "", diverged: bool = False, **how: Any) -> None:
        trial.set_user_attr("note", note)
        trial.set_user_attr("diverged", diverged)
        trial.study.tell(trial, **how)
        if line:
            self._failures_in_a_row = 0
            of = ", ".join(f"{short(name)} {value_of(value)}" for name, value in trial.params.items())
            tqdm.write(printable(f"trial {trial.number}: {line} ({of})"), file=sys.stdout)
        self._show()

    def _show(self) -> None:
        """On a terminal: how many trials are done and pruned, the best error so far, and the time left."""
        if self.bar.disable:
            return
        finished = self._finished()
        errors = [trial.value for trial in finished if trial.state == TrialState.COMPLETE and trial.value is not None]
        pruned = sum(trial.state == TrialState.PRUNED for trial in finished)
        self.bar.set_description_str(
            progress(len(finished), self.most, pruned, min(errors, default=None), self._seconds_left(len(finished)))
        )

    def _seconds_left(self, done: int) -> float | None:
        """By the time that the trials have taken here, or by the budget, whichever ends first; None if unknown."""
        now, here = time.monotonic(), done - self._done_before
        left = self._ends - now
        if self.most is not None and here:
            left = min(left, (now - self._begun) / here * (self.most - done))
        return max(0.0, left) if left < float("inf") else None

    def _on_ray(self) -> Callable[..., Outcome]:
        ray = started_ray()
        task = ray.remote(perform_one)

        def perform(run: Run, *others: Any) -> Outcome:
            keep(outcome := ray.get(task.remote(run)))
            return outcome

        return perform


def progress(done: int, most: int | None, pruned: int, best: float | None, left: float | None) -> str:
    """`12 of 50 trials, 3 pruned, best 1.85 %, 0:10:23 left`."""
    parts = [f"{done} of {most} trials" if most else f"{done} trials", f"{pruned} pruned"]
    parts += [] if best is None else [f"best {best:.2f} %"]
    if left is not None:
        minutes, seconds = divmod(int(left), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left")
    return ", ".join(parts)


def fit_of(run: Run, result: RunResult) -> dict[str, Any]:
    """A fit as a search's results have it."""
    split = result.evaluation
    return {
        "fold": result.fold or "", "seed": run.seed, "error": split.error, "misses": split.misses, "n": split.n,
        "missed": split.missed, "seconds": result.fit_seconds, "config_hash": run.config_hash,
    }  # fmt: skip
