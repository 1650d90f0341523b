"""Times whole `cli.py fit` processes of row 1, with an empty cache and a filled one, against a plain loop's training.

It also tells where the seconds of such a process go, see `fit_parts.py`.

    python benchmarks/fit.py --json benchmarks/fit.json --readme

The plain loop is not run for all 23 passes: its updates are timed between the fits, and their median is multiplied by
the number of updates. Peak memory is that of the whole process tree, compilers included. Linux only: it reads /proc.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch

from fit_parts import FILE as PARTS_FILE
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.data.download import ROOT_VARIABLE, data_root
from lecun_repro.training.compile_cache import FOLDER_VARIABLE
from readme import machine, publish, table
from updates import ROWS, SEED, Plain, initial

REPOSITORY = Path(__file__).parents[1]
PASSES, SAMPLE = 23, 1_000  # of row 1; updates per timing of the plain loop
INTERVAL = 0.05  # seconds between two looks at the memory


class Fit(NamedTuple):
    """One process of `cli.py fit`."""

    seconds: float
    peak_bytes: int
    us_per_update: float
    parts: dict[str, float]  # seconds of computing, where they were asked for


def fit(row: str, cache: Path, *flags: str, program: str = "cli.py") -> Fit:
    """Runs a row in a folder of its own, with its caches under `cache`."""
    places = {FOLDER_VARIABLE: cache / "packages", "TORCHINDUCTOR_CACHE_DIR": cache / "inductor"}
    places[ROOT_VARIABLE] = data_root(None).resolve()
    environment = os.environ | {name: str(place) for name, place in places.items()}
    config = REPOSITORY / "configs" / "article" / f"{row}.yaml"
    command = [sys.executable, str(REPOSITORY / program), "fit", "--config", str(config), *flags]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        peak = 0
        while process.poll() is None:
            peak = max(peak, tree_bytes(process.pid))
            time.sleep(INTERVAL)
        seconds = time.perf_counter() - started
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{output.read().decode()[-2000:]}")
        (record,) = Path(folder).glob("**/results.json")
        parts = Path(folder, PARTS_FILE)
        return Fit(
            seconds,
            peak,
            json.loads(record.read_text())["us_per_update"],
            json.loads(parts.read_text()) if parts.is_file() else {},
        )


def tree_bytes(root: int) -> int:
    """The proportional set sizes of a process and its descendants, summed."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:  # the parent is the second field after the name, which is in brackets and may hold anything
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:  # it has just ended
                continue
            children.setdefault(parent, []).append(int(entry.name))
    tree = [root]
    for process in tree:  # grows while it is read
        tree += children.get(process, [])
    return sum(map(proportional_bytes, tree))


def proportional_bytes(process: int) -> int:
    """A process's memory, with pages that it shares counted in part; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def measure(repetitions: int) -> dict[str, Any]:
    """Fits and samples of the plain loop in turn."""
    data = DigitsDataModule()
    data.setup()
    plain = Plain(ROWS["row1"], data.train, 1, initial(ROWS["row1"]))
    plain.seconds(100)
    samples: list[float] = []
    cold: list[Fit] = []
    warm: list[Fit] = []
    large: list[Fit] = []
    apart: list[dict[str, float]] = []
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder)
            samples.append(plain.seconds(SAMPLE) / SAMPLE)
            cold.append(fit("1_baseline", cache))
            samples.append(plain.seconds(SAMPLE) / SAMPLE)
            warm.append(fit("1_baseline", cache))
            samples.append(plain.seconds(SAMPLE) / SAMPLE)
            large.append(fit("6_50k_baseline", cache, "--trainer.max_epochs", "2"))
            warm.append(fit("1_baseline", cache))
            apart.append(fit("1_baseline", cache, program="benchmarks/fit_parts.py").parts)
    updates = PASSES * data.n_train
    plain_us = 1e6 * statistics.median(samples)
    small_us, large_us = (statistics.median(f.us_per_update for f in fits) for fits in (warm, large))
    return {
        "plain_us_per_update": round(plain_us, 1),
        "plain_seconds": round(plain_us * updates / 1e6, 1),
        "updates": updates,
        "row6_us_per_update": round(large_us, 2),
        "row1_us_per_update": round(small_us, 2),
        "row6_over_row1": round(large_us / small_us, 3),
        "parts": {part: round(statistics.median(each[part] for each in apart), 2) for part in apart[0]},
        "fits": [
            {
                "cache": name,
                "seconds": round(statistics.median(f.seconds for f in fits), 2),
                "seconds_all": [round(f.seconds, 2) for f in fits],
                "times_plain": round(plain_us * updates / 1e6 / statistics.median(f.seconds for f in fits), 1),
                "peak_megabytes": round(max(f.peak_bytes for f in fits) / 1e6),
            }
            for name, fits in (("cold", cold), ("warm", warm))
        ],
    }


def markdown(found: dict[str, Any]) -> str:
    """The results as a table and two sentences."""
    rows = [["plain loop, training alone", f"{found['plain_seconds']:.0f} s", "", "1.0x", ""]]
    for f in found["fits"]:
        spread = ", ".join(f"{seconds:.1f}" for seconds in f["seconds_all"])
        rows.append(
            [
                f"whole fit, {f['cache']} cache",
                f"{f['seconds']:.1f} s",
                spread,
                f"{f['times_plain']:.1f}x",
                f"{f['peak_megabytes']:,} MB",
            ]
        )
    return (
        table(["row 1, 23 passes", "median", "each, in s", "times plain", "peak memory"], rows)
        + f"\n\nThe plain loop takes {found['plain_us_per_update']:,.0f} µs per update here; "
        f"{found['updates']:,} of them make its time.\n\n"
        f"Row 6 takes {found['row6_us_per_update']:.1f} µs per update and row 1 {found['row1_us_per_update']:.1f}: "
        f"{found['row6_over_row1']:.2f} times as long.\n\n"
        + table(
            ["where a warm fit's seconds of computing go", "median"],
            [[part, f"{seconds:.2f} s"] for part, seconds in found["parts"].items()],
        )
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--repetitions", type=int, default=3, help="each of a cold fit, two warm ones and row 6")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as an object")
    parser.add_argument("--readme", action="store_true", help="put table and machine into benchmarks/README.md")
    return parser.parse_args()


def main() -> None:
    given = parse_arguments()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    described = machine()
    found = measure(given.repetitions)
    text = f"{described}\n\n{markdown(found)}"
    publish("fit", text, found, given.json, given.readme)


if __name__ == "__main__":
    main()
