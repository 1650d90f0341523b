"""Changed configurations: a fit that goes on from a checkpoint with one to three keys changed at random.

    python tests/soak/changed_configs.py --cases 300

What has a part in the results has to be refused, in one line that names a key that was changed; what has none has to be
taken. Everything is built and checked, nothing is trained. Ends with 1 if any is neither.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from bad_configs import outcome
from cases import Case, command, elsewhere, only_built

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


def tried(cases: int, chance: random.Random) -> Iterator[Case]:
    """Each with its flags."""
    with elsewhere():
        if (made := outcome(RUN)) != "wrote something":
            yield Case(made, "the fit itself")
            return
        [checkpoint] = Path("lightning_logs").rglob("last.ckpt")
        with only_built():
            for _ in range(cases):
                changes, wrong = some(TAKEN, chance), some(REFUSED, chance)
                flags = [f"--{key}={value}" for key, value in {**changes, **wrong}.items()]
                result = outcome([*RUN, f"--ckpt_path={checkpoint}", *flags])
                yield Case(result, " ".join(flags), ("refused" if wrong else "taken",))


if __name__ == "__main__":
    command(tried, "changed configurations", __doc__, 300)
