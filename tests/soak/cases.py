"""What the soaks of many random cases share: a folder of their own, counts of what becomes of them, a command line."""

import argparse
import contextlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn
from unittest import mock

from lecun_repro import __main__ as program
from lecun_repro.cli.main import DigitsCLI

GOOD = ("taken", "refused")


class Case(NamedTuple):
    """What became of a case: `taken`, `refused` or a fault; what is expected of it, and its description."""

    result: str
    described: str
    expected: tuple[str, ...] = GOOD


Tried = tuple[Counter[str], list[str]]  # counts of what became of them, and the faults


def check(tried: Callable[[int, random.Random], Iterable[Case]], cases: int, seed: int = 1) -> Tried:
    """Tries so many cases."""
    counts, faults = Counter[str](), []
    for case in tried(cases, random.Random(seed)):
        counts[case.result if case.result in GOOD else "faults"] += 1
        if case.result not in case.expected:
            faults.append(f"{case.result}: {case.described}")
    return counts, faults


def arguments(doc: str | None, **defaults: int) -> argparse.Namespace:
    """The command line of a soak: flags with numbers."""
    parser = argparse.ArgumentParser(description=doc)
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def end(told: str, faults: Sequence[str], counts: Mapping[str, int] | None = None) -> NoReturn:
    """Says what a soak has found and ends the program, with 1 if there are faults."""
    print(told)
    for what, n in (counts or {}).items():
        print(f"  {what}: {n}")
    for fault in faults:
        print(fault)
    raise SystemExit(bool(faults))


def command(tried: Callable[[int, random.Random], Iterable[Case]], what: str, doc: str | None, cases: int) -> None:
    """The whole of a soak of random cases."""
    given = arguments(doc, cases=cases, seed=1)
    started = time.monotonic()
    counts, faults = check(tried, given.cases, given.seed)
    told = f"{given.cases} {what}, {len(faults)} faults, {time.monotonic() - started:.0f} s, {dict(counts)}"
    end(told, [f"{fault}\n---" for fault in faults[:20]])


@contextlib.contextmanager
def elsewhere() -> Iterator[Path]:
    """A new folder, as the working directory."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield Path(folder)


class Built(DigitsCLI):
    """Everything is built, and nothing is run."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def only_built() -> contextlib.AbstractContextManager:
    """Commands end where they would begin to run."""
    run = program.run
    return mock.patch.object(program, "run", lambda arguments, started, cli: run(arguments, started, Built))
