"""Rows 1 and 5 of the article as anyone would write them: plain PyTorch, one digit at a time, nothing of the package.

    python benchmarks/plain_loop.py --row 1_baseline --seeds 10 --jobs 2

What the package's own updates are held against: `python cli.py report` compares the misses of both. Written from the
article, its published code and the paper, not from the package. A run takes minutes (row 1) or a quarter of an hour
(row 5) on one core; a seed that is in the results already is not run again. MNIST is read from $LECUN_REPRO_DATA/mnist,
else from data/mnist, as four gzip files.
"""

import argparse
import gzip
import hashlib
import json
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESULTS = Path(__file__).parents[1] / "results" / "plain_loop.json"
FIRST_SEED = 1337
TRAIN, TEST = 7_291, 2_007  # digits of the article's draw
TEST_ORDER = "dfc249aee3aaaa7f7c2cca9b3ae9cc8ca8c2171d3d1c1a12807a254577004e10"  # sha256, little-endian int64
TRAIN_ORDER = "1fd53c6f469bd9e8d302f559e7d1c72ce7318e6a2c2aacb97dde631f1d101c26"


class Row(NamedTuple):
    """What tells the article's first row from its fifth."""

    passes: int
    modern: bool  # ReLU, logits and cross-entropy, AdamW with a falling rate, shifts, dropout


ROWS = {"1_baseline": Row(23, False), "5_dropout_relu": Row(80, True)}


class Net(nn.Module):
    """The network of 1989: 16x16 -> 12 maps of 8x8 -> 12 maps of 4x4 -> 30 -> 10, with 9,760 parameters."""

    def __init__(self, seed: int, modern: bool) -> None:
        super().__init__()

        def weights(fan_in: int, *shape: int) -> nn.Parameter:
            return nn.Parameter((torch.rand(shape) - 0.5) * 2 * 2.4 / fan_in**0.5)

        torch.manual_seed(seed)
        self.h1w, self.h1b = weights(5 * 5, 12, 1, 5, 5), nn.Parameter(torch.zeros(12, 8, 8))
        self.h2w, self.h2b = weights(5 * 5 * 8, 12, 8, 5, 5), nn.Parameter(torch.zeros(12, 4, 4))
        self.h3w, self.h3b = weights(4 * 4 * 12, 4 * 4 * 12, 30), nn.Parameter(torch.zeros(30))
        self.outw, self.outb = weights(30, 30, 10), nn.Parameter(torch.full((10,), 0.0 if modern else -1.0))
        self.modern = modern

    def forward(self, x: Tensor) -> Tensor:
        """Digits (n, 1, 16, 16) to outputs (n, 10): logits in the modern row, tanh in the first."""
        f = torch.relu if self.modern else torch.tanh
        x = F.pad(x, (2, 2, 2, 2), value=-1.0)  # 20x20; the background is -1, with ReLU too
        x = f(F.conv2d(x, self.h1w, stride=2) + self.h1b)  # a bias per unit
        x = F.pad(x, (2, 2, 2, 2), value=-1.0)  # 12x12
        parts = (x[:, 0:8], x[:, 4:12], torch.cat((x[:, 0:4], x[:, 8:12]), dim=1))  # four maps of H2 read each
        x = torch.cat([F.conv2d(p, w, stride=2) for p, w in zip(parts, self.h2w.split(4), strict=True)], dim=1)
        x = f(x + self.h2b).flatten(1)
        if self.modern:
            x = F.dropout(x, 0.25, self.training)
        x = f(x @ self.h3w + self.h3b)
        x = x @ self.outw + self.outb
        return x if self.modern else torch.tanh(x)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in the modern row; in the first the mean squared error over outputs, targets of +1 and -1."""
        if self.modern:
            return F.cross_entropy(outputs, labels)
        return torch.mean((outputs - (2.0 * F.one_hot(labels, 10) - 1.0)) ** 2)


def train(net: Net, images: Tensor, labels: Tensor, passes: int) -> None:
    """A pass shows each digit once, in the given order, with an update after each."""
    net.train()
    if net.modern:
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4, fused=True)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.03)
    for number in range(passes):
        if net.modern:  # the rate falls linearly from pass to pass, to a third in the last
            fraction = number / max(passes - 1, 1)
            optimizer.param_groups[0]["lr"] = (1 - fraction) * 3e-4 + fraction * 1e-4
        for i in range(len(labels)):
            x = images[i : i + 1]
            if net.modern:  # pixels that leave on one side come back on the other
                x = torch.roll(x, torch.randint(-1, 2, (2,)).tolist(), (2, 3))
            loss = net.loss(net(x), labels[i : i + 1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def evaluate(net: Net, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Loss, misses, and which digits are missed as what."""
    net.eval()
    outputs = net(images)
    predicted = outputs.argmax(1)
    missed = (predicted != labels).nonzero().flatten()
    n, misses = len(labels), len(missed)
    return {
        "n": n, "loss": float(net.loss(outputs, labels)), "error": 100 * misses / n, "misses": misses,
        "missed": missed.tolist(), "predicted": predicted[missed].tolist(),
    }  # fmt: skip


