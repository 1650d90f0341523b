"""Bad checkpoints: one of a real fit with single bits flipped and cut short, at random places.

    python tests/soak/bad_checkpoints.py --flips 2000 --cuts 200

Each has to be refused in one line, or to hold exactly what the good one does (a flipped bit in a time stamp, say). Ends
with 1 if any is not.
"""

import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import fits
from cases import arguments, end

from lecun_repro.errors import UserError
from lecun_repro.runs.checkpoints import load_checkpoint


def outcome(path: Path, body: bytes, expected: dict) -> str:
    """`refused`, `the same`, or the fault."""
    path.write_bytes(body)
    try:
        loaded = load_checkpoint(path)
    except UserError as error:
        return "refused" if str(error).startswith("ckpt_path: ") and "\n" not in str(error) else f"unclear: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    where = fits.difference(loaded, expected)
    return "the same" if where is None else f"OTHER CONTENTS at {where}"


def check(folder: Path, flips: int, cuts: int, seed: int = 1) -> Counter[str]:
    """Counts of what became of the damaged checkpoints."""
    chance = random.Random(seed)
    fits.fit(folder, [*fits.arguments(False), "--trainer.max_epochs", "1"])
    path = folder / fits.FOLDER / "checkpoints/last.ckpt"
    body, expected = path.read_bytes(), load_checkpoint(path)
    counts: Counter[str] = Counter()
    for number in range(flips):
        # Half of them where the structure is, at either end of the file; the weights are the long middle.
        edge = chance.choice([chance.randrange(12_000), len(body) - 1 - chance.randrange(6_000)])
        at = edge if number % 2 else chance.randrange(len(body))
        flipped = body[:at] + bytes([body[at] ^ (1 << chance.randrange(8))]) + body[at + 1 :]
        counts[f"one bit flipped: {outcome(path, flipped, expected)}"] += 1
    for _ in range(cuts):
        counts[f"cut short: {outcome(path, body[: chance.randrange(len(body))], expected)}"] += 1
    return counts


def faults(counts: Counter[str]) -> list[str]:
    return [what for what in counts if not what.endswith((": refused", ": the same"))]


if __name__ == "__main__":
    given = arguments(__doc__, flips=2000, cuts=200)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts = check(Path(folder), given.flips, given.cuts)
    told = f"{counts.total()} bad checkpoints, {len(faults(counts))} faults, {time.monotonic() - started:.0f} s"
    end(told, faults(counts), dict(sorted(counts.items())))
