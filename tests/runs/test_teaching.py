"""What teachers say: of which pictures, kept under which name, and learnt by the updates."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer

from lecun_repro import Affine, ConvNet1989, DigitClassifier, DigitsDataModule, Shift, Taught
from lecun_repro.__main__ import main
from lecun_repro.errors import BadArgument
from lecun_repro.runs.identity import config_hash
from lecun_repro.runs.teaching import Teach, lessons

TEACHERS = [ConvNet1989("relu", seed=seed).eval() for seed in (1, 2)]


def digits(copies: int | None = 2, seed: int = 5, augment: list | None = None) -> DigitsDataModule:
    arguments = {"source": "digits", "train_size": 20, "test_size": 5, "batch_size": 8}
    data = DigitsDataModule(**arguments, copies=copies, seed=seed, augment=augment or [Affine(rotation=20)])
    data.setup()
    return data


def test_the_teachers_mean_log_probabilities_of_what_each_pass_shows() -> None:
    data = digits()
    said = lessons(TEACHERS, data)
    assert said.shape == (2, 20, 10) and said.dtype == torch.float16
    for pass_index, copy in enumerate((0, 1, 0)):
        data.shown_in = lambda _, copy=pass_index: DigitsDataModule.shown_in(data, copy)  # type: ignore[method-assign]
        shown = torch.cat([block.images.flatten(0, 1) for block in data.train_dataloader()])
        mean = torch.stack([net(shown).log_softmax(1) for net in TEACHERS]).mean(0)
        torch.testing.assert_close(said[copy].float(), mean, rtol=1e-3, atol=1e-3)


def test_copies_are_the_same_whatever_the_seed_of_the_run() -> None:
    assert torch.equal(digits(seed=5).copy(1), digits(seed=6).copy(1))
    assert not torch.equal(digits().copy(0), digits().copy(1))


def test_kept_under_a_name_of_all_that_it_depends_on(tmp_path: Path) -> None:
    first = lessons(TEACHERS, digits(), tmp_path)
    (kept,) = tmp_path.glob("*.npy")
    asked: list[bool] = []
    again = lessons(TEACHERS, digits(seed=9), tmp_path, lambda: asked.append(True))
    assert torch.equal(first, again) and len(asked) == 1, "nothing is computed twice"
    lessons(TEACHERS[:1], digits(), tmp_path)
    lessons(TEACHERS, digits(augment=[Shift()]), tmp_path)
    lessons(TEACHERS, digits(copies=3), tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 4
    kept.write_bytes(kept.read_bytes()[:-9])
    assert torch.equal(lessons(TEACHERS, digits(), tmp_path), first), "a damaged file is made anew"
    assert np.load(kept).shape == (2, 20, 10)


def test_updates_descend_what_the_teachers_say() -> None:
    head = Taught("x.ckpt", temperature=2.0)
    module, teach = DigitClassifier(ConvNet1989(seed=3), head, compile=False), Teach()
    teach.teachers = TEACHERS
    data, losses = digits(), []
    module.__dict__["on_train_epoch_end"] = lambda: losses.append(torch.cat(module._pass_loss)[0].item())
    said = lessons(TEACHERS, data)
    with torch.no_grad():
        logs = (module.network(data.copy(0)[:8]) / 2).log_softmax(1)
    expected = -4 * ((said[0, :8].float() / 2).softmax(1) * logs).sum(1).mean()
    quiet = dict.fromkeys(["logger", "enable_progress_bar", "enable_checkpointing"], False)
    Trainer(max_epochs=1, callbacks=[teach], accelerator="cpu", **quiet).fit(module, data)
    assert losses[0] == pytest.approx(expected.item(), rel=1e-4)


def test_without_copies_there_is_nothing_to_ask_about() -> None:
    with pytest.raises(BadArgument, match=r"data\.copies: null; allowed: an integer from 1"):
        Teach().prepare(Taught("x.ckpt"), digits(copies=None))


@pytest.mark.parametrize("argument", [{"temperature": 0.0}, {"seeds": 0}, {"teachers": []}])
def test_refuses_what_teaches_nothing(argument: dict) -> None:
    with pytest.raises(BadArgument, match=next(iter(argument))):
        Taught(**{"teachers": "x.ckpt"} | argument)


def test_the_identity_of_a_taught_run_is_its_teachers_and_not_where_they_lie() -> None:
    def hash_with(checkpoints: list[str], teachers: str = "t.yaml") -> str:
        arguments = {"teachers": teachers, "seeds": 2, "temperature": 2.0, "checkpoints": checkpoints}
        head = {"class_path": "lecun_repro.Taught", "init_args": arguments}
        return config_hash({"model": {"head": head}, "data": {}})

    one, other = "seed_1337_0123abcd", "seed_1337_0123abce"
    assert hash_with([f"a/{one}/checkpoints/last.ckpt"]) == hash_with([f"b/c/{one}/checkpoints/last.ckpt"], "u.yaml")
    assert hash_with([f"a/{one}/checkpoints/last.ckpt"]) != hash_with([f"a/{other}/checkpoints/last.ckpt"])


TEACHER = """
seed_everything: 1337
trainer: {max_epochs: 2, logger: {class_path: TensorBoardLogger, init_args: {save_dir: lightning_logs}}}
model: {network: {class_path: WideConvNet, init_args: {widths: [2, 2, 2, 2, 2]}}, head: CrossEntropy, compile: false}
optimizer: {class_path: SGD, init_args: {lr: 0.1}}
data: {batch_size: 32, source: digits, train_size: 100, test_size: 50}
"""
PUPIL = TEACHER.replace("WideConvNet, init_args: {widths: [2, 2, 2, 2, 2]}", "ConvNet1989").replace(
    "CrossEntropy", "{class_path: Taught, init_args: {teachers: configs/teacher.yaml, seeds: 2}}"
).replace("test_size: 50", "test_size: 50, copies: 2")  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (folder := tmp_path / "configs").mkdir()
    (folder / "teacher.yaml").write_text(TEACHER)
    (folder / "pupil.yaml").write_text(PUPIL)
    return folder


def test_a_fit_says_how_its_missing_teachers_are_trained(rows: Path, refused) -> None:
    line = refused("fit", "--config", "configs/pupil.yaml")
    assert "as after `reproduce --configs configs/teacher.yaml --seeds 2`" in line


@pytest.mark.slow
def test_reproduce_trains_missing_teachers_first_and_once(rows: Path, one_server) -> None:
    command = ["reproduce", "--configs", "configs", "--seeds", "1", "--jobs", "2", "--out", "out"]
    main(command)
    left = sorted(path.parent for path in Path("lightning_logs").glob("*/*/results.json"))
    assert [path.parent.name for path in left] == ["pupil", "teacher", "teacher"], "as many as are asked for"
    assert len(list(Path("lightning_logs/taught").glob("*.npy"))) == 1
    times = [(path / "results.json").stat().st_mtime_ns for path in left]
    main(command)
    assert times == [(path / "results.json").stat().st_mtime_ns for path in left]
    (rows / "teacher.yaml").write_text(TEACHER.replace("max_epochs: 2", "max_epochs: 1"))
    main([*command, "--replace", "true"])
    assert len(list(Path("lightning_logs").glob("*/*/results.json"))) == 6, "another teacher makes another pupil"