def digits() -> dict[str, tuple[Tensor, Tensor]]:
    """The article's training digits, its test digits, and the others of the test file, each in its order."""
    folder = Path(os.environ.get("LECUN_REPRO_DATA", "data")) / "mnist"

    def file(name: str, header: int) -> np.ndarray:
        return np.frombuffer(gzip.decompress((folder / f"{name}-ubyte.gz").read_bytes()), np.uint8, offset=header)

    def split(part: str, order: np.ndarray) -> tuple[Tensor, Tensor]:
        images = file(f"{part}-images-idx3", 16).reshape(-1, 28, 28)[order]
        labels = file(f"{part}-labels-idx1", 8)[order]
        x = torch.from_numpy(images.astype(np.float32))[:, None] / 127.5 - 1
        return F.interpolate(x, (16, 16), mode="bilinear"), torch.from_numpy(labels.astype(np.int64))

    rng = np.random.RandomState(1337)  # test first: the order behind the published numbers
    test, training = rng.permutation(10_000), rng.permutation(60_000)[:TRAIN]
    for order, expected in ((test[:TEST], TEST_ORDER), (training, TRAIN_ORDER)):
        assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest() == expected, "not the article's draw"
    splits = {"train": split("train", training), "test": split("t10k", test[:TEST])}
    return splits | {"unseen": split("t10k", test[TEST:])}


def run(row: str, seed: int) -> dict[str, Any]:
    """One run, as a record of the form that `report` reads."""
    torch.set_num_threads(1)
    torch.backends.mkldnn.set_flags(False)  # its convolutions are slower for a single digit
    splits, (passes, modern) = digits(), ROWS[row]
    started = time.perf_counter()
    net = Net(seed, modern)
    train(net, *splits["train"], passes)
    seconds, updates = time.perf_counter() - started, passes * TRAIN
    results = {name: evaluate(net, *split) for name, split in splits.items()}
    curve = {name: {"pass": [passes], "loss": [r["loss"]], "misses": [r["misses"]]} for name, r in results.items()}
    return {
        "row": row, "seed": seed, "source": "mnist", "draw": "article", "passes": passes, "updates": updates,
        "parameters": sum(p.numel() for p in net.parameters()), "compiled": False, "fit_seconds": round(seconds, 1),
        "us_per_update": round(1e6 * seconds / updates, 1), **results, "curve": curve,
        "versions": {"python": platform.python_version(), "torch": torch.__version__}, "config_hash": "plain loop",
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", choices=ROWS, required=True)
    parser.add_argument("--seeds", type=int, default=10, help=f"how many, from {FIRST_SEED} on")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    records = {(r["row"], r["seed"]): r for r in json.loads(given.out.read_text())} if given.out.exists() else {}
    seeds = [s for s in range(FIRST_SEED, FIRST_SEED + given.seeds) if (given.row, s) not in records]
    with ProcessPoolExecutor(given.jobs) as pool:
        for done in as_completed([pool.submit(run, given.row, seed) for seed in seeds]):
            record = done.result()
            records[record["row"], record["seed"]] = record
            lines = (json.dumps(r, separators=(",", ":")) for _, r in sorted(records.items()))
            beside = given.out.with_suffix(".part")
            beside.write_text("[\n" + ",\n".join(lines) + "\n]\n")
            beside.replace(given.out)  # so that a run that is stopped leaves whole files
            counts = ", ".join(f"{name} {record[name]['misses']}" for name in ("train", "test", "unseen"))
            print(f"{given.row}, seed {record['seed']}: misses {counts}; {record['fit_seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
