"""The page with a network in it: its data, what it says, and the one that is kept under `docs/`."""

import base64
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lecun_repro import ConvNet1989, CrossEntropy, DigitClassifier, TanhMSE
from lecun_repro.commands.page import PLACE, final_results, inert, page, template
from lecun_repro.data.datamodule import DigitsDataModule

ROOT = Path(__file__).parents[2]
SAVED: dict[str, Any] = {"row": "mine", "config": {"seed_everything": 7}, "results": {}}
ISLAND = re.compile(r'(<script type="application/json" id="checkpoint">)(.*?)(</script>)', re.S)


def data_of(text: str) -> dict[str, Any]:
    """The JSON in a page."""
    (match,) = ISLAND.findall(text)
    return json.loads(match[1])


def numbers_of(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["float32"]), "<f4").reshape(packed["shape"])


def network_of(text: str) -> ConvNet1989:
    """The network in a page, put together from its data alone."""
    data = data_of(text)
    network = ConvNet1989(data["activation"], table=data["table"])
    weights = {name: torch.from_numpy(numbers_of(packed).copy()) for name, packed in data["weights"].items()}
    dense = weights["H2w"].permute(0, 2, 1)  # (map of H2, map of H1, kernel element)
    weights["H2w"] = torch.stack([kernels[row] for kernels, row in zip(dense, data["table"], strict=True)])
    network.load_state_dict({name: weights[name].view(p.shape) for name, p in network.named_parameters()})
    return network.eval()


class Tags(HTMLParser):
    """The tags of a page, and every attribute that could fetch something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name == "src" or (name == "href" and tag != "a")]


def test_the_weights_are_the_networks() -> None:
    torch.manual_seed(5)
    network = ConvNet1989("gelu", table="cyclic")
    text, line = page(DigitClassifier(network, CrossEntropy()), SAVED)
    assert "9,760 parameters" in line
    again = network_of(text)
    for name, parameter in network.named_parameters():
        assert torch.equal(dict(again.named_parameters())[name], parameter), name


@pytest.mark.parametrize(
    "head, name",
    [(CrossEntropy(), "softmax"), (TanhMSE(), "tanh"), (TanhMSE("scaled_tanh", 1.0), "scaled_tanh")],
)
def test_the_head_has_a_name(head: Any, name: str) -> None:
    assert data_of(page(DigitClassifier(ConvNet1989(), head), SAVED)[0])["head"] == name


def test_only_one_place_is_filled_and_nothing_is_fetched() -> None:
    assert template().count(PLACE) == 1
    text, _ = page(DigitClassifier(ConvNet1989(), TanhMSE()), SAVED)
    assert Tags(text).sources == ["data:,"]
    assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(|@import|url\(|WebSocket|sendBeacon", text)
    assert "default-src 'none'" in text


HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)> & \u2028 'quoted'"


def test_nothing_in_a_checkpoint_becomes_markup() -> None:
    saved = {
        "row": HOSTILE,
        "config": {"seed_everything": HOSTILE, "data": {"source": HOSTILE}},
        "results": {HOSTILE: {"n": 5, "misses": 1}, "test": {"n": HOSTILE, "misses": 1}},
    }
    model = DigitClassifier(ConvNet1989(), TanhMSE())
    text, plain = page(model, saved)[0], page(model, SAVED)[0]
    assert Tags(text).tags == Tags(plain).tags
    data = data_of(text)
    assert data["row"] == HOSTILE
    assert data["source"] == HOSTILE
    assert data["seed"] is None
    assert data["misses"] is None
    assert inert(json.dumps(HOSTILE)).isascii()
    assert json.loads(inert(json.dumps(HOSTILE))) == HOSTILE


@pytest.mark.parametrize(
    "results", [None, [], "x", {"test": 3}, {"test": {"n": 0, "misses": 0}}, {"test": {"n": 2, "misses": 3}},
                {"test": {"n": True, "misses": 0}}, {"test": {"n": 2.0, "misses": "<"}}],
)  # fmt: skip
def test_results_that_are_none_are_left_out(results: Any) -> None:
    assert final_results({"results": results}) == {}


def test_a_holdout_is_named_as_such() -> None:
    saved = SAVED | {"results": {"train": {"n": 9, "misses": 0}, "holdout": {"n": 4, "misses": 1}}}
    data = data_of(page(DigitClassifier(ConvNet1989(), TanhMSE()), saved)[0])
    assert (data["trained_on"], data["split"], data["n"], data["misses"]) == (9, "holdout", 4, 1)


# docs/draw.html -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept() -> str:
    return (ROOT / "docs" / "draw.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def row_5() -> dict[str, Any]:
    """The results of row 5 with the first seed."""
    runs = json.loads((ROOT / "results" / "article.json").read_text())
    (run,) = [r for r in runs if (r["row"], r["seed"]) == ("5_dropout_relu", 1337)]
    return run


def test_the_kept_page_is_todays_template(kept: str) -> None:
    # To renew it: python cli.py export --ckpt_path lightning_logs/5_dropout_relu/…/last.ckpt --to docs/draw.html
    assert ISLAND.sub(lambda match: match[1] + PLACE + match[3], kept) == template()
    assert files("lecun_repro").joinpath("page.html").is_file()


def test_the_kept_page_states_the_committed_results(kept: str, row_5: dict[str, Any]) -> None:
    data = data_of(kept)
    assert (data["row"], data["seed"], data["activation"], data["head"]) == ("5_dropout_relu", 1337, "relu", "softmax")
    assert (data["n"], data["misses"]) == (row_5["test"]["n"], row_5["test"]["misses"])
    assert data["trained_on"] == row_5["train"]["n"]
    assert data["parameters"] == sum(p.numel() for p in network_of(kept).parameters()) == 9760


def test_the_kept_page_has_the_weights_behind_those_results(kept: str, row_5: dict[str, Any], real_data: Path) -> None:
    data = DigitsDataModule(draw="article", root=real_data)
    data.setup()
    with torch.no_grad():
        labels = network_of(kept)(data.splits["test"].images).argmax(1)
    missed = (labels != data.splits["test"].labels).nonzero().flatten()
    assert missed.tolist() == row_5["test"]["missed"]
    assert labels[missed].tolist() == row_5["test"]["predicted"]
