"""The benchmarks run and write what they promise; their times are no business of the tests."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lecun_repro import ConvNet1989, CrossEntropy, TanhMSE

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def results_of(command: str, folder: Path, shown: str, **environment: str) -> Any:
    """What a benchmark writes, which also shows a table with the beginning of a line."""
    name, *flags = command.split()
    arguments = [sys.executable, str(BENCHMARKS / name), *flags, "--json", "results.json"]
    variables = os.environ | environment
    run = subprocess.run(arguments, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert shown in run.stdout
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What a trial run of `updates.py` writes, restricted to a single compilation."""
    folder = tmp_path_factory.mktemp("benchmark")
    command = "updates.py --quick --source digits --updates row1 --batch-sizes 1"
    return results_of(command, folder, "| row 1 ", LECUN_REPRO_CACHE=str(folder / "cache"), TMPDIR=str(folder))


@pytest.mark.slow
def test_one_object_for_each_way_of_training(results: list[dict]) -> None:
    assert [(r["update"], r["batch_size"], r["how"]) for r in results] == [
        ("row1", 1, how) for how in ("plain", "lightning", "eager", "compiled")
    ]


@pytest.mark.slow
def test_all_have_times_and_only_the_compiled_one_compile_times(results: list[dict]) -> None:
    for result in results:
        assert result["us_per_update"] > 0
        compiling = {"compile_cold_s", "compile_warm_s"} & result.keys()
        assert len(compiling) == (2 if result["how"] == "compiled" else 0)
        assert all(isinstance(result[key], float) for key in compiling)


@pytest.mark.slow
def test_inference_of_each_row_with_each_engine(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    found = results_of("inference.py --quick --engines eager onnx", tmp_path, "| onnx ")
    assert found["weights"] == "initial"
    measured = {(m["engine"], m["row"]): m for m in found["measurements"]}
    rows = ("1_baseline", "3_adamw", "4_shift", "5_24_maps", "5_48_maps", "5_dropout_relu", "8_normalised")
    assert list(measured) == [(engine, row) for engine in ("eager", "onnx") for row in rows]
    for (_, row), m in measured.items():
        for name in ("latency_us", "images_per_second", "latency_over_row1", "batch_time_over_row1"):
            low, high = m[f"{name}_iqr"]
            assert 0 < low <= m[name] <= high
        assert (row != "1_baseline") or m["latency_over_row1"] == m["batch_time_over_row1"] == 1


@pytest.mark.slow
def test_augmentations_each_and_together(tmp_path: Path) -> None:
    measured = results_of("augment.py --rounds 1 --digits 40", tmp_path, "| Affine and Elastic ")["measurements"]
    names = ("Shift", "Erase", "Affine", "Elastic", "Affine and Elastic")
    assert [(m["augmentation"], m["how"]) for m in measured] == [(n, how) for n in names for how in ("plain", "ours")]
    assert all(0 < m["us_per_digit_min"] <= m["us_per_digit"] for m in measured)


def test_the_plain_loop_is_of_the_same_network_loss_and_updates() -> None:
    plain = runpy.run_path(str(BENCHMARKS / "plain_loop.py"))
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(20, 1, 16, 16, generator=generator) * 2 - 1, torch.arange(20) % 10
    for modern, head in ((False, TanhMSE()), (True, CrossEntropy())):
        ours = ConvNet1989(activation="relu" if modern else "tanh", output_bias=0.0 if modern else -1.0, seed=7)
        other = plain["Net"](7, modern).eval()
        for name, weights in other.named_parameters():
            assert weights.equal(ours.get_parameter(name.replace("h", "H"))), name
        torch.testing.assert_close(other.loss(other(images), labels), head.loss(ours(images), labels))
        if not modern:
            plain["train"](other, images, labels, 1)
            optimizer = torch.optim.SGD(ours.parameters(), lr=0.03)
            for i in range(20):
                optimizer.zero_grad()
                head.loss(ours(images[i : i + 1]), labels[i : i + 1]).backward()
                optimizer.step()
            torch.testing.assert_close(other(images), head.activation(ours(images)), rtol=1e-3, atol=1e-4)


def test_the_readme_has_a_place_for_each_benchmark() -> None:
    text = (BENCHMARKS / "README.md").read_text()
    for section in ("updates", "fit", "inference", "augment"):
        assert text.index(f"<!-- {section}: begin -->") < text.index(f"<!-- {section}: end -->")


def test_optimizers_are_timed_or_say_why_not(
    tmp_path: Path, traced: list, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked = "--only SGD LBFGS Muon --updates 20 --repetitions 1 --json"
    monkeypatch.setattr(sys, "argv", ["optimizers.py", *asked.split(), str(tmp_path / "results.json")])
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    runpy.run_path(str(BENCHMARKS / "optimizers.py"), run_name="__main__")
    assert "| SGD " in capsys.readouterr().out
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["SGD"]["compiled"] > 0 and found["SGD"]["eager"] > 0
    assert {name for name, result in found.items() if "why not" in result} == {"LBFGS", "Muon"}
