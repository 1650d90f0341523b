"""Fits in processes of their own, several at a time: here, or on the machines of a Ray cluster.

A run's folder, `lightning_logs/<row>/seed_<seed>_<configuration>`, follows from its configuration. So a finished run is
found again, an interrupted one goes on from its last whole pass, and an edited YAML runs anew. A run that diverged
would do so again: it is not repeated.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import joblib
import torch
from tqdm import tqdm

from lecun_repro.errors import BadArgument, printable
from lecun_repro.files import read_json, write_atomically
from lecun_repro.runs.folders import in_use, save_dir
from lecun_repro.runs.forks import CHILD, Fork, ForkServer, ServerGone
from lecun_repro.runs.identity import config_hash
from lecun_repro.runs.progress import PIPE
from lecun_repro.runs.record import RESULTS, RULES
from lecun_repro.runs.results import as_text
from lecun_repro.runs.signals import Interrupted, StopSignals, say
from lecun_repro.training.divergence import FILE as DIVERGED

INHERITS = os.name == "posix"  # whether a process can be handed an open pipe; elsewhere the bar goes run by run

Process = subprocess.Popen | Fork


class Run(NamedTuple):
    """One fit; with all that a worker on another machine needs."""

    row: str
    seed: int
    yaml: str  # the row's file in full, whatever becomes of it meanwhile
    flags: list[str]
    folder: Path
    config_hash: str
    passes: int
    updates_per_pass: int
    unseen: bool = False  # whether it evaluates unseen digits, which runs of older versions did not
    rules: str | None = None  # see `RunResult`


def folder_of(row: str, config: dict[str, Any]) -> Path:
    """The folder of the run that a resolved configuration, with its seed, is.

    Its name stands beside every curve in TensorBoard; a longer one of earlier versions is kept.
    """
    folder = Path(save_dir(config["trainer"]["logger"])) / row
    longer = f"seed_{config['seed_everything']}_{config_hash(config)}"
    return folder / (longer if (folder / longer).exists() else longer[:-8])


class Outcome(NamedTuple):
    """What became of a run: the record that it left, `results.json` or `diverged.json`, or the last line it printed."""

    run: Run
    record: dict[str, Any] | None
    reason: str = ""

    @property
    def diverged(self) -> bool:
        return self.record is not None and "diverged" in self.record


class Fits:
    """The processes of the fits that are running, for whoever has to stop them.

    Attributes:
        server: What they are forked from, if anything.
    """

    def __init__(self) -> None:
        self.server: ForkServer | None = None
        self.stopping = False
        self._processes: set[Process] = set()
        self._told: set[str] = set()  # rows
        self._lock = threading.RLock()  # a signal's handler may interrupt its own thread

    def start(self, arguments: list[str], variables: dict[str, str], handed_on: dict[str, str]) -> Process:
        """A fit, whose outputs are one pipe; `handed_on` are open descriptors, by the variables that name them."""
        if self.server is not None:
            with suppress(ServerGone):
                return self.server.fork(arguments, variables, handed_on)
        return subprocess.Popen(
            [*CHILD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="backslashreplace",
            env=environment() | variables | handed_on, pass_fds=[*map(int, handed_on.values())],
        )  # fmt: skip

    def add(self, process: Process) -> None:
        with self._lock:
            self._processes.add(process)
            if self.stopping:
                process.terminate()

    def remove(self, process: Process) -> None:
        with self._lock:
            self._processes.discard(process)

    def tell(self, run: Run, notice: str) -> None:
        """Once for a row."""
        if run.row not in self._told:
            self._told.add(run.row)
            tqdm.write(printable(f"{run.row}, seed {run.seed}: {notice}"), file=sys.stderr)

    def stop(self) -> None:
        """Each ends with its running block of updates, and none is started any more."""
        say("lecun-repro: stopping each run after its running block of updates; once more to stop at once")
        self._each(lambda process: process.terminate())

    def kill(self) -> None:
        self._each(lambda process: process.kill())

    def _each(self, end: Callable[[Process], None]) -> None:
        self.stopping = True
        with self._lock:
            for process in self._processes:
                end(process)


def environment() -> dict[str, str]:
    """That of a fit's process."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"}


def fork_server() -> AbstractContextManager[ForkServer | None]:
    """What fits are forked from: on Linux, where forks are safe, and without a GPU, whose driver they may not be."""
    return ForkServer(environment()) if sys.platform == "linux" and not torch.cuda.is_available() else nullcontext()


def perform(runs: list[Run], jobs: int, backend: str) -> list[Outcome]:
    """Performs what is not there yet, `jobs` at a time. Returns the outcomes in the order of `runs`.

    Raises:
        Interrupted: SIGINT or SIGTERM. What is finished is kept.
    """
    todo = [run for run in runs if left_by(run) is None]
    updates = sum(run.passes * run.updates_per_pass for run in todo)
    fits = Fits()
    with (
        StopSignals(None if backend == "ray" else fits.stop) as signals,
        fork_server() if todo and backend == "local" else nullcontext() as fits.server,
        tqdm(total=updates, unit=" updates", unit_scale=True, desc=f"{len(todo)} runs", disable=None) as bar,
    ):
        try:
            if backend == "ray":
                outcomes = on_ray(todo, jobs)
            else:
                # Threads are enough, as each only waits for a process; they share the bar.
                calls = (joblib.delayed(perform_one)(run, bar.update, fits) for run in todo)
                outcomes = joblib.Parallel(n_jobs=jobs, backend="threading")(calls)
        except KeyboardInterrupt:
            fits.kill()
    if signals.received is not None:
        done = sum(left_by(run) is not None for run in runs)
        raise Interrupted(
            f"interrupted; {done} of {len(runs)} runs are done and kept, the same command goes on with the others",
            signals.exit_code,
        )
    for outcome in outcomes:
        keep(outcome)
    reasons = {outcome.run.folder: outcome.reason for outcome in outcomes}
    return [Outcome(run, left_by(run), reasons.get(run.folder, "")) for run in runs]


