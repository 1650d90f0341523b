"""Times the update of row 1's network, one digit at a time, with every optimizer of torch.optim, eager and compiled.

    python benchmarks/optimizers.py --json benchmarks/optimizers.json --readme

One process and one thread. Both ways take the same digits in turn, again and again, with the optimizer's own default
settings; before anything is timed they have to arrive at the same weights. An optimizer whose step cannot be compiled
says why. Beside torch's: this package's MuonAdamW, and Lion of lion-pytorch where that is installed.
"""

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import Optimizer as Base

from lecun_repro import ConvNet1989, MuonAdamW, TanhMSE
from lecun_repro.training.optimizers import NotTraceable
from lecun_repro.training.updates import CompiledUpdates, Examples, Updates, eager_updates
from readme import machine, narrow_if_asked, publish, table

SEED = 1337


def optimizers() -> Iterator[tuple[str, type[Optimizer]]]:
    for name, kind in sorted(vars(torch.optim).items()):
        if isinstance(kind, type) and issubclass(kind, Base) and kind is not Base:
            yield name, kind
    yield "MuonAdamW", MuonAdamW
    if find_spec("lion_pytorch") is not None:
        from lion_pytorch import Lion

        yield "Lion", Lion


def measure(kind: type[Optimizer], updates: int, repetitions: int) -> dict[str, float | str]:
    """Median microseconds per update, eager and compiled, or why there are none."""
    generator = torch.Generator().manual_seed(SEED)
    images = torch.rand((updates, 1, 1, 16, 16), generator=generator) * 2 - 1
    labels = torch.randint(10, (updates, 1), generator=generator)
    ways: dict[str, tuple[Callable[[Examples], Any], ConvNet1989]] = {}
    try:
        for how in ("compiled", "eager"):  # the first says why it cannot be
            network = ConvNet1989(seed=SEED)
            update = Updates(network, TanhMSE(), kind(network.parameters()))
            run = CompiledUpdates(update) if how == "compiled" else _eager(update)
            examples = network.prepare(images), labels
            run(tuple(x[:4] for x in examples))
            ways[how] = run, network
    except (NotTraceable, ValueError, RuntimeError) as error:
        return {"why not": str(error).splitlines()[0]}
    compiled, eager = (list(copy.deepcopy(network).parameters()) for _, network in ways.values())
    if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(eager, compiled, strict=True)):
        raise SystemExit(f"{kind.__name__}: compiled updates do not lead to the weights of its own step()")
    times: dict[str, list[float]] = {how: [] for how in ways}
    for _ in range(repetitions):
        for how, (run, _) in ways.items():
            taken = tuple(x[: updates if how == "compiled" else max(updates // 20, 1)] for x in examples)
            started = time.perf_counter()
            run(taken)
            times[how].append(1e6 * (time.perf_counter() - started) / len(taken[0]))
    medians = {how: statistics.median(values) for how, values in times.items()}
    return {**{how: round(value, 2) for how, value in medians.items()}, "n": repetitions}


def _eager(update: Updates) -> Callable[[Examples], Any]:
    return lambda examples: eager_updates(update, examples)


def markdown(found: dict[str, dict[str, Any]]) -> str:
    rows = [
        [name, f"{r['compiled']:.1f}", f"{r['eager']:,.0f}", f"{r['eager'] / r['compiled']:.1f}x"]
        for name, r in found.items()
        if "compiled" in r
    ]
    without = [f"{name}: {r['why not']}" for name, r in found.items() if "why not" in r]
    heads = ["optimizer", "compiled, µs per update", "its own step(), µs", "faster by"]
    return "\n\n".join([table(heads, rows), f"Not compiled, or not for this network: {'; '.join(without)}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these optimizers, by default all")
    parser.add_argument("--updates", type=int, default=4000, help="per timing of the compiled ones")
    parser.add_argument("--repetitions", type=int, default=5, help="timings of each way, in turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--readme", action="store_true", help="put table and machine into benchmarks/README.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    width = narrow_if_asked()
    described = machine()
    found = {
        name: measure(kind, asked.updates, asked.repetitions)
        for name, kind in optimizers()
        if not asked.only or name in asked.only
    }
    text = f"{described}\n\n{markdown(found)}"
    publish(f"optimizers{width}", text, found, asked.json, asked.readme)


if __name__ == "__main__":
    main()
