"""A search's study: Optuna's own, in a journal, whose trials follow from their history alone, also after a kill."""

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse._util import import_object

from lecun_repro.errors import BadArgument, UserError, one_line, shown
from lecun_repro.runs.folders import alone, lock
from lecun_repro.runs.resume import differences, flat

try:
    import optuna
    from optuna.pruners import BasePruner, MedianPruner
    from optuna.samplers import BaseSampler, GridSampler, QMCSampler, TPESampler
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
    from optuna.trial import FrozenTrial, TrialState
except ImportError:
    raise UserError("search needs optuna, which is not installed: pip install optuna") from None

__all__ = [
    "BasePruner",
    "BaseSampler",
    "MedianPruner",
    "Studies",
    "TPESampler",
    "TrialState",
    "builder",
    "optuna",
    "spelled",
]
optuna.logging.set_verbosity(optuna.logging.WARNING)
JOURNAL, RULES, EXHAUSTED = "journal.log", "rules", "exhausted"
MOST_TOLD = 3  # differences, in one line


class OfHistory(BaseSampler):
    """A sampler that is made anew for each trial, and seeded by its number.

    What a trial is suggested then depends on the trials before it alone, and on nothing that a killed process has
    taken with it: a trial that is begun again is suggested the same.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self.make, self.seed = make, seed

    def of(self, trial: FrozenTrial, name: str = "") -> BaseSampler:
        whole = self.make(self.seed)
        if isinstance(whole, GridSampler | QMCSampler):  # one order of points for all trials, by the seed
            return whole
        digest = hashlib.sha256(f"{self.seed} {trial.number} {name}".encode()).digest()
        return self.make(int.from_bytes(digest[:4]))

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.inner = self.of(trial)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, distribution: Any) -> Any:
        return self.of(trial, param_name).sample_independent(study, trial, param_name, distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.inner.after_trial(study, trial, state, values)


class Studies:
    """A study for threads and processes that share it: each is given it with a sampler of its own.

    Args:
        folder: Where the journal lies.
        name: The study's name in it.
        rules: What makes it this search and no other: JSON.
        sampler: Takes a seed, and makes a sampler.
        seed: The sampler's.
        notes: What is kept with the rules of the first search, and not compared: the `command`, its `configuration`
            as `runs.resume.carried` tells it.

    Raises:
        BadArgument: The journal cannot be read, or has a search of other rules.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        rules: dict[str, Any],
        sampler: Callable[[int], BaseSampler],
        seed: int,
        pruner: BasePruner,
        notes: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.name, self.sampler, self.seed, self.pruner = folder, name, sampler, seed, pruner
        (folder / "running").mkdir(parents=True, exist_ok=True)
        journal = (folder / JOURNAL).resolve()  # Optuna never gives up a killed process's lock beside a relative path
        with alone(self.folder, pause=0.02):
            mend(journal)
            try:
                self.storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
                study = optuna.create_study(storage=self.storage, study_name=name, load_if_exists=True)
            except (ValueError, KeyError, TypeError) as error:
                what = f"{name}, whose journal {journal} cannot be read ({error})"
                raise BadArgument("name", what, "the name of a search, or a new one") from None
            before = study.user_attrs.get(RULES)
            if before is None:
                study.set_user_attr(RULES, {**rules, **(notes or {})})
            elif differing := changes({**rules, **(notes or {})}, before, rules):
                what = f"{name}, which {folder} has a search of, begun with other settings: {differing}"
                begun = f": {before['command']}" if "command" in before else ""
                raise BadArgument("name", what, f"another one, by --name, or the command it was begun with{begun}")

    def study(self) -> optuna.Study:
        sampler = OfHistory(self.sampler, self.seed)
        return optuna.load_study(study_name=self.name, storage=self.storage, sampler=sampler, pruner=self.pruner)

    @contextmanager
    def next_trial(self, most: int | None) -> Iterator[optuna.Trial | None]:
        """A trial that is this thread's while the block runs: one that a process has left behind, else a new one.

        None once there are `most`, or all that the sampler has.
        """
        study, held = self.study(), None
        study._thread_local.in_optimize_loop = True  # a sampler with nothing left then says so by a flag
        with alone(self.folder, pause=0.02):
            for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if (held := self._hold(left.number)) is None:
                    continue
                if self.storage.get_trial(left._trial_id).state == TrialState.RUNNING:
                    trial: optuna.Trial | None = optuna.Trial(study, left._trial_id)
                    break
                self._release(left.number, held)  # it has ended meanwhile
            else:
                enough = most is not None and len(study.get_trials(deepcopy=False)) >= most
                trial = None if enough or study.user_attrs.get(EXHAUSTED) else study.ask()
                held = None if trial is None else self._hold(trial.number)
        try:
            yield trial
        finally:
            if study._stop_flag:
                study.set_user_attr(EXHAUSTED, True)
            if trial is not None and held is not None:
                self._release(trial.number, held)

    def _hold(self, number: int) -> int | None:
        """Keeps a trial for this process while it lives; None where another one has it."""
        path = self.folder / "running" / str(number)
        path.touch()
        try:
            return lock(path)
        except BlockingIOError:
            return None

    def _release(self, number: int, held: int) -> None:
        (self.folder / "running" / str(number)).unlink(missing_ok=True)
        os.close(held)


