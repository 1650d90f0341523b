"""The page with a network in it: its data, what it says, and the one that is kept under `docs/`."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from lecun_repro import ConvNet1989, CrossEntropy, DigitClassifier, TanhMSE
from lecun_repro.commands.page import PLACE, computed, inert, page, template
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.errors import UserError
from lecun_repro.models.base import ACTIVATIONS
from lecun_repro.runs.weights import final_results

ROOT = Path(__file__).parents[2]


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


def test_the_weights_are_the_networks(saved, network_of) -> None:
    torch.manual_seed(5)
    network = ConvNet1989("gelu", table="cyclic")
    text, line = page(DigitClassifier(network, CrossEntropy()), saved)
    assert "9,760 parameters" in line
    again = network_of(text)
    for name, parameter in network.named_parameters():
        assert torch.equal(dict(again.named_parameters())[name], parameter), name


@pytest.mark.parametrize(
    "head, name",
    [(CrossEntropy(), "softmax"), (TanhMSE(), "tanh"), (TanhMSE("scaled_tanh", 1.0), "scaled_tanh")],
)
def test_the_head_has_a_name(head: Any, name: str, saved, data_of) -> None:
    assert data_of(page(DigitClassifier(ConvNet1989(), head), saved)[0])["head"] == name


def test_an_activation_that_the_page_cannot_compute_is_refused(saved, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"tanh", "relu", "gelu"} <= {*computed()} <= {*ACTIVATIONS}
    assert {*ACTIVATIONS} - {*computed()} == {"scaled_tanh_skip"}, "of which a fit offers no page"
    monkeypatch.setitem(ACTIVATIONS, "softsign", torch.nn.functional.softsign)
    with pytest.raises(UserError, match=r"^to: a page with the activation softsign; allowed: tanh, scaled_tanh, "):
        page(DigitClassifier(ConvNet1989("softsign"), TanhMSE()), saved)  # type: ignore[arg-type]


def test_only_one_place_is_filled_and_nothing_is_fetched(saved) -> None:
    assert template().count(PLACE) == 1
    text, _ = page(DigitClassifier(ConvNet1989(), TanhMSE()), saved)
    assert Tags(text).sources == ["data:,"]
    assert not re.search(r"\bfetch\(|XMLHttpRequest|import\(|@import|url\(|WebSocket|sendBeacon", text)
    assert "default-src 'none'" in text


def test_nothing_in_a_checkpoint_becomes_markup(saved, hostile, data_of) -> None:
    all_hostile = {
        "row": hostile,
        "config": {"seed_everything": hostile, "data": {"source": hostile}},
        "results": {hostile: {"n": 5, "misses": 1}, "test": {"n": hostile, "misses": 1}},
    }
    model = DigitClassifier(ConvNet1989(), TanhMSE())
    text, plain = page(model, all_hostile)[0], page(model, saved)[0]
    assert Tags(text).tags == Tags(plain).tags
    data = data_of(text)
    assert data["row"] == hostile
    assert data["source"] == hostile
    assert data["seed"] is None
    assert data["misses"] is None
    assert inert(json.dumps(hostile)).isascii()
    assert json.loads(inert(json.dumps(hostile))) == hostile


@pytest.mark.parametrize(
    "results", [None, [], "x", {"test": 3}, {"test": {"n": 0, "misses": 0}}, {"test": {"n": 2, "misses": 3}},
                {"test": {"n": True, "misses": 0}}, {"test": {"n": 2.0, "misses": "<"}}],
)  # fmt: skip
def test_results_that_are_none_are_left_out(results: Any) -> None:
    assert final_results({"results": results}) == {}


def test_a_holdout_is_named_as_such(saved, data_of) -> None:
    with_holdout = saved | {"results": {"train": {"n": 9, "misses": 0}, "holdout": {"n": 4, "misses": 1}}}
    data = data_of(page(DigitClassifier(ConvNet1989(), TanhMSE()), with_holdout)[0])
    assert (data["trained_on"], data["split"], data["n"], data["misses"]) == (9, "holdout", 4, 1)


@pytest.mark.parametrize(
    ("data", "frame"),
    [({"frame": "paper"}, "paper"), ({"frame": "normalised"}, "normalised"), ({}, "article"), (None, "article")],
)
def test_a_page_has_the_frame_of_its_network(data: Any, frame: str, saved, data_of) -> None:
    framed = saved | {"config": {"data": data}}
    assert data_of(page(DigitClassifier(ConvNet1989(), TanhMSE()), framed)[0])["frame"] == frame


# docs/draw.html -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept() -> str:
    return (ROOT / "docs" / "draw.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def best() -> dict[str, Any]:
    """The results of the best row with the first seed."""
    runs = json.loads((ROOT / "results" / "beyond.json").read_text())
    (run,) = [r for r in runs if (r["row"], r["seed"]) == ("8_normalised", 1337)]
    return run


def test_the_kept_page_is_todays_template(kept: str) -> None:
    # To renew it: python cli.py export --ckpt_path lightning_logs/8_normalised/…/last.ckpt --to docs/draw.html
    before, after = template().split(PLACE)
    assert kept.startswith(before) and kept.endswith(after)


def test_the_kept_page_states_the_committed_results(kept: str, best: dict[str, Any], data_of, network_of) -> None:
    data = data_of(kept)
    assert (data["row"], data["seed"], data["activation"], data["head"]) == ("8_normalised", 1337, "gelu", "softmax")
    assert (data["n"], data["misses"]) == (best["test"]["n"], best["test"]["misses"])
    assert data["trained_on"] == best["train"]["n"]
    assert data["parameters"] == sum(p.numel() for p in network_of(kept).parameters()) == 9760


def test_the_kept_page_has_the_weights_behind_those_results(
    kept: str, best: dict[str, Any], real_data: Path, network_of
) -> None:
    data = DigitsDataModule(draw="article", frame="normalised", root=real_data)
    data.setup()
    with torch.no_grad():
        labels = network_of(kept)(data.splits["test"].images).argmax(1)
    missed = (labels != data.splits["test"].labels).nonzero().flatten()
    assert missed.tolist() == best["test"]["missed"]
    assert labels[missed].tolist() == best["test"]["predicted"]
