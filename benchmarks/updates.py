"""Times updates four ways: a plain PyTorch loop, Lightning's automatic loop, this engine eager and compiled.

    python benchmarks/updates.py --json benchmarks/updates.json --readme

One process and one thread. All four start from the same weights and are timed in turn, again and again, so that a busy
machine is busy for each of them; what is reported is the median over the repetitions. Before anything is timed, the
updates without randomness have to lead all four to the same weights.
"""

import argparse
import copy
import logging
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader, TensorDataset

from lecun_repro.data.augment import Augmentations
from lecun_repro.data.blocks import Blocks
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.data.splits import Split
from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.models.heads import CrossEntropy, Head, TanhMSE
from lecun_repro.training.compile_cache import FOLDER_VARIABLE
from lecun_repro.training.updates import CompiledUpdates, Examples, Updates, eager_updates
from readme import machine, narrow_if_asked, publish, table

SEED = 1337
BLOCK_SIZE = DigitsDataModule().block_size  # digits that the engine is handed at a time, as in `cli.py fit`


class Row(NamedTuple):
    """What distinguishes the updates of the article's rows."""

    activation: str
    dropout: float
    output_bias: float
    head: type[Head]
    optimizer: Callable[..., Optimizer]
    shift: bool


ROWS = {
    "row1": Row("tanh", 0.0, -1.0, TanhMSE, partial(SGD, lr=0.03), False),
    "row2": Row("tanh", 0.0, 0.0, CrossEntropy, partial(SGD, lr=0.01), False),
    "row5": Row("relu", 0.25, 0.0, CrossEntropy, partial(AdamW, lr=3e-4), True),
}


# ---------------------------------------------------------------------------------------------------------------------
# (a) A plain loop, and (b) the same module under Lightning.


class PlainNet(nn.Module):
    """The 1989 network as anyone would write it; the three groups of convolutions are the article's code's."""

    def __init__(self, row: Row, start: ConvNet1989) -> None:
        super().__init__()
        self.row = row
        for name, parameter in start.named_parameters():
            self.register_parameter(name, nn.Parameter(parameter.detach().clone(memory_format=torch.contiguous_format)))

    def forward(self, x: Tensor) -> Tensor:
        activation = torch.relu if self.row.activation == "relu" else torch.tanh
        x = F.pad(x, (2, 2, 2, 2), "constant", -1.0)
        x = activation(F.conv2d(x, self.H1w, stride=2) + self.H1b)
        x = F.pad(x, (2, 2, 2, 2), "constant", -1.0)
        part1 = F.conv2d(x[:, 0:8], self.H2w[0:4], stride=2)
        part2 = F.conv2d(x[:, 4:12], self.H2w[4:8], stride=2)
        part3 = F.conv2d(torch.cat((x[:, 0:4], x[:, 8:12]), dim=1), self.H2w[8:12], stride=2)
        x = activation(torch.cat((part1, part2, part3), dim=1) + self.H2b)
        x = F.dropout(x.flatten(1), p=self.row.dropout, training=self.training) if self.row.dropout else x.flatten(1)
        x = activation(x @ self.H3w + self.H3b)
        x = x @ self.outw + self.outb
        return torch.tanh(x) if self.row.head is TanhMSE else x