def changes(now: dict[str, Any], before: dict[str, Any], compared: Iterable[str]) -> str:
    """What differs between the rules of two searches in the keys `compared`, in words; empty if nothing does."""
    found: list[tuple[str, Any, Any]] = []
    for key in compared:
        if (value := now[key]) == (former := before.get(key)):
            continue
        if key == "config":
            ours, theirs = now.get("configuration"), before.get("configuration")
            inside = [*differences(ours, theirs, ())] if ours and theirs else []
            found += inside or [("--config or a flag of fit", "another", "one")]
        elif isinstance(value, dict) and isinstance(former, dict):
            ours, theirs = flat(value), flat(former)
            keys = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
            found += [(f"{key}: {name}", ours.get(name), theirs.get(name)) for name in keys]
        else:
            found.append((key, value, former))
    told = [f"{key} was {shown(former)} and is {shown(value)}" for key, value, former in found]
    return "; ".join([*told[:MOST_TOLD], *(["…"] if told[MOST_TOLD:] else [])])


def mend(journal: Path) -> None:
    """Cuts off the line that a process was writing when it was killed, which Optuna could not read past."""
    if not journal.is_file():
        return
    writers = JournalFileSymlinkLock(str(journal))
    writers.acquire()
    try:
        with open(journal, "r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
    finally:
        writers.release()


def spelled(spec: Any) -> dict[str, Any] | None:
    """A class as it was given, as plain values: `class_path`, and those `init_args` that are not at their defaults."""
    if spec is None:
        return None
    plain = json.loads(json.dumps(spec.as_dict() if hasattr(spec, "as_dict") else spec))
    defaults = inspect.signature(import_object(plain["class_path"])).parameters
    arguments = (plain.get("init_args") or {}).items()
    return plain | {"init_args": {n: v for n, v in arguments if n not in defaults or v != defaults[n].default}}


def builder(key: str, spec: dict[str, Any] | None, default: Callable[..., Any], **arguments: Any) -> Callable[..., Any]:
    """Makes objects of a class as `spelled`, or of `default` with `arguments`; given a seed, if the class takes one.

    Raises:
        BadArgument: The class that `key` configures cannot be built with these arguments.
    """
    if spec is not None:
        default, arguments = import_object(spec["class_path"]), spec["init_args"]
    parameters = inspect.signature(default).parameters

    def make(seed: int | None = None) -> Any:
        seeded = {"seed": seed} if seed is not None and "seed" in parameters else {}
        return default(**arguments | seeded)

    try:
        make(0)
    except Exception as error:  # of Optuna's checks, or for want of a package
        given = spec["class_path"] if spec else None
        raise BadArgument(key, given, f"a class that can be built ({one_line(str(error))[:200]})") from None
    return make
