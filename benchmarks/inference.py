"""Times a trained network's answers, row by row: one image at a time and 1,000, in torch, compiled, and ONNX Runtime.

    python benchmarks/inference.py --json benchmarks/inference.json --readme

One process and one thread. A round times every row with every engine, in an order drawn anew, so that a busy machine is
busy for all of them alike; what is reported are medians and quartiles over the rounds, and those of each round's ratio
to row 1.
"""

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import onnxruntime
import torch
from torch import Tensor

from lecun_repro.__main__ import quiet
from lecun_repro.cli.build import build_model, trained
from lecun_repro.commands.export import Outputs, onnx, random_digits
from lecun_repro.training.module import DigitClassifier
from readme import machine, publish, table

CONFIGS = Path(__file__).parents[1] / "configs"
ARTICLE = ("1_baseline", "3_adamw", "4_shift", "5_dropout_relu")  # row 2 is row 3 with another optimizer
LARGER = ("5_24_maps", "5_48_maps")
SHIPPED = "8_normalised"  # of configs/beyond, with the weights that ship with the package
ROWS = (*ARTICLE, *LARGER, SHIPPED)
BATCH = 1_000
SEED = 1337

Answer = Callable[[Tensor], Any]  # images (n, 1, 16, 16) -> the head's outputs (n, 10) and labels (n,)


# ---------------------------------------------------------------------------------------------------------------------
# Engines


def eager(model: DigitClassifier, row: str) -> Answer:
    return Outputs(model).eval()


def compiled(model: DigitClassifier, row: str) -> Answer:
    """AOTInductor, with a package for one image and one for the batch."""
    packages = {}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for n in (1, BATCH):
            program = torch.export.export(Outputs(model).eval(), (random_digits(n),))
            path = torch._inductor.aoti_compile_and_package(program, package_path=f"{folder}/{n}.pt2")
            packages[n] = torch._inductor.aoti_load_package(path)
    return lambda images: packages[len(images)](images)


