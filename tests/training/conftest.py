"""The traced update in the place of the compiled one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lecun_repro.training import updates


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[torch.nn.Module]:
    """Has graphs interpreted in the place of being compiled; the list of those that were asked for."""
    graphs: list[torch.nn.Module] = []

    def interpret(scan: Any, carry: Any, xs: Any, unless: Any) -> Callable:
        graphs.append(scan)

        def run(carry: list[Tensor], examples: tuple[Tensor, ...]):
            losses = []
            for example in zip(*examples, strict=True):
                carry, loss = scan.update(carry, example)
                losses.append(loss)
            return carry, torch.stack(losses)

        return run

    monkeypatch.setattr(updates, "load_or_build", interpret)
    return graphs
