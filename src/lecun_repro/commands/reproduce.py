"""`reproduce`: configurations x seeds, each an ordinary `fit` in a process of its own.

A run's folder, `lightning_logs/<row>/seed_<seed>_<configuration>`, follows from its configuration. So a finished run is
found again, an interrupted one goes on from its last whole pass, and an edited YAML runs anew. A run that diverged
would do so again: it is not repeated, and kept apart in `<results>_diverged.json`.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import joblib
from jsonargparse.typing import NonNegativeInt, PositiveInt
from tqdm import tqdm

from lecun_repro.cli.build import resolve
from lecun_repro.cli.overlays import text_in_full
from lecun_repro.data.plan import plan as plan_data
from lecun_repro.errors import BadArgument
from lecun_repro.files import write_atomically
from lecun_repro.report.results import by_row
from lecun_repro.runs.folders import in_use
from lecun_repro.runs.identity import config_hash
from lecun_repro.runs.progress import PIPE
from lecun_repro.runs.record import RESULTS
from lecun_repro.runs.results import DivergedRun, RunResult
from lecun_repro.runs.signals import Interrupted, StopSignals, say
from lecun_repro.training.divergence import FILE as DIVERGED

FIRST_SEED = 1337


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


class Outcome(NamedTuple):
    """What became of a run: the record that it left, `results.json` or `diverged.json`, or the last line it printed."""

    run: Run
    record: dict[str, Any] | None
    reason: str = ""

    @property
    def diverged(self) -> bool:
        return self.record is not None and "diverged" in self.record


class Fits:
    """The processes of the fits that are running, for whoever has to stop them."""

    def __init__(self) -> None:
        self.stopping = False
        self._processes: set[subprocess.Popen] = set()
        self._lock = threading.RLock()  # a signal's handler may interrupt its own thread

    def add(self, process: subprocess.Popen) -> None:
        with self._lock:
            self._processes.add(process)
            if self.stopping:
                process.terminate()

    def remove(self, process: subprocess.Popen) -> None:
        with self._lock:
            self._processes.discard(process)

    def stop(self) -> None:
        """Each ends with its running block of updates, and none is started any more."""
        self.stopping = True
        say("lecun-repro: stopping each run after its running block of updates; once more to stop at once")
        with self._lock:
            for process in self._processes:
                process.terminate()

    def kill(self) -> None:
        self.stopping = True
        with self._lock:
            for process in self._processes:
                process.kill()


def reproduce(
    configs: str | list[str] = "configs/article",
    seeds: PositiveInt | list[NonNegativeInt] = 5,  # type: ignore[valid-type]
    jobs: PositiveInt = 1,  # type: ignore[valid-type]
    out: str | None = None,
    source: str | None = None,
    vary_draw: bool = False,
    backend: Literal["local", "ray"] = "local",
    overrides: list[str] | None = None,
) -> None:
    """Trains configurations over several seeds, and writes the results with their report.

    Flags of `fit` may follow and go to every run (`--trainer.max_epochs 2`, `--data.root …`).

    Args:
        configs: A folder of YAML files, or files.
        seeds: How many seeds, from 1337 on, or a list of seeds: `--seeds 5`, `--seeds [1337,7]`.
        jobs: Runs at a time; one per core is fastest.
        out: Folder of the results. Default: `results` for MNIST and for configurations on `usps` as they are,
            `lightning_logs/results_<source>` for others.
        source: Take the digits from another source in every run: `mnist`, `digits`, `usps` or one of your own.
        vary_draw: Draw other digits with every seed: the draw's seed is then the run's.
        backend: `local`, or `ray` for the Ray cluster that this machine belongs to.
        overrides: Flags of `fit`.
    """
    files = config_files(configs)
    extra = [*(["--data.source", source] if source else []), *(overrides or [])]
    seed_list = list(range(FIRST_SEED, FIRST_SEED + seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    resolved = {row_of(file): resolve(str(file), extra) for file in files}
    sources = {config["data"]["source"] for config in resolved.values()}
    runs = [run for file in files for run in plan(file, resolved[row_of(file)], seed_list, vary_draw, extra)]
    if out is None:
        as_they_are = sources == {"usps"} and not any(flag.split("=")[0] == "--data.source" for flag in extra)
        own = as_they_are or sources == {"mnist"}
        out = "results" if own else f"lightning_logs/results_{'_'.join(sorted(sources))}"

    name = files[0].parent.name or row_of(files[0])  # of the folder; a file beside the user is on its own
    path = Path(out) / f"{name}{'_draws' if vary_draw else ''}.json"
    apart = path.with_name(f"{path.stem}_diverged.json")
    by_row(path, RunResult.read)  # what is wrong with those to put others among is told before the runs
    by_row(apart, DivergedRun.read)

    outcomes = perform(runs, jobs, backend)

    def current(row: str, seed: int) -> str | None:
        return config_hash(for_seed(resolved[row], seed, vary_draw)) if row in resolved else None

    collect(path, [outcome.record for outcome in outcomes if outcome.record and not outcome.diverged], current)
    collect(apart, [outcome.record for outcome in outcomes if outcome.record and outcome.diverged], current)

    from lecun_repro.commands.report import report  # matplotlib, which the runs do not need

    report(str(path))
    for run, record, reason in outcomes:
        if record is None:
            print(f"failed: {run.row}, seed {run.seed}: {reason}", file=sys.stderr)
        elif "diverged" in record:
            where = DivergedRun.read(record, f"{run.folder}: ").diverged
            print(f"diverged: {run.row}, seed {run.seed}: {where}; kept in {apart}", file=sys.stderr)
    if any(outcome.record is None for outcome in outcomes):
        raise SystemExit(1)


def config_files(configs: str | list[str]) -> list[Path]:
    """The YAML files named, or those of a folder, in the order of their names."""
    paths = [Path(path) for path in ([configs] if isinstance(configs, str) else configs)]
    files = [file for path in paths for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
    if not files:
        raise BadArgument("configs", configs, "YAML files, or a folder of them")
    for file in files:
        if not file.is_file():
            raise BadArgument("configs", f"{file}, which is not there", "YAML files, or a folder of them")
    return files


def row_of(file: Path) -> str:
    return file.stem


def plan(file: Path, config: dict[str, Any], seeds: list[int], vary_draw: bool, extra: list[str]) -> list[Run]:
    """The runs of one file, resolved as `config`."""
    trainer = config["trainer"]
    updates = plan_data(**config["data"]).updates(trainer["limit_train_batches"])
    logs = trainer["logger"]["init_args"]["save_dir"] if isinstance(trainer["logger"], dict) else "lightning_logs"
    runs, text = [], text_in_full(file)
    for seed in seeds:
        digest = config_hash(for_seed(config, seed, vary_draw))
        folder = Path(logs) / row_of(file) / f"seed_{seed}_{digest}"
        flags = [*extra, "--seed_everything", str(seed), "--trainer.logger.init_args.version", folder.name]
        flags += ["--trainer.logger.init_args.name", row_of(file)]  # that of a copied YAML may be another row's
        flags += ["--data.draw", str(seed)] if vary_draw else []
        passes = trainer["max_epochs"]
        runs.append(Run(row_of(file), seed, text, flags, folder, digest, passes, updates))
    return runs


def for_seed(config: dict[str, Any], seed: int, vary_draw: bool) -> dict[str, Any]:
    """A resolved configuration as a run with this seed resolves it."""
    data = config["data"] | ({"draw": seed} if vary_draw else {})
    return config | {"seed_everything": seed, "data": data}


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
    for outcome in outcomes:  # from a machine with another disk
        if outcome.record is not None and left_by(outcome.run) is None:
            outcome.run.folder.mkdir(parents=True, exist_ok=True)
            name = DIVERGED if outcome.diverged else RESULTS
            write_atomically(outcome.run.folder / name, json.dumps(outcome.record, indent=1) + "\n")
    reasons = {outcome.run.folder: outcome.reason for outcome in outcomes}
    return [Outcome(run, left_by(run), reasons.get(run.folder, "")) for run in runs]


def on_ray(runs: list[Run], jobs: int) -> list[Outcome]:
    """The same runs as tasks of a Ray cluster: the one that RAY_ADDRESS or this machine's head names, else a local one.

    Raises:
        UserError: Ray is not installed.
    """
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise BadArgument(
            "backend", "ray, which is not installed", "local, or after `pip install lecun-repro[cluster]` ray"
        ) from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=jobs):
        return joblib.Parallel()(joblib.delayed(perform_one)(run) for run in runs)


def perform_one(run: Run, advance: Callable[[int], Any] = lambda updates: None, fits: Fits | None = None) -> Outcome:
    """Runs one fit in a process of its own, from its last whole pass if it was interrupted.

    Args:
        run: The run.
        advance: Called with the number of updates performed since the last call, after each block of them.
        fits: Where the process is to be found while it runs.
    """
    try:
        return _perform_one(run, advance, fits or Fits())
    except OSError as error:  # a folder that cannot be made, a full disk: this run's BadArgument alone
        return Outcome(run, None, str(error))


def _perform_one(run: Run, advance: Callable[[int], Any], fits: Fits) -> Outcome:
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
    command = [sys.executable, "-m", "lecun_repro.child", "fit", "--config", str(config), *run.flags]
    command += ["--ckpt_path", str(checkpoint)] if checkpoint.is_file() else []
    counts, to_counts = os.pipe()
    follower = threading.Thread(target=follow, args=(counts, advance), daemon=True)
    follower.start()
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", PIPE: str(to_counts)}, pass_fds=[to_counts],
        )  # fmt: skip
    finally:
        os.close(to_counts)
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
    write_atomically(run.folder / "fit.log", output)
    last_line = output.rstrip().rpartition("\n")[2] or "no output"
    return Outcome(run, left_by(run), f"exit code {process.returncode}: {last_line}")


def follow(pipe: int, advance: Callable[[int], Any]) -> None:
    """Advances by the updates of a fit, which writes how many it has performed, see `runs.progress`."""
    done = 0
    with open(pipe) as counts:
        for count in map(int, counts):
            advance(count - done)
            done = count


def left_by(run: Run) -> dict[str, Any] | None:
    """The record of a run that is done, its results or where it diverged; None where it left none."""
    for name in (RESULTS, DIVERGED):
        try:
            record = json.loads((run.folder / name).read_text())
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and record.get("config_hash") == run.config_hash:
            return record
    return None


def collect(path: Path, fresh: list[dict[str, Any]], current: Callable[[str, int], str | None]) -> None:
    """Puts fresh results among those in `path`, in the order of rows and seeds.

    Args:
        path: A JSON list of `results.json` objects; made if absent. One of runs that diverged is there if any did.
        fresh: Records to add; each takes the place of an older one of its row and seed.
        current: The hash that records of a row and seed have to have, None for rows not asked for; others are dropped.
    """
    kept = json.loads(path.read_text()) if path.exists() else []
    by_key = {(r["row"], r["seed"]): r for r in [*kept, *fresh]}
    records = [r for (row, seed), r in sorted(by_key.items()) if current(row, seed) in (None, r["config_hash"])]
    if not records and path.name.endswith("_diverged.json"):
        return path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ",\n".join(map(json.dumps, records))
    write_atomically(path, f"[\n{text}\n]\n")