def keep(outcome: Outcome) -> None:
    """Writes the record of a run on a machine with another disk."""
    if outcome.record is not None and left_by(outcome.run) is None:
        outcome.run.folder.mkdir(parents=True, exist_ok=True)
        name = DIVERGED if outcome.diverged else RESULTS
        write_atomically(outcome.run.folder / name, as_text(outcome.record))


def on_ray(runs: list[Run], jobs: int) -> list[Outcome]:
    """The same runs as tasks of a Ray cluster. Raises UserError, see `started_ray`."""
    started_ray()
    from ray.util.joblib import register_ray

    register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=jobs):
        return joblib.Parallel()(joblib.delayed(perform_one)(run) for run in runs)


def started_ray() -> Any:
    """Ray, with a cluster: the one that RAY_ADDRESS or this machine's head names, else a local one.

    Raises:
        UserError: Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise BadArgument("backend", "ray, which is not installed", "local, or ray after `pip install ray`") from None
    if not ray.is_initialized():
        with _on_loopback():
            ray.init(log_to_driver=False, include_dashboard=False)
    return ray


@contextmanager
def _on_loopback() -> Iterator[None]:
    """A Ray that starts here, as no cluster is there to join, listens on the loopback alone.

    That it does on systems where it takes no other machines; elsewhere on every address, where whoever has its token
    may run what he likes.
    """
    from ray._private import ray_constants, services

    if services.canonicalize_bootstrap_address(None) is not None:  # type: ignore[arg-type]
        yield
        return
    with (
        mock.patch.dict(os.environ, {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}),  # for Ray's other processes
        mock.patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False),
    ):
        yield


def perform_one(
    run: Run,
    advance: Callable[[int], Any] = lambda updates: None,
    fits: Fits | None = None,
    goes_on: Callable[[int, float], bool] = lambda pass_, error: True,
) -> Outcome:
    """Runs one fit in a process of its own, from its last whole pass if it was interrupted.

    Args:
        run: The run.
        advance: Called with the number of updates performed since the last call, after each block of them.
        fits: Where the process is to be found while it runs.
        goes_on: Called after each pass with its number and the error of the evaluation split in percent, also for the
            passes that an interrupted run goes on from. Once it says no the run is ended, and it is called no more.
    """
    try:
        return _perform_one(run, advance, fits or Fits(), goes_on)
    except OSError as error:  # a folder that cannot be made, a full disk: this run's fault alone
        return Outcome(run, None, str(error))


def _perform_one(run: Run, advance: Callable[[int], Any], fits: Fits, goes_on: Callable[[int, float], bool]) -> Outcome:
    if fits.stopping:
        return Outcome(run, None, "not started")
    if in_use(run.folder):
        return Outcome(run, None, f"another process is running it in {run.folder}")
    checkpoint = run.folder / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file() and run.folder.exists():
        shutil.rmtree(run.folder)  # was interrupted in its first pass: nothing to go on from
    run.folder.mkdir(parents=True, exist_ok=True)
    config = run.folder / f"{run.row}.yaml"
    write_atomically(config, run.yaml)
    arguments = ["fit", "--config", str(config), *run.flags]
    arguments += ["--ckpt_path", str(checkpoint)] if checkpoint.is_file() else []
    counts, to_counts = os.pipe()
    handed_on = {PIPE: str(to_counts)} if INHERITS else {}
    try:
        process = fits.start(arguments, {RULES: run.rules} if run.rules else {}, handed_on)
    except BaseException:
        os.close(counts)
        raise
    finally:
        os.close(to_counts)
    follower = threading.Thread(
        target=follow, args=(counts, advance, goes_on, process.terminate, partial(fits.tell, run)), daemon=True
    )
    follower.start()
    with process:
        fits.add(process)
        try:
            assert process.stdout is not None
            output = process.stdout.read()
            process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            fits.remove(process)
    follower.join()
    if not handed_on and process.returncode == 0:
        advance(run.passes * run.updates_per_pass)
    write_atomically(run.folder / "fit.log", output)
    last_line = output.rstrip().rpartition("\n")[2] or "no output"
    return Outcome(run, left_by(run), f"exit code {process.returncode}: {last_line}")


def follow(
    pipe: int,
    advance: Callable[[int], Any],
    goes_on: Callable[[int, float], bool],
    end: Callable[[], Any],
    tell: Callable[[str], Any],
) -> None:
    """Follows what a fit writes, see `runs.progress`: advances by its updates, and ends it when it is not to go on."""
    done, wanted = 0, True
    with open(pipe, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#"):
                tell(line.strip("# \n"))
                continue
            count, *error = line.split()
            if not error:
                advance(int(count) - done)
                done = int(count)
            elif wanted and not (wanted := goes_on(int(count), float(error[0]))):
                end()


def left_by(run: Run) -> dict[str, Any] | None:
    """The record of a run that is done, its results or where it diverged; None where it left none."""
    for name in (RESULTS, DIVERGED):
        record = read_json(run.folder / name)
        if not isinstance(record, dict) or record.get("config_hash") != run.config_hash:
            continue
        if name == DIVERGED or "unseen" in record or not run.unseen:
            return record
    return None