def onnx_runtime(model: DigitClassifier, row: str) -> Answer:
    """What `export` writes, on one thread; reads the tensor's memory as a NumPy array."""
    content, _ = onnx(model, {"row": row, "config": {}}, "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images.numpy()})


ENGINES = {"eager": eager, "compiled": compiled, "onnx": onnx_runtime}


# ---------------------------------------------------------------------------------------------------------------------
# Measuring


def models(checkpoints: list[str]) -> dict[str, DigitClassifier]:
    """The rows' models, with the weights of checkpoints where there are any."""
    found = {SHIPPED: trained(None)[0]}
    for row in (*ARTICLE, *LARGER):
        found[row] = build_model(["fit", "--config", str(next(CONFIGS.glob(f"*/{row}.yaml")))])
    for path in checkpoints:
        model, saved = trained(path)
        if saved.get("row") not in found:
            raise SystemExit(f"{path} is of row {saved.get('row')}, expected one of {', '.join(ROWS)}")
        found[saved["row"]] = model
    return {row: model.eval() for row, model in found.items()}


def answers(found: dict[str, DigitClassifier], engines: list[str]) -> dict[tuple[str, str], Answer]:
    """Every row with every engine; each has to give the model's own outputs before anything is timed."""
    made = {(row, engine): ENGINES[engine](found[row], row) for row in ROWS for engine in engines}
    for (row, engine), answer in made.items():
        for images in (random_digits(1), random_digits(BATCH)):
            if not torch.allclose(torch.as_tensor(answer(images)[0]), found[row](images), atol=1e-4):
                raise SystemExit(f"{engine} does not give the outputs of the model of {row}; nothing was timed")
    return made


def measure(made: dict[tuple[str, str], Answer], rounds: int, calls: int) -> tuple[dict, dict]:
    """Seconds of one image and of the batch: (row, engine) -> one number per round."""
    single, batch = random_digits(1), random_digits(BATCH)
    order, generator = list(made), random.Random(SEED)
    one: dict[tuple[str, str], list[float]] = {case: [] for case in made}
    many: dict[tuple[str, str], list[float]] = {case: [] for case in made}
    for _ in range(rounds):
        generator.shuffle(order)
        for case in order:
            answer = made[case]
            answer(single)  # what the last one left in the caches is not this one's business
            one[case].append(statistics.median(seconds(answer, single) for _ in range(calls)))
            many[case].append(seconds(answer, batch))
    return one, many


def seconds(answer: Answer, images: Tensor) -> float:
    started = time.perf_counter()
    answer(images)
    return time.perf_counter() - started


def quartiles(values: list[float], scale: float, digits: int | None) -> tuple[float, list[float]]:
    """The median, and the first and third quartile; integers where `digits` is None."""
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return round(scale * middle, digits), [round(scale * first, digits), round(scale * third, digits)]


def results(one: dict, many: dict) -> list[dict[str, Any]]:
    """One object for each row and engine."""
    found = []
    for row, engine in sorted(one, key=lambda case: (list(ENGINES).index(case[1]), case[0])):
        entry: dict[str, Any] = {"row": row, "engine": engine}
        entry["latency_us"], entry["latency_us_iqr"] = quartiles(one[row, engine], 1e6, 2)
        speeds = [BATCH / each for each in many[row, engine]]
        entry["images_per_second"], entry["images_per_second_iqr"] = quartiles(speeds, 1, None)
        for name, times in (("latency", one), ("batch_time", many)):
            first = times[ROWS[0], engine]
            ratios = [mine / base for mine, base in zip(times[row, engine], first, strict=True)]
            entry[f"{name}_over_row1"], entry[f"{name}_over_row1_iqr"] = quartiles(ratios, 1, 3)
        found.append(entry)
    return found


def markdown(found: list[dict[str, Any]]) -> str:
    """The results as a table and a sentence."""

    def spread(entry: dict[str, Any], name: str, form: str) -> str:
        low, high = entry[f"{name}_iqr"]
        return f"{entry[name]:{form}} ({low:{form}} to {high:{form}})"

    rows = [
        [
            e["engine"],
            f"`{e['row']}`",
            spread(e, "latency_us", ",.1f"),
            spread(e, "latency_over_row1", ".2f"),
            spread(e, "images_per_second", ",.0f"),
            spread(e, "batch_time_over_row1", ".2f"),
        ]
        for e in found
    ]
    heads = ["engine", "row", "latency of one image, µs", "over row 1"]
    last = [f"{spread(e, 'latency_over_row1', '.2f')} times ({e['engine']})" for e in found if e["row"] == ARTICLE[-1]]
    return (
        table([*heads, f"images/s in batches of {BATCH:,}", "time over row 1"], rows, left=(0, 1))
        + f"\n\nOne image takes row 5 {', '.join(last)} as long as row 1."
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--checkpoints", nargs="*", default=[], metavar="CKPT", help="trained weights, one per row")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES), help="which to time")
    parser.add_argument("--rounds", type=int, default=300, help="timings of each row and engine, in turn")
    parser.add_argument("--calls", type=int, default=20, help="of one image in each round")
    parser.add_argument("--quick", action="store_true", help="three short rounds: a trial run, not a measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as an object")
    parser.add_argument("--readme", action="store_true", help="put table and machine into benchmarks/README.md")
    return parser.parse_args()


def main() -> None:
    given = parse_arguments()
    if given.quick:
        given.rounds, given.calls = 3, 2
    quiet()
    described = machine()
    found = models(given.checkpoints)
    torch.set_num_threads(1)
    made = answers(found, given.engines)
    with torch.inference_mode():
        measured = results(*measure(made, given.rounds, given.calls))
    weights = f"trained, of {len(given.checkpoints)} checkpoints" if given.checkpoints else "initial"
    about = f"ONNX Runtime {onnxruntime.__version__}. Weights: {weights}. Rounds: {given.rounds}, calls: {given.calls}."
    text = f"{described} {about}\n\n{markdown(measured)}"
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions["onnxruntime"] = onnxruntime.__version__
    whole = {"machine": described, "versions": versions, "weights": weights, "batch_size": BATCH}
    whole |= {"rounds": given.rounds, "calls": given.calls, "measurements": measured}
    publish("inference", text, whole, given.json, given.readme)


if __name__ == "__main__":
    main()
