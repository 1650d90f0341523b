"""Damaged compiled packages, flipped or cut short: none is loaded, and every run has the numbers of an undisturbed one.

    python tests/soak/damaged_packages.py --flips 200 --cuts 50

Each damaged package meets a process of its own, which has to end with the carry and the losses of the first one, and
to leave a whole package behind. One in `--compiled` is compiled again in truth, as that takes half a minute; the
others are given what the first compilation gave. Ends with 1 if any fault is found.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from lecun_repro.training import compile_cache
from lecun_repro.training.updates import Scan

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["lecun_repro.training.updates"])


def small(factors: Tensor | None = None, n: int = 3) -> tuple[Scan, list[Tensor], tuple[Tensor, ...]]:
    """A sum that runs on: carry + factors * x."""
    factors = torch.tensor([2.0]) if factors is None else factors

    def update(carry: list[Tensor], xs: tuple[Tensor, ...]):
        total = carry[0] + factors * xs[0]
        return [total], total.sum()

    carry, xs = [torch.zeros(n)], (torch.ones(4, n),)
    return Scan(make_fx(update)(carry, (xs[0][0],))), carry, xs


def damages(content: bytes, flips: int, cuts: int) -> Iterator[tuple[str, bytes]]:
    """(kind, damaged file) of a package's file."""
    rng = np.random.default_rng(1)
    for at in rng.integers(0, len(content), flips):
        yield "one bit flipped", content[:at] + bytes([content[at] ^ (1 << int(rng.integers(8)))]) + content[at + 1 :]
    for at in np.linspace(0, len(content) - 1, cuts).astype(int):
        yield "cut short", content[:at]
    yield "no digest", content[:-32]  # as earlier versions wrote it
    yield "something behind it", content + b"\0"
    yield "another format", b"not a package"


def run(folder: Path, spare: bytes | None = None) -> tuple:
    """Carry, losses and what was said by a process that has this cache; or how it ended, if by a signal or an error.

    Args:
        folder: The cache.
        spare: What building gives, without a compiler.
    """
    ours, theirs = _server.Pipe()
    process = _server.Process(target=_run, args=(str(folder), spare, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        process.join()
        return (f"ended with {process.exitcode}",)
    finally:
        process.join()


def _run(folder: str, spare: bytes | None, connection: Connection) -> None:
    os.environ["LECUN_REPRO_CACHE"] = folder
    with tempfile.TemporaryFile("w+") as said:
        sys.stderr = said
        torch.set_num_threads(1)
        if spare is not None:
            compile_cache.build = lambda *arguments: spare
        scan, carry, xs = small()
        (total,), losses = compile_cache.load_or_build(scan, carry, xs)(carry, xs)
        said.seek(0)
        connection.send((total.tolist(), losses.tolist(), said.read()))


def check(folder: Path, flips: int, cuts: int, compiled: int) -> tuple[Counter[str], list[str]]:
    """Counts of kinds of damage, and the faults."""
    undisturbed = run(folder)
    (path,) = folder.glob("*.pt2")
    content = path.read_bytes()
    counts: Counter[str] = Counter()
    faults = [] if len(undisturbed) == 3 else [f"undisturbed: {undisturbed}"]
    said = f"{path} is damaged, or of another format: built again\n"
    for number, (kind, damaged) in enumerate(damages(content, flips, cuts), 1):
        path.write_bytes(damaged)
        counts[kind] += 1
        outcome = run(folder, None if compiled and number % compiled == 0 else content[:-32])
        if outcome != (*undisturbed[:2], said):
            faults.append(f"{kind}, number {number}: {outcome}")
        elif run(folder) != undisturbed:
            faults.append(f"{kind}, number {number}: no whole package was left")
        print(f"\r{number} packages, {len(faults)} faults", end="", file=sys.stderr, flush=True)
    return counts, faults


if __name__ == "__main__":
    from cases import arguments, end  # which imports what the processes need not

    given = arguments(__doc__, flips=200, cuts=50, compiled=50)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        counts, faults = check(Path(place) / "packages", given.flips, given.cuts, given.compiled)
    total, seconds = counts.total(), time.monotonic() - started
    told = f"{total - len(faults)} named and compiled again, the numbers of an undisturbed run"
    end(f"\n{total} damaged packages: {told}; {len(faults)} faults, {seconds:.0f} s", faults, counts)
