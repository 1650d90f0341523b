"""Random numbers that depend on the seed, the pass and their purpose, and on nothing else."""

from typing import Literal

import numpy as np
import torch

Stream = Literal["shift", "dropout", "curvature", "augment", "network"]
STREAMS: dict[Stream, int] = {"shift": 0, "dropout": 1, "curvature": 2, "augment": 3, "network": 4}


def pass_generator(seed: int, pass_index: int, stream: Stream, *number: int) -> torch.Generator:
    """A CPU generator for one purpose in one pass over the training digits.

    It always lives on the CPU, so that the numbers are the same whatever device the training runs on; and
    since it starts anew with every pass, a run resumed at a pass draws what the undisturbed run would have
    drawn.

    Args:
        seed: Seed of the run, 0 or more.
        pass_index: Number of the pass, counted from 0.
        stream: What the numbers are for; different streams of one pass are independent.
        number: Which one of several with the same purpose, from 0.
    """
    # A spawn key keeps the numbers apart; a list of them would run together as one long seed.
    sequence = np.random.SeedSequence(seed, spawn_key=(pass_index, STREAMS[stream], *number))
    # 32 bits: torch's CPU generator (Mersenne twister) reads no more of its seed.
    return torch.Generator().manual_seed(int(sequence.generate_state(1)[0]))
