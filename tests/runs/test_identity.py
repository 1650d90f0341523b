"""A class by one name, and the same digest for runs that have to give the same result."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import lecun_repro
from lecun_repro.__main__ import main
from lecun_repro.runs.identity import config_hash, one_spelling, public_names

SHORT = ["--data.train_size=20", "--data.test_size=20", "--model.compile=false"]


@pytest.mark.parametrize("name", lecun_repro.CLASSES)
def test_a_public_class_has_its_public_name_in_whatever_module_it_is_or_was(name: str) -> None:
    kind = getattr(lecun_repro, name)
    assert public_names(f"lecun_repro.once.there.{name}") == f"lecun_repro.{name}"
    assert one_spelling(f"{kind.__module__}.{name}") == f"lecun_repro.{name}"


@pytest.mark.parametrize(
    "text",
    [
        "lecun_repro",
        "lecun_repro.data.splits.EvaluatedSplit",
        "mine.lecun_repro.x.ConvNet1989",
        "my_lecun_repro.x.ConvNet1989",
        "lecun_repro.x.ConvNet1989.y",
        "lecun_repro.x.ConvNet1990",
        "torch.optim.adamw.AdamW",
        "ConvNet1989",
    ],
)
def test_other_names_stay_as_they_are(text: str) -> None:
    assert public_names(text) == text


def test_names_within_a_text() -> None:
    text = '{network: {class_path: "lecun_repro.network.ConvNet1989"}, head: lecun_repro.heads.TanhMSE}'
    assert public_names(text) == '{network: {class_path: "lecun_repro.ConvNet1989"}, head: lecun_repro.TanhMSE}'


def test_a_class_has_one_digest_however_it_is_spelled() -> None:
    def of(path: str, **init_args: Any) -> str:
        return config_hash({"optimizer": {"class_path": path, "init_args": init_args}})

    assert of("torch.optim.AdamW", lr=0.5) == of("torch.optim.adamw.AdamW", lr=0.5, weight_decay=0.01)
    assert of("torch.optim.AdamW", lr=0.5) != of("torch.optim.Adam", lr=0.5)
    assert of("lecun_repro.newton.StochasticDiagonalLM", lr=1) == of("lecun_repro.StochasticDiagonalLM", lr=1)


OLD = {
    "lecun_repro.ConvNet1989": "lecun_repro.network.ConvNet1989",
    "lecun_repro.CrossEntropy": "lecun_repro.heads.CrossEntropy",
    "torch.optim.AdamW": "torch.optim.adamw.AdamW",
}


def respelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: OLD.get(v, v) if k == "class_path" else respelled(v) for k, v in value.items()}
    return value


@pytest.mark.slow
def test_a_checkpoint_of_the_previous_version_works_in_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["fit", "--config", "quickstart", *SHORT, "--trainer.max_epochs=1"])
    content = torch.load("lightning_logs/quickstart/version_0/checkpoints/last.ckpt", weights_only=True)
    content["lecun_repro"]["config"] = respelled(config := content["lecun_repro"]["config"])
    assert json.dumps(config) != json.dumps(content["lecun_repro"]["config"])
    torch.save(content, "old.ckpt")
    lines = capsys.readouterr().out.splitlines()
    fitted = [line.replace("pass 1, ", "") for line in lines if line.startswith("eval: ")]
    for command in ("test", "validate"):
        main([command, "--ckpt_path", "old.ckpt"])
        assert capsys.readouterr().out.splitlines() == fitted
    main(["predict", "--ckpt_path", "old.ckpt"])
    assert len(capsys.readouterr().out.splitlines()) == 21
    main(["export", "--ckpt_path", "old.ckpt", "--to", "weights.safetensors"])
    assert Path("weights.safetensors").exists()

    main(["fit", "--config", "quickstart", *SHORT, "--trainer.max_epochs=2", "--ckpt_path", "old.ckpt"])
    folder = Path("lightning_logs/quickstart/version_1")
    kept = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["lecun_repro"]["config"]
    assert kept == config | {"trainer": config["trainer"] | {"max_epochs": 2}}
    assert json.loads((folder / "results.json").read_text())["curve"]["train"]["pass"] == [1, 2]
