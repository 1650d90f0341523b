"""A trial of a search: the fits that answer it, one after the other, ended early where its pruner says so."""

import json
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

from lecun_repro.files import write_atomically
from lecun_repro.runs.fits import Fits, Outcome, Run, left_by, perform_one
from lecun_repro.runs.results import RunResult

WORST = 100.0  # percent: what a fit whose loss was no longer finite counts as
ENDED = "pruned.json"


class Ended(NamedTuple):
    """Where a trial was ended."""

    fit: int  # from 1
    pass_: int
    error: float  # percent, after that pass


class Answers:
    """Performs the fits of one trial.

    Args:
        runs: The fits, in their order.
        report: Takes the passes performed so far over all fits, and the error after them in percent.
        hopeless: Whether the trial is to be ended, after what was reported last.
        reported: The passes reported already, of a trial that goes on.
        perform: Performs one fit, as `perform_one` does.

    Attributes:
        results: Of the fits that are done.
        ended: Where the trial was ended, if it was.
        failure: The line of a fit that left nothing.
        diverged: Where a fit's loss was no longer finite.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        report: Callable[[int, float], Any],
        hopeless: Callable[[], bool],
        reported: Collection[int] = (),
        perform: Callable[..., Outcome] = perform_one,
    ) -> None:
        self.runs, self.report, self.hopeless, self.perform = runs, report, hopeless, perform
        self.reported = set(reported)
        self._decided = self.reported - {max(self.reported, default=0)}  # of the last one that may be open
        self.results: list[RunResult] = []
        self.ended: Ended | None = None
        self.failure, self.diverged = "", ""
        self._fault: Exception | None = None

    def get(self, fits: Fits, advance: Callable[[int], Any] = lambda updates: None) -> None:
        """Performs what is not there yet, until one fit leaves nothing, diverges, or the trial is ended."""
        before = 0
        for number, run in enumerate(self.runs, start=1):
            goes_on = partial(self._goes_on, number, before)
            record = left_by(run)
            if record is None:
                outcome = self.perform(run, advance, fits, goes_on)
                record, self.failure = outcome.record, "" if outcome.record else outcome.reason
            if self._fault is not None:
                raise self._fault
            if self.ended is not None:
                self._say_so(run)
                return
            if record is None:
                return
            if "diverged" in record:
                self.diverged = f"fit {number}: {record['diverged']['of']} in pass {record['diverged']['pass']}"
                return
            result = RunResult.read(record, f"{run.folder}: ")
            for entry in result.curve:  # of a fit that was there, or from a machine that tells nothing meanwhile
                if not goes_on(entry.pass_, entry.splits[result.evaluation_split].error):
                    return
            self.results.append(result)
            before += run.passes

    def _goes_on(self, number: int, before: int, pass_: int, error: float) -> bool:
        step, last = before + pass_, sum(run.passes for run in self.runs)
        if step not in self._decided and self.ended is None:
            self._decided.add(step)
            try:
                if step not in self.reported:
                    self.report(step, error)
                if step < last and self.hopeless():
                    self.ended = Ended(number, pass_, error)
            except Exception as fault:  # of the journal; told once the fit is done
                self._fault = fault
        return self.ended is None and self._fault is None

    @property
    def error(self) -> float:
        """The mean over the fits of the error after their last passes, in percent."""
        return WORST if self.diverged else sum(result.evaluation.error for result in self.results) / len(self.runs)

    def _say_so(self, run: Run) -> None:
        """Leaves word in the folder of a fit that was ended; what it has done stays, should it be wanted again."""
        if run.folder.is_dir() and self.ended is not None:
            record = {"pruned": {"pass": self.ended.pass_, "error": self.ended.error}, "config_hash": run.config_hash}
            write_atomically(run.folder / ENDED, json.dumps(record, indent=1) + "\n")
