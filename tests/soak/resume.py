"""Resume is exact: fits killed at random moments, and within the writing of their files, and gone on with.

    python tests/soak/resume.py --points 50

Each ends with the weights, the optimizer's state, the curve and the results.json (times aside) of one never disturbed,
to the last bit, or the script says where it differs and ends with 1. Half of the fits are compiled; one in ten goes
through `reproduce`, killed and started again.
"""

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import fits
from cases import arguments, end

from lecun_repro.runs.checkpoints import load_checkpoint

LAST = fits.FOLDER / "checkpoints/last.ckpt"


@contextmanager
def undisturbed(compile: bool, folder: Path) -> Iterator[tuple[dict[str, Any], float]]:
    """What a fit leaves that runs to its end, and the seconds it takes, what it compiles being compiled."""
    if compile:
        fits.fit(folder / "warm", fits.arguments(compile))
    seconds = fits.fit(folder / "whole", fits.arguments(compile))
    yield fits.left(folder / "whole" / fits.FOLDER), seconds


def kill_and_resume(
    folder: Path, compile: bool, seconds: float, injection: fits.Prepare | None = None, passes: int = 0
) -> str:
    """A fit killed after some seconds, or by an injection, and gone on with to its end. Returns what was there then.

    Args:
        folder: Where it runs.
        compile: Whether its updates are compiled.
        seconds: When it is killed, counted from its start.
        injection: Kills it instead.
        passes: The seconds are counted from the end of this many passes.

    Raises:
        UserError: What the killed fit left under the name of a checkpoint is none.
    """
    process = fits.start(folder, fits.arguments(compile), injection)
    while process.is_alive() and passes_of(folder) < passes:
        time.sleep(0.005)
    process.join(None if injection else seconds)
    process.kill()
    process.join()
    if process.exitcode == 0:
        return "finished before"
    there = (folder / LAST).is_file()
    if there:
        load_checkpoint(folder / LAST)  # complete or absent
    fits.fit(folder, fits.arguments(compile, *(["--ckpt_path", LAST] if there else [])))
    return "resumed from a checkpoint" if there else "started again"


def passes_of(folder: Path) -> int:
    """Passes that a fit has said it evaluated."""
    output = folder / "output.txt"
    return output.read_text().count(", split train.") if output.exists() else 0


def reproduce_twice(folder: Path, seconds: float) -> str:
    """`reproduce` killed after some seconds, its runs with it, and called again."""
    (folder / "configs").mkdir(parents=True)
    shutil.copy(fits.ROW_5, folder / "configs")
    _, _, _, *flags = fits.arguments(False)
    flags = flags[: flags.index("--trainer.logger.init_args.version")]
    command = ["reproduce", "--configs", "configs", "--seeds", "1", *flags]
    process = fits.start(folder, command)
    process.join(seconds)
    process.kill()
    process.join()
    time.sleep(0.5)  # the run notices that it is alone
    logs = folder / "lightning_logs/5_dropout_relu"
    if list(logs.glob("*/results.json")):
        came = "finished before"
    else:
        came = "resumed from a checkpoint" if list(logs.glob("*/checkpoints/last.ckpt")) else "started again"
    fits.fit(folder, command)
    (run,) = logs.iterdir()
    run.rename(run.with_name("run"))
    return came


def doubled_passes(folder: Path) -> int:
    """Passes that the event files hold twice, with the same values; ValueError if the values differ."""
    doubled = set()
    for (tag, step), values in fits.scalars(folder).items():
        if len(set(values)) > 1:
            raise ValueError(f"{tag} of pass {step} has several values: {values}")
        if len(values) > 1:
            doubled.add(step)
    return len(doubled)


def soak(points: int, seed: int, base: Path, modes: Sequence[bool] = (False, True)) -> tuple[Counter[str], list[str]]:
    """Counts of what happened, and the faults found. `modes`: eager, compiled or both in turn."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    faults = []
    expected = {}
    for compile in {*modes, False}:
        with undisturbed(compile, base / f"compile_{compile}") as whole:
            expected[compile] = whole
    number = attempts = 0
    while number < points:
        attempts += 1
        compile, folder = modes[number % len(modes)], base / f"point_{attempts}"
        what, seconds = expected[compile]
        passes = {False: 6, True: 12}[compile]
        moment, injection = "at a random moment", None
        try:
            if number % 10 == 9:
                what, moment = expected[False][0], "at a random moment, through reproduce"
                came = reproduce_twice(folder, chance.uniform(3, 10))
            elif number % 3 == 0:
                came = kill_and_resume(folder, compile, chance.uniform(0.02, 1) * seconds)
            elif number % 3 == 1:  # a config.yaml, a checkpoint per pass, a results.json
                moment = chance.choice(fits.INJECTIONS)
                injection = partial(fits.die_at, moment, chance.randint(1, passes))
                came = kill_and_resume(folder, compile, 0, injection)
            else:
                moment = "within a pass after the first"
                after, delay = chance.randint(1, passes - 1), chance.uniform(0, 0.5) * seconds / passes
                came = kill_and_resume(folder, compile, delay, passes=after)
            ours = fits.left(folder / fits.FOLDER)
            where = fits.difference(_placeless(ours), _placeless(what))
            doubled = doubled_passes(folder / fits.FOLDER)
        except Exception as error:
            came, doubled, where = "a fault", 0, f"{type(error).__name__}: {error}"
        if where is not None:
            faults.append(f"point {number}, compile {compile}, {injection}: {where}")
        shutil.rmtree(folder, ignore_errors=True)
        if came == "finished before" and where is None:
            continue  # no kill point: another moment
        counts[f"killed {moment}"] += 1
        counts[came] += 1
        counts["passes logged twice, with equal values"] += doubled
        number += 1
        print(f"\r{number} of {points}, {len(faults)} faults", end="", file=sys.stderr, flush=True)
    return counts, faults


def _placeless(left: dict[str, Any]) -> dict[str, Any]:
    """`reproduce` gives the same configuration by other flags."""
    results = {key: value for key, value in left["results"].items() if key != "config_hash"}
    return left | {"results": results}


if __name__ == "__main__":
    given = arguments(__doc__, points=50, seed=1)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts, faults = soak(given.points, given.seed, Path(folder))
    told = f"\n{given.points} kill points, {len(faults)} not exact, {time.monotonic() - started:.0f} s"
    end(told, faults, dict(sorted(counts.items())))
