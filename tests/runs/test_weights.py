"""Exported weights serve as a checkpoint wherever one is evaluated, and those that ship where none is named."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

import lecun_repro
from lecun_repro.__main__ import main
from lecun_repro.errors import UserError
from lecun_repro.runs.checkpoints import load_checkpoint
from lecun_repro.runs.loading import network_weights
from lecun_repro.runs.weights import SHIPPED, digest, final_results, packed, read_weights

pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_shipped_ones_are_the_best_row_s_and_say_how_they_were_made() -> None:
    saved = load_checkpoint(SHIPPED)["lecun_repro"]
    assert saved["command"].startswith("lecun-repro fit --config lightning_logs/8_normalised/seed_1337_")
    results = final_results(saved)
    assert results["train"]["n"] == 7291
    assert results["test"]["n"] == 2007
    assert results["test"]["misses"] < 50
    assert SHIPPED.stat().st_size < 45_000
    assert sum(tensor.numel() for tensor in network_weights(SHIPPED).values()) == 9760


def test_predict_and_export_use_them_and_say_so(capfd: pytest.CaptureFixture[str]) -> None:
    drawn = Image.new("L", (90, 90), "white")
    ImageDraw.Draw(drawn).line([(30, 30), (38, 20), (55, 20), (62, 32), (30, 70), (64, 70)], "black", 6, joint="curve")
    drawn.save("two.png")
    main(["predict", "--data.images", "two.png", "--output", "two.csv"])
    assert Path("two.csv").read_text().splitlines()[1].startswith("two.png,2,0.9")
    told = "no --ckpt_path, so the network that ships with the package: row 8_normalised, seed 1337, "
    assert told in capfd.readouterr().err
    main(["export", "--to", "digits.html"])
    assert told in capfd.readouterr().err
    assert Path("digits.html").stat().st_size > 50_000


def exported(path: str, **change: object) -> None:
    """Weights like the shipped ones, whose metadata has a change."""
    saved = load_checkpoint(SHIPPED)["lecun_repro"] | change
    weights = network_weights(SHIPPED)
    told = {name: saved[name] for name in ("row", "command")}
    texts = {name: json.dumps(saved[name]) for name in ("config", "results")}
    Path(path).write_bytes(packed(weights, told | texts))


def test_averaged_weights_are_exported_as_the_network_s_own() -> None:
    config = load_checkpoint(SHIPPED)["lecun_repro"]["config"]
    exported("averaged.safetensors", config=config | {"model": config["model"] | {"average": "ema"}})
    assert read_weights("averaged.safetensors")["lecun_repro"]["config"]["model"]["average"] is None
    main(["export", "--ckpt_path", "averaged.safetensors", "--to", "again.safetensors"])
    assert digest(network_weights("again.safetensors")) == digest(network_weights(SHIPPED))


@pytest.mark.parametrize("place", [1000, 4000, -30_000, -1])
def test_a_flipped_bit_is_refused(place: int) -> None:
    content = bytearray(SHIPPED.read_bytes())
    content[place] ^= 1
    Path("bad.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"bad.safetensors, not a checkpoint \("):
        load_checkpoint("bad.safetensors")


def test_a_fit_goes_on_from_no_weights_but_may_start_from_them(refused) -> None:
    fit = ["fit", "--config", "quickstart", "--data.train_size=20", "--trainer.max_epochs=1"]
    assert "by --from_weights" in refused(*fit, "--ckpt_path", SHIPPED)
    main([*fit, "--optimizer.lr=0", "--from_weights", str(SHIPPED)])
    (last,) = Path().rglob("last.ckpt")
    assert digest(network_weights(last)) == digest(network_weights(SHIPPED))


def test_load_gives_the_model_with_its_weights_and_leaves_the_process_as_it_was() -> None:
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    model = lecun_repro.load(SHIPPED)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not model.training
    weights = {name: tensor.detach() for name, tensor in model.network.state_dict().items()}
    assert digest(weights) == digest(network_weights(SHIPPED))
    assert model(torch.zeros(3, 1, 16, 16)).shape == (3, 10)
    with pytest.raises(UserError, match=r"nowhere.ckpt, no such file"):
        lecun_repro.load("nowhere.ckpt")


def test_load_gives_averaged_weights() -> None:
    fit = ["fit", "--config", "quickstart", "--data.train_size=20", "--trainer.max_epochs=2", "--model.compile=false"]
    main([*fit, "--model.average=ema"])
    (last,) = Path().rglob("last.ckpt")
    state = torch.load(last, weights_only=True)["state_dict"]
    model = lecun_repro.load(last)
    averaged = model.evaluated_network.state_dict()
    assert all(torch.equal(averaged[name], state[f"average.network.{name}"]) for name in averaged)
    assert not torch.equal(averaged["H1w"], state["network.H1w"])


def test_lightning_s_own_loading_names_ours() -> None:
    with pytest.raises(TypeError, match=r"lecun_repro\.load\('mine.ckpt'\)"):
        lecun_repro.DigitClassifier.load_from_checkpoint("mine.ckpt")