def plain_loss(row: Row, net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """One update's forward pass, on digits that are each moved by up to a pixel where the row shifts."""
    if row.shift:
        moves = torch.randint(-1, 2, (len(images), 2)).tolist()
        images = torch.stack([torch.roll(x, move, (1, 2)) for x, move in zip(images, moves, strict=True)])
    outputs = net(images)
    return torch.mean((targets - outputs) ** 2) if row.head is TanhMSE else F.cross_entropy(outputs, targets)


def plain_targets(row: Row, labels: Tensor) -> Tensor:
    """The labels, or the vectors of +1 and -1 that the squared error needs; made once, before training."""
    return F.one_hot(labels, 10).float() * 2 - 1 if row.head is TanhMSE else labels


class Plain:
    """A plain PyTorch loop."""

    def __init__(self, row: Row, train: Split, batch: int, start: ConvNet1989) -> None:
        self.row, self.batch = row, batch
        self.images, self.targets = train.images, plain_targets(row, train.labels)
        self.net = PlainNet(row, start)
        self.optimizer = row.optimizer(self.net.parameters())

    def seconds(self, updates: int) -> float:
        started = time.perf_counter()
        for i in range(updates):
            digits = slice(i * self.batch, (i + 1) * self.batch)
            loss = plain_loss(self.row, self.net, self.images[digits], self.targets[digits])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - started


class AutomaticModule(LightningModule):
    """The plain loop's network, loss and optimizer under Lightning's automatic optimization."""

    def __init__(self, row: Row, net: PlainNet) -> None:
        super().__init__()
        self.row, self.net = row, net
        self.optimizer = row.optimizer(net.parameters())

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return plain_loss(self.row, self.net, *batch)

    def configure_optimizers(self) -> Optimizer:
        return self.optimizer


class Stopwatch(Callback):
    """Times the training loop alone, without the making of trainer and loader."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds = time.perf_counter() - self.started


class Automatic:
    """Lightning's automatic optimization with an ordinary DataLoader, and neither bar, logger nor checkpoint."""

    def __init__(self, row: Row, train: Split, batch: int, start: ConvNet1989) -> None:
        self.net = PlainNet(row, start)
        self.module = AutomaticModule(row, self.net)
        self.loader = DataLoader(TensorDataset(train.images, plain_targets(row, train.labels)), batch_size=batch)

    def seconds(self, updates: int) -> float:
        stopwatch = Stopwatch()
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1,
            limit_train_batches=updates,
            callbacks=[stopwatch],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(self.module, self.loader)
        return stopwatch.seconds


# ---------------------------------------------------------------------------------------------------------------------
# (c) This engine.


class Engine:
    """This package's updates; timed with all that a pass does for each of its blocks."""

    def __init__(self, row: Row, train: Split, batch: int, start: ConvNet1989, compiled: bool) -> None:
        self.row, self.train, self.batch = row, train, batch
        self.net, self.head = copy.deepcopy(start), row.head()
        self.optimizer = row.optimizer(self.net.parameters())
        self.passes = 0
        self.compiled = CompiledUpdates(Updates(self.net, self.head, self.optimizer)) if compiled else None

    def examples(self, updates: int) -> Iterator[Examples]:
        """Block by block what the updates read, as the data module and the training step make it."""
        n = updates * self.batch
        blocks = Blocks(
            self.train.part(0, n),
            batch=self.batch,
            block_size=BLOCK_SIZE,
            updates=updates,
            limit=1.0,
            augmentations=Augmentations("roll" if self.row.shift else None, seed=SEED),
            pass_index=lambda: self.passes,
        )
        keep = torch.rand((n, self.net.dropout_units)) >= self.row.dropout if self.row.dropout else None
        presented = 0
        for images, labels in blocks:
            examples: Examples = self.net.prepare(images), labels
            if keep is not None:
                kept = keep[presented : presented + labels.numel()].view(*labels.shape, -1)
                examples = (*examples, kept)
                presented += labels.numel()
            yield examples

    def ready_seconds(self) -> float:
        """Seconds until the compiled updates can start: from an empty cache a compilation, else a load."""
        first = next(self.examples(1))
        started = time.perf_counter()
        self.compiled.ready(first)
        return time.perf_counter() - started

    def seconds(self, updates: int) -> float:
        started = time.perf_counter()
        for examples in self.examples(updates):
            if self.compiled is None:
                eager_updates(Updates(self.net, self.head, self.optimizer), examples)
            else:
                self.compiled(examples)
        self.passes += 1
        return time.perf_counter() - started


HOWS: dict[str, Callable[..., Plain | Automatic | Engine]] = {
    "plain": Plain,
    "lightning": Automatic,
    "eager": partial(Engine, compiled=False),
    "compiled": partial(Engine, compiled=True),
}


# ---------------------------------------------------------------------------------------------------------------------
# Measuring


def initial(row: Row) -> ConvNet1989:
    """The network that every way of training starts from."""
    return ConvNet1989(row.activation, row.dropout, row.output_bias, seed=SEED)


def ready_seconds_apart(row: Row, train: Split, batch: int, cache: str) -> float:
    """`Engine.ready_seconds` in a process of its own, which has imported this package but compiled nothing before."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)

    def child() -> None:
        os.environ[FOLDER_VARIABLE] = f"{cache}/packages"
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{cache}/inductor"
        sender.send(Engine(row, train, batch, initial(row), compiled=True).ready_seconds())

    process = fork.Process(target=child)
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise SystemExit("the compiling process ended early; its error stands above") from None
    finally:
        process.join()


def measure(row: Row, train: Split, batch: int, repetitions: int, seconds: float) -> dict[str, list[float]]:
    """Seconds per update of all four ways, one entry per repetition."""
    whole = len(train.labels) // batch
    start = initial(row)
    ways = {how: make(row, train, batch, start) for how, make in HOWS.items()}
    warm_up = min(whole, 8)
    for way in ways.values():
        way.seconds(warm_up)
    if not (row.shift or row.dropout):
        check_equal({how: list(way.net.parameters()) for how, way in ways.items()})
    updates = {}
    for how, way in ways.items():
        estimate = way.seconds(warm_up) / warm_up
        if how == "compiled":  # few updates say little of what many take
            estimate = way.seconds(whole) / whole
        updates[how] = max(1, min(whole, round(seconds / estimate)))
    times: dict[str, list[float]] = {how: [] for how in ways}
    for _ in range(repetitions):
        for how, way in ways.items():
            times[how].append(way.seconds(updates[how]) / updates[how])
    return times


def check_equal(weights: dict[str, list[nn.Parameter]]) -> None:
    """Ends the program unless all ways lead to the plain loop's weights."""
    for how, parameters in weights.items():
        for ours, plain in zip(parameters, weights["plain"], strict=True):
            if not torch.allclose(ours, plain, rtol=1e-3, atol=1e-4):
                raise SystemExit(f"{how} does not lead to the weights of the plain loop; nothing was timed")


def results(
    updates: list[str], batches: list[int], train: Split, repetitions: int, seconds: float
) -> list[dict[str, Any]]:
    """One object for each update, batch size and way."""
    cases = [(name, batch) for batch in batches for name in updates]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        # All compilations come first: forked from a process that has already compiled, none would be really cold.
        compiling = {}
        for name, batch in cases:
            cache = f"{folder}/{name}-{batch}"
            cold, warm = (ready_seconds_apart(ROWS[name], train, batch, cache) for _ in range(2))
            compiling[name, batch] = {"compile_cold_s": round(cold, 3), "compile_warm_s": round(warm, 3)}
        for name, batch in cases:
            os.environ[FOLDER_VARIABLE] = f"{folder}/{name}-{batch}/packages"
            times = measure(ROWS[name], train, batch, repetitions, seconds)
            medians = {how: statistics.median(values) for how, values in times.items()}
            for how, median in medians.items():
                found.append(
                    {
                        "update": name,
                        "batch_size": batch,
                        "how": how,
                        "us_per_update": round(1e6 * median, 2),
                        "us_per_update_min": round(1e6 * min(times[how]), 2),
                        "examples_per_second": round(batch / median, 1),
                        "times_plain": round(medians["plain"] / median, 2),
                        **(compiling[name, batch] if how == "compiled" else {}),
                    }
                )
    return found


def markdown(found: list[dict[str, Any]]) -> str:
    """The results as a table."""
    heads = ["update", "batch size", "how", "µs per update", "min", "examples/s", "times plain"]
    rows = []
    for r in found:
        compiling = (
            [f"{r['compile_cold_s']:.1f} s", f"{r['compile_warm_s']:.2f} s"] if r["how"] == "compiled" else ["", ""]
        )
        rows.append(
            [
                r["update"].replace("row", "row "),
                f"{r['batch_size']:,}",
                r["how"],
                f"{r['us_per_update']:,.1f}",
                f"{r['us_per_update_min']:,.1f}",
                f"{r['examples_per_second']:,.0f}",
                f"{r['times_plain']:.1f}x",
                *compiling,
            ]
        )
    return table([*heads, "compile, cold", "warm"], rows, left=(0, 2))


def quiet() -> None:
    """Lightning's tips and its advice on loaders are no part of the result."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--updates", nargs="+", choices=list(ROWS), default=list(ROWS), help="rows whose updates to time"
    )
    parser.add_argument(
        "--batch-sizes", nargs="+", default=["1", "8", "64", "512", "full"], help="digits per update, or full"
    )
    parser.add_argument("--source", choices=["mnist", "digits"], default="mnist", help="digits: needs no data files")
    parser.add_argument("--repetitions", type=int, default=5, help="timings of each way, in turn")
    parser.add_argument("--seconds", type=float, default=0.3, help="aimed at per timing")
    parser.add_argument("--quick", action="store_true", help="two short repetitions: a trial run, not a measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as a list of objects")
    parser.add_argument("--readme", action="store_true", help="put table and machine into benchmarks/README.md")
    return parser.parse_args()


def main() -> None:
    given = parse_arguments()
    if given.quick:
        given.repetitions, given.seconds = 2, 0.02
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    quiet()
    width = narrow_if_asked()
    described = machine()
    data = DigitsDataModule(given.source)
    data.setup()
    batches = [data.n_train if size == "full" else int(size) for size in given.batch_sizes]
    found = results(given.updates, batches, data.train, given.repetitions, given.seconds)
    text = f"{described}\n\n{markdown(found)}"
    publish(f"updates{width}", text, found, given.json, given.readme)


if __name__ == "__main__":
    main()
