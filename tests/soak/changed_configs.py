"""Changed configurations: a fit that goes on from a checkpoint with one to three keys changed at random.

    python tests/soak/changed_configs.py --cases 300

What has a part in the results has to be refused, in one line that names a key that was changed; what has none has to be
taken. Everything is built and checked, nothing is trained. Ends with 1 if any is neither.
"""

import argparse
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from bad_configs import Built, outcome

from lecun_repro import __main__ as program

ROOT = Path(__file__).parents[2]
RUN = ["fit", "--config", str(ROOT / "configs/quickstart.yaml"), "--data.source=digits", "--data.train_size=60"]
RUN += ["--data.test_size=40", "--trainer.max_epochs=2"]

REFUSED = {
    "seed_everything": ["1", "7", "4294967295"],
    "optimizer.lr": ["0.001", "1e-5", "0.0"],
    "optimizer.weight_decay": ["0.5", "0.0"],
    "optimizer.betas": ["[0.8, 0.99]"],
    "optimizer": ["SGD", "RMSprop"],
    "lr_scheduler": ["null"],
    "data.holdout": ["5", "20"],
    "data.fold": ["1/5", "2/5"],
    "data.train_size": ["59", "30"],
    "data.test_size": ["39"],
    "data.draw": ["1", "7"],
    "data.shift": ["roll", "null"],
    "data.batch_size": ["2", "full"],
    "data.augment": ['[{"class_path": "lecun_repro.Elastic"}]'],
    "model.network.activation": ["tanh", "gelu"],
    "model.network.dropout": ["0.5", "0.1"],
    "model.network.output_bias": ["-1.0"],
    "model.head": ["TanhMSE"],
    "model.average": ["ema", "swa"],
    "model.lr_interval": ["step"],
    "model.param_groups": ['{"b$": {"weight_decay": 0.3}}'],
    "trainer.gradient_clip_val": ["0.5"],
    "trainer.max_epochs": ["1"],
}
TAKEN = {
    "trainer.max_epochs": ["2", "3", "100"],
    "data.block_size": ["1", "64"],
    "threads": ["1"],
    "trainer.logger.init_args.name": ["another"],
    "trainer.enable_progress_bar": ["false"],
    "pictures.every": ["0"],
    "model.compile": ["false"],
}


def some(choices: dict[str, list[str]], chance: random.Random) -> dict[str, str]:
    """None to two of the keys, each with one of its values."""
    return {key: chance.choice(choices[key]) for key in chance.sample(sorted(choices), chance.randrange(3))}


def check(cases: int, seed: int = 1) -> tuple[Counter[str], list[str]]:
    """Counts of what became of them, and the faults."""
    chance, counts, faults = random.Random(seed), Counter[str](), []
    here, run = Path.cwd(), program.run
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            if (made := outcome(RUN)) != "wrote something":
                return counts, [f"the fit itself: {made}"]
            [checkpoint] = Path("lightning_logs").rglob("last.ckpt")
            program.run = lambda arguments, started, cli: run(arguments, started, Built)  # type: ignore[misc]
            for _ in range(cases):
                changes = {key: chance.choice(TAKEN[key]) for key in chance.sample(sorted(TAKEN), chance.randrange(3))}
                wrong = {
                    key: chance.choice(REFUSED[key]) for key in chance.sample(sorted(REFUSED), chance.randrange(3))
                }
                flags = [f"--{key}={value}" for key, value in {**changes, **wrong}.items()]
                result = outcome([*RUN, f"--ckpt_path={checkpoint}", *flags])
                counts[result if result in ("taken", "refused") else "faults"] += 1
                if result != ("refused" if wrong else "taken"):
                    faults.append(f"{result}: {' '.join(flags)}")
        finally:
            os.chdir(here)
            program.run = run
    return counts, faults


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    started = time.monotonic()
    counts, faults = check(given.cases, given.seed)
    seconds = time.monotonic() - started
    print(f"{given.cases} changed configurations, {len(faults)} faults, {seconds:.0f} s, {dict(counts)}")
    print(*faults[:20], sep="\n---\n")
    raise SystemExit(bool(faults))
