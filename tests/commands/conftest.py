"""What the tests of commands share: refusals, a checkpoint's words, and the way back from a page to its network."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lecun_repro import ConvNet1989

ISLAND = re.compile(r'<script type="application/json" id="checkpoint">(.*?)</script>', re.S)


@pytest.fixture
def refused(refused: Callable[..., str]) -> Callable[..., str]:
    """The same as for every command; its line says what is allowed."""

    def refuse(*command: str) -> str:
        line = refused(*command)
        assert "; allowed: " in line
        return line

    return refuse


@pytest.fixture(scope="session")
def saved() -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return {"row": "mine", "config": {"seed_everything": 7}, "results": {}}


@pytest.fixture(scope="session")
def hostile() -> str:
    """A name that is markup, wherever it is taken for it."""
    return "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)> & \u2028 'quoted'"


@pytest.fixture(scope="session")
def data_of() -> Callable[[str], dict[str, Any]]:
    """Takes the JSON out of a page."""

    def data(page: str) -> dict[str, Any]:
        (island,) = ISLAND.findall(page)
        return json.loads(island)

    return data


@pytest.fixture(scope="session")
def network_of(data_of: Callable[[str], dict[str, Any]]) -> Callable[[str], ConvNet1989]:
    """Puts the network in a page together, from the page's data alone."""

    def tensor(packed: dict[str, Any]) -> torch.Tensor:
        numbers = torch.frombuffer(bytearray(base64.b64decode(packed["float32"])), dtype=torch.float32)  # little-endian
        return numbers.view(packed["shape"])

    def network(page: str) -> ConvNet1989:
        data = data_of(page)
        made = ConvNet1989(data["activation"], table=data["table"])
        weights = {name: tensor(packed) for name, packed in data["weights"].items()}
        dense = weights["H2w"].permute(0, 2, 1)  # (map of H2, map of H1, kernel element)
        weights["H2w"] = torch.stack([kernels[reads] for kernels, reads in zip(dense, data["table"], strict=True)])
        made.load_state_dict({name: weights[name].view(p.shape) for name, p in made.named_parameters()})
        return made.eval()

    return network
