"""`export`: a checkpoint's network for use without this package: ONNX, safetensors, or a page to draw on."""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from lecun_repro.cli.build import trained
from lecun_repro.commands.page import page
from lecun_repro.errors import BadArgument, one_line
from lecun_repro.files import may_be_written, write_atomically
from lecun_repro.runs.weights import metadata, packed
from lecun_repro.training.module import DigitClassifier

TOLERANCE = 1e-4  # of outputs computed elsewhere; float32 sums in another order differ by 1e-6


def export(to: str, ckpt_path: str | None = None, trust: list[str] | str | None = None) -> None:
    """Writes a trained network for use without this package.

    Args:
        to: The file to write; its ending chooses what it is. `.onnx`: images (n, 1, 16, 16) in [-1, 1] to the head's
            ten outputs and the digit, for any runtime of ONNX. `.safetensors`: the weights, with the configuration.
            `.html`: a page for any browser, on which one draws digits and watches every layer.
        ckpt_path: A checkpoint that `fit` wrote, or weights exported before, a local file. Default: the network that
            ships with the package.
        trust: Import path of a network or head of your own that the checkpoint may name, or several; they are then
            imported.
    """
    path = Path(to)
    if path.suffix not in FORMATS:
        raise BadArgument("to", to or "no file", f"a file whose name ends in {', '.join(FORMATS)}")
    if not may_be_written(path):
        raise BadArgument("to", to, "a file in a folder that exists, and no link or device")
    model, saved = trained(ckpt_path, [trust] if isinstance(trust, str) else trust or ())
    content, what = FORMATS[path.suffix](model, saved, to)
    try:
        write_atomically(path, content)
    except OSError as error:
        raise BadArgument("to", f"{to}: {error.strerror}", "a file that can be written") from None
    print(f"{to}: {what}")


class Outputs(nn.Module):
    """Images -> the head's outputs, and the digit: the largest of the network's outputs, as in every evaluation."""

    def __init__(self, model: DigitClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.model.evaluated_network(images)
        return self.model.head.activation(outputs), outputs.argmax(1)


def onnx(model: DigitClassifier, saved: dict[str, Any], to: str) -> tuple[bytes, str]:
    """The network and its head as an ONNX model for any number of digits.

    Raises:
        UserError: The packages of the extra `onnx` are not installed, or torch cannot translate the network.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        allowed = 'this one after `pip install -e ".[onnx]"`, or another format'
        raise BadArgument("to", f"{to}, which needs {' and '.join(missing)}", allowed)
    outputs = Outputs(model).eval()
    n = torch.export.Dim("n", min=1)
    try:
        with _quiet():
            program = torch.onnx.export(
                outputs, (random_digits(3),), dynamo=True, dynamic_shapes={"images": {0: n}},
                input_names=["images"], output_names=["logits", "label"], verbose=False,
            )  # fmt: skip
    except Exception as error:  # whatever torch stumbles over in a network of one's own
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        why = one_line(str(cause))[:160]
        file = f"{to} of a {type(model.evaluated_network.own).__name__}"
        raise BadArgument("to", file, f"a network that torch can translate ({why})") from None
    assert program is not None
    program.model.metadata_props.update(metadata(saved))
    content = program.model_proto.SerializeToString()
    return content, f"ONNX, images (n, 1, 16, 16) to logits (n, 10) and label (n); {_check_onnx(content, outputs)}"


def _check_onnx(content: bytes, outputs: nn.Module) -> str:
    """Compares ONNX Runtime with torch on random digits, where it is installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return 'not checked, as there is no ONNX Runtime (`pip install -e ".[onnx]"`)'
    import onnxruntime  # type: ignore[import-untyped, import-not-found, unused-ignore]

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = random_digits(100)
    with torch.no_grad():
        expected, _ = outputs(images)
    logits, _ = session.run(None, {"images": images.numpy()})
    difference = float((torch.from_numpy(logits) - expected).abs().max())
    if not difference < TOLERANCE:
        raise RuntimeError(f"ONNX Runtime's outputs are {difference:.1e} from torch's; nothing was written")
    return f"on 100 random images ONNX Runtime's outputs are within {difference:.0e} of torch's"


def random_digits(n: int) -> Tensor:
    """(n, 1, 16, 16) in [-1, 1], always the same."""
    return torch.rand((n, 1, 16, 16), generator=torch.Generator().manual_seed(n)) * 2 - 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress, no word about torchvision or torch's own deprecations, and no graph that could not be translated."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(disabled)


def safetensors(model: DigitClassifier, saved: dict[str, Any], to: str) -> tuple[bytes, str]:
    """The network's state, for `network.load_state_dict(safetensors.torch.load_file(...))` and any --ckpt_path."""
    state = {name: tensor.contiguous() for name, tensor in model.evaluated_network.state_dict().items()}
    kind = type(model.evaluated_network.own)
    content = packed(state, {"format": "pt", "class": f"{kind.__module__}.{kind.__qualname__}", **metadata(saved)})
    again = load(content)
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())
    count = sum(tensor.numel() for tensor in state.values())
    return content, f"safetensors, {count:,} weights in {len(state)} tensors; read back, they are the same"


# (model, what its checkpoint says of itself, the file asked for) -> contents, and a line on them
Format = Callable[[DigitClassifier, dict[str, Any], str], tuple[str | bytes, str]]
FORMATS: dict[str, Format] = {".onnx": onnx, ".safetensors": safetensors, ".html": page}
