"""`export`: ONNX and safetensors hold what torch computes, and whatever cannot be exported is one line."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lecun_repro import ConvNet1989, CrossEntropy, DigitClassifier, FullyConnected1989, Head, Network, TanhMSE
from lecun_repro.__main__ import main
from lecun_repro.commands.export import random_digits
from lecun_repro.data.datamodule import DigitsDataModule

pytestmark = pytest.mark.usefixtures("own_folder")

ROOT = Path(__file__).parents[2]
CASES: list[tuple[type[Network], dict[str, Any], type[Head], dict[str, Any]]] = [
    (ConvNet1989, {}, TanhMSE, {}),
    (ConvNet1989, {"activation": "gelu", "table": "full"}, CrossEntropy, {}),
    (ConvNet1989, {"activation": "scaled_tanh", "table": "cyclic"}, TanhMSE, {"activation": "scaled_tanh"}),
    (FullyConnected1989, {}, CrossEntropy, {}),
]


def checkpoint(
    path: Path,
    network: type[Network] = ConvNet1989,
    network_args: dict[str, Any] | None = None,
    head: type[Head] = TanhMSE,
    head_args: dict[str, Any] | None = None,
    **saved: Any,
) -> DigitClassifier:
    """Writes a checkpoint of untrained weights as far as an export reads it, and returns its model."""
    network_args, head_args = network_args or {}, head_args or {}
    model = DigitClassifier(network(**network_args), head(**head_args)).eval()

    def spec(kind: type, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}

    config = {"seed_everything": 7, "model": {"network": spec(network, network_args), "head": spec(head, head_args)}}
    about = {"format": 1, "row": "mine", "config": config, "results": {"test": {"n": 200, "misses": 3}}}
    torch.save({"state_dict": model.state_dict(), "lecun_repro": about | saved}, path)
    return model


EXPORT = ("export", "--ckpt_path", "last.ckpt", "--to")


def export(to: str) -> None:
    main([*EXPORT, to])


# ONNX -----------------------------------------------------------------------------------------------------------------


def session(path: str = "model.onnx"):
    return pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, [case[0].__name__, *case[1].values()])))
def test_onnx_computes_what_torch_does_for_any_number_of_digits(case: tuple, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxscript")
    torch.manual_seed(3)
    model = checkpoint(Path("last.ckpt"), *case)
    export("model.onnx")
    out, err = capfd.readouterr()
    assert out.count("\n") == 1
    assert "ONNX Runtime's outputs are within" in out
    assert not err
    onnx = session()
    for n in (1, 7, 1000):
        images = random_digits(n)
        with torch.no_grad():
            outputs = model.network(images)
        logits, label = onnx.run(["logits", "label"], {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), model.head.activation(outputs), rtol=0, atol=2e-5)
        # Of sums rounded otherwise, the larger of two that are almost equal may be the other one.
        largest, second = outputs.topk(2).values.unbind(1)
        clear = largest - second > 1e-4
        assert clear.float().mean() > 0.9
        assert torch.equal(torch.from_numpy(label)[clear], outputs.argmax(1)[clear])


@pytest.mark.slow
def test_onnx_says_where_it_comes_from() -> None:
    pytest.importorskip("onnxscript")
    checkpoint(Path("last.ckpt"))
    export("model.onnx")
    onnx = session()
    about = onnx.get_modelmeta().custom_metadata_map
    assert about["row"] == "mine"
    assert json.loads(about["config"])["model"]["network"]["class_path"].endswith("ConvNet1989")
    assert json.loads(about["results"]) == {"test": {"n": 200, "misses": 3}}
    (images,) = onnx.get_inputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(float)", ["n", 1, 16, 16])
    assert [(o.name, o.type, o.shape) for o in onnx.get_outputs()] == [
        ("logits", "tensor(float)", ["n", 10]),
        ("label", "tensor(int64)", ["n"]),
    ]


@pytest.mark.slow
def test_onnx_agrees_on_every_test_digit_of_the_article(real_data: Path, network_of) -> None:
    pytest.importorskip("onnxscript")
    model = checkpoint(Path("last.ckpt"), ConvNet1989, {"activation": "relu"}, CrossEntropy)
    model.network.load_state_dict(network_of((ROOT / "docs/draw.html").read_text()).state_dict())  # trained weights
    torch.save(torch.load("last.ckpt", weights_only=True) | {"state_dict": model.state_dict()}, "last.ckpt")
    export("model.onnx")
    data = DigitsDataModule(draw="article", root=real_data)
    data.setup()
    images = data.splits["test"].images
    assert len(images) == 2007
    with torch.no_grad():
        expected = model(images)
    logits, label = session().run(["logits", "label"], {"images": images.numpy()})
    assert float((torch.from_numpy(logits) - expected).abs().max()) < 1e-4
    assert torch.equal(torch.from_numpy(label), expected.argmax(1))


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_extra_one_line_names_it(package: str, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(Path("last.ckpt"))
    monkeypatch.setitem(sys.modules, package, None)
    line = refused(*EXPORT, "model.onnx")
    assert package in line
    assert 'pip install -e ".[onnx]"' in line


def test_onnx_without_its_runtime_is_not_said_to_be_checked(capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    checkpoint(Path("last.ckpt"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    export("model.onnx")
    assert "not checked" in capfd.readouterr().out
    assert Path("model.onnx").stat().st_size > 40_000


# safetensors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES[-2:], ids=["ConvNet1989", "FullyConnected1989"])
def test_safetensors_load_back(case: tuple, capfd: pytest.CaptureFixture[str]) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file

    model = checkpoint(Path("last.ckpt"), *case)
    export("model.safetensors")
    assert capfd.readouterr().out.startswith("model.safetensors: ")
    kind, arguments, *_ = case
    network = kind(**arguments)
    network.load_state_dict(load_file("model.safetensors"))
    images = random_digits(40)
    assert torch.equal(network(images), model.network(images))
    with safe_open("model.safetensors", "pt") as file:
        about = file.metadata()
    assert about["row"] == "mine"
    assert about["class"] == json.loads(about["config"])["model"]["network"]["class_path"]


@pytest.mark.parametrize("to", ["model.onnx", "model.safetensors", "page.html"])
def test_a_name_that_no_file_can_hold_is_no_fault(to: str, capfd: pytest.CaptureFixture[str]) -> None:
    if to == "model.onnx":
        pytest.importorskip("onnxscript")
    checkpoint(Path("last.ckpt"), row="half a pair: \ud800", results={"test": ()})
    export(to)
    assert capfd.readouterr().out.startswith(f"{to}: ")


def test_a_real_fit_is_exported(capfd: pytest.CaptureFixture[str]) -> None:
    fit = ["fit", "--config", str(ROOT / "configs/quickstart.yaml"), "--trainer.max_epochs=1", "--model.compile=false"]
    main([*fit, "--data.train_size=20", "--data.source=digits"])
    capfd.readouterr()
    (last,) = Path().rglob("last.ckpt")
    for name in ("model.safetensors", "page.html"):
        main(["export", "--ckpt_path", str(last), "--to", name])
        assert capfd.readouterr().out.startswith(f"{name}: ")
        assert Path(name).stat().st_size > 39_000
    assert not list(Path().rglob("*.part"))


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["model.pt", "model", "", "model.ONNX", "nowhere/model.onnx", "folder.html"])
def test_refuses_a_file_it_cannot_write(to: str, refused) -> None:
    checkpoint(Path("last.ckpt"))
    Path("folder.html").mkdir()
    assert refused(*EXPORT, to).startswith("to: ")


def test_a_failed_write_is_one_line(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(Path("last.ckpt"))
    monkeypatch.setattr("os.replace", lambda *paths: Path("/proc/nowhere/else").touch())
    assert "page.html: No such file" in refused(*EXPORT, "page.html")


def test_asks_for_the_file_to_write(refused) -> None:
    checkpoint(Path("last.ckpt"))
    assert "to: missing" in refused(*EXPORT[:-1])
    assert "ckpt: unknown key" in refused("export", "--ckpt", "last.ckpt", "--to", "page.html")


@pytest.mark.parametrize("key, base", [("network", "Network"), ("head", "Head")])
@pytest.mark.parametrize("name", ["os.getcwd", "traps.Trap", "pathlib.Path", "nowhere.Net", "lecun_repro.{base}"])
def test_nothing_but_a_network_and_a_head_is_built(
    key: str, base: str, name: str, refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("traps.py").write_text(
        "from pathlib import Path\nclass Trap:\n    def __init__(self, *a, **k): Path('called').touch()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    checkpoint(Path("last.ckpt"))
    content = torch.load("last.ckpt", weights_only=True)
    content["lecun_repro"]["config"]["model"][key]["class_path"] = named = name.format(base=base)
    torch.save(content, "last.ckpt")
    line = refused(*EXPORT, "model.safetensors")
    if not named.startswith("lecun_repro."):
        assert f"names the class {named}, which would be imported" in line
        line = refused(*EXPORT, "model.safetensors", "--trust", f"[{named}]")
    assert line.startswith(f"model.{key}.class_path: {named}")
    assert f"subclass of {base}" in line
    assert not Path("called").exists()


class Untranslatable(Network):
    """Its number of steps depends on its data."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.ones(256, 10))

    def outputs(self, prepared: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        if float(prepared.sum().detach()) > 0:
            prepared = -prepared
        return prepared.flatten(1) @ self.weights


def test_networks_of_ones_own(refused) -> None:
    pytest.importorskip("onnxscript")
    checkpoint(Path("last.ckpt"), Untranslatable)
    assert "names the class" in refused(*EXPORT, "page.html")
    trust = ("--trust", f"[{__name__}.Untranslatable]")
    main([*EXPORT, "model.safetensors", *trust])
    line = refused(*EXPORT, "page.html", *trust)
    assert "page.html of a Untranslatable; allowed: a page of a ConvNet1989" in line
    line = refused(*EXPORT, "model.onnx", *trust)
    assert "model.onnx of a Untranslatable; allowed: a network that torch can translate" in line
