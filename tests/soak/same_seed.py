"""Same seed, same result: fits repeated alone, side by side and through `reproduce --jobs`, compared to the last bit.

    python tests/soak/same_seed.py --repeats 10

Ends with 1 if two of one seed differ in any bit, or if two seeds do not.
"""

import json
import shutil
import tempfile
import time
from pathlib import Path

import fits
from cases import arguments, end


def side_by_side(folder: Path, compile: bool, jobs: int, seed: int) -> list[dict]:
    """What fits leave that run at the same time, `jobs` of them."""
    flags = fits.arguments(compile, "--seed_everything", seed)
    processes = [fits.start(folder / f"job_{job}", flags) for job in range(jobs)]
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a fit ended with {process.exitcode}")
    return [fits.left(folder / f"job_{job}" / fits.FOLDER) for job in range(jobs)]


def reproduced(folder: Path, jobs: int, seeds: list[int]) -> list[dict]:
    """The results of `reproduce --jobs`, times aside."""
    (folder / "configs").mkdir(parents=True)
    shutil.copy(fits.ROW_5, folder / "configs")
    flags = ["--source", "digits", "--data.train_size", "300", "--data.test_size", "60", "--trainer.max_epochs", "3"]
    command = ["reproduce", "--configs", "configs", "--seeds", json.dumps(seeds), "--jobs", str(jobs), "--out", "."]
    fits.fit(folder, [*command, *flags, "--model.compile", "false"])
    results = json.loads((folder / "configs.json").read_text())
    return [{key: value for key, value in result.items() if key not in fits.TIMES} for result in results]


def check(repeats: int, modes: tuple[bool, ...] = (False, True), jobs: tuple[int, ...] = (1, 2, 4)) -> list[str]:
    """The faults found."""
    faults = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        for compile in modes:
            (first,) = side_by_side(base / f"{compile}_first", compile, 1, 7)
            for number in range(repeats):
                at_once = 1 + number % 3
                for other in side_by_side(base / f"{compile}_{number}", compile, at_once, 7):
                    if (where := fits.difference(other, first)) is not None:
                        faults.append(f"seed 7, compile {compile}, {at_once} at once: {where}")
            (another,) = side_by_side(base / f"{compile}_another", compile, 1, 8)
            for part in ("state_dict", "curve"):
                if fits.difference(another[part], first[part]) is None:
                    faults.append(f"seeds 7 and 8, compile {compile}, have the same {part}")
        tables = [reproduced(base / f"jobs_{n}", n, [1, 2, 3, 4]) for n in jobs]
        faults += [f"reproduce --jobs {n}" for n, each in zip(jobs, tables, strict=True) if each != tables[0]]
    return faults


if __name__ == "__main__":
    repeats = arguments(__doc__, repeats=10).repeats
    started = time.monotonic()
    faults = check(repeats)
    n = sum(1 + number % 3 for number in range(repeats))
    told = f"{n} eager and {n} compiled fits of one seed, 1 to 3 at once; 4 seeds with --jobs 1, 2, 4: "
    end(f"{told}{len(faults)} differences, {time.monotonic() - started:.0f} s", faults)
