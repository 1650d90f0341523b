"""A page on which one draws digits and watches a trained network read them: `page.html`, filled with its weights."""

import base64
import json
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from torch import Tensor

from lecun_repro.data.sources.mnist import MARGINS
from lecun_repro.errors import BadArgument
from lecun_repro.models.base import ACTIVATIONS
from lecun_repro.models.convnet import ConvNet1989
from lecun_repro.models.heads import CrossEntropy, TanhMSE, Taught
from lecun_repro.report.published import BY_ROW
from lecun_repro.runs.weights import final_results
from lecun_repro.training.module import DigitClassifier

PLACE = "{{checkpoint}}"  # in page.html, for everything that comes from a checkpoint


def template() -> str:
    """`page.html` as it is before a network is put in."""
    return files("lecun_repro.commands").joinpath("page.html").read_text(encoding="utf-8")


def computed() -> list[str]:
    """The activations that `page.html` computes."""
    _, _, after = template().partition("const ACTIVATIONS = {")
    return re.findall(r"^  (\w+): ", after.partition("};")[0], re.MULTILINE)


def page(model: DigitClassifier, saved: dict[str, Any], to: str = "a page") -> tuple[str, str]:
    """One HTML file that runs the network in any browser, and a line on it.

    Args:
        model: The trained model.
        saved: What its checkpoint says of itself: `row`, `config` and `results`.
        to: The file asked for.

    Raises:
        UserError: The page has no code for this network, activation or head.
    """
    network, head = model.evaluated_network, model.head
    if type(network) is not ConvNet1989:  # a subclass may compute something else
        raise BadArgument(
            "to", f"{to} of a {type(network.own).__name__}", "a page of a ConvNet1989; .onnx takes any network"
        )
    if type(head) not in (CrossEntropy, Taught, TanhMSE):
        raise BadArgument(
            "to", f"{to} with a {type(head).__name__}", "a page with CrossEntropy, Taught or TanhMSE; .onnx takes any"
        )
    activation = _name(network.activation)
    if activation not in (names := computed()):
        raise BadArgument("to", f"{to} with the activation {activation}", f"{', '.join(names)}; .onnx takes any")
    weights = {
        "H1w": network.H1w.flatten(1),  # (maps of H1, 25)
        "H1b": network.H1b.flatten(1),  # (maps of H1, 64)
        "H2w": network.dense_H2w(),  # (maps of H2, 25, maps of H1), zero where there is no connection
        "H2b": network.H2b.flatten(1),  # (maps of H2, 16)
        "H3w": network.H3w,  # (units of H2, units of H3)
        "H3b": network.H3b,
        "outw": network.outw,  # (units of H3, 10)
        "outb": network.outb,
    }
    parameters = sum(p.numel() for p in network.parameters())
    checkpoint = {
        **origin(saved),
        "parameters": parameters,
        "activation": activation,
        "head": _name(head.squash) if isinstance(head, TanhMSE) else "softmax",
        "table": network.table,
        "weights": {name: packed(tensor) for name, tensor in weights.items()},
    }
    content = template().replace(PLACE, inert(json.dumps(checkpoint)))
    return content, f"a page that draws and reads digits, {parameters:,} parameters, {len(content) / 1000:.0f} kB"


def origin(saved: dict[str, Any]) -> dict[str, Any]:
    """Row, seed, digits, frame and final results of a checkpoint, as plain values; None for what it does not say."""
    row, config, results = saved.get("row"), saved["config"], final_results(saved)
    tested = next((split for split in ("test", "holdout") if split in results), None)
    data = config.get("data")
    return {
        "row": None if row is None else str(row),
        "title": BY_ROW[row].title if isinstance(row, str) and row in BY_ROW else None,
        "seed": config.get("seed_everything") if isinstance(config.get("seed_everything"), int) else None,
        "source": str(data.get("source")) if isinstance(data, dict) else None,
        "frame": next((frame for frame in MARGINS if isinstance(data, dict) and data.get("frame") == frame), "article"),
        "trained_on": results["train"]["n"] if "train" in results else None,
        "split": tested,
        "n": results[tested]["n"] if tested else None,
        "misses": results[tested]["misses"] if tested else None,
    }


def packed(tensor: Tensor) -> dict[str, Any]:
    """A tensor as its shape and its little-endian float32 numbers in base64."""
    numbers = tensor.detach().cpu().contiguous().numpy().astype("<f4")
    return {"shape": list(tensor.shape), "float32": base64.b64encode(numbers.tobytes()).decode()}


def inert(text: str) -> str:
    """JSON that nothing in HTML can end or enter: the characters of markup as JSON's own escapes."""
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")  # json.dumps leaves ASCII alone


def _name(activation: Callable[[Tensor], Tensor]) -> str:
    names = (name for name, function in ACTIVATIONS.items() if function is activation)
    return next(names, getattr(activation, "__name__", "of one's own"))
