"""What a fit shows in TensorBoard, read back from its event files; and the figures themselves."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from torch.utils.tensorboard import SummaryWriter

from lecun_repro import ConvNet1989, CrossEntropy, DigitClassifier, DigitsDataModule, Elastic, FullyConnected1989
from lecun_repro.__main__ import main
from lecun_repro.cli.build import resolve
from lecun_repro.models.base import Network
from lecun_repro.runs.identity import config_hash
from lecun_repro.tensorboard.callback import Pictures, draw_misses, draw_presentations, draw_weights
from lecun_repro.tensorboard.figures import (
    activations_figure,
    augmentations_figure,
    coloured,
    confusion_figure,
    errors_figure,
    kernels_figure,
)
from lecun_repro.tensorboard.writer import graph_of
from lecun_repro.training.evaluation import SplitResult

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs/article/5_dropout_relu.yaml"
PARAMETERS = {f"weights/{layer}{kind}" for layer in ("H1", "H2", "H3", "out") for kind in "wb"}
OF_THE_DIGITS = {"shown/confusion/test", "shown/errors/test"}
AUGMENTED = {"shown/augmentations/train": [0]}
OF_THE_CONVNET = {"shown/kernels/H1", "shown/activations/H1", "shown/activations/H2", "shown/activations/H3"}
CURVES = {f"{name}/{split}" for name in ("loss", "error", "misses") for split in ("train", "test")} | {"rate"}

pytestmark = [pytest.mark.drawn, pytest.mark.usefixtures("own_folder")]


def fit(*flags: Any, passes: int = 3, version: str = "run", config: Path = CONFIG) -> Path:
    """Fits a shortened row and returns its log folder."""
    arguments = ["fit", "--config", config, "--data.source", "digits", "--data.train_size", 60, "--data.test_size", 40]
    arguments += ["--model.compile", "false", "--trainer.max_epochs", passes]
    main([str(each) for each in (*arguments, "--trainer.logger.init_args.version", version, *flags)])
    return Path("lightning_logs") / config.stem / version


def events(folder: Path) -> EventAccumulator:
    read = EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0, "scalars": 0, "tensors": 0})
    return read.Reload()


def steps(shown: EventAccumulator, kind: str) -> dict[str, list[int]]:
    """Steps of every tag of one kind."""
    read = {"images": shown.Images, "histograms": shown.Histograms, "scalars": shown.Scalars}[kind]
    return {tag: [event.step for event in read(tag)] for tag in shown.Tags()[kind]}


def hyperparameters(shown: EventAccumulator) -> dict[str, Any]:
    """What the HParams tab is given of one run."""
    info = metadata.parse_session_start_info_plugin_data(
        shown.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    )
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in info.hparams.items()}


def shown_by(name: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Has one kind of figure left empty; the list of what each was to show."""
    given: list[tuple] = []
    monkeypatch.setattr(
        f"lecun_repro.tensorboard.callback.figures.{name}", lambda *what: given.append(what) or Figure()
    )
    return given


# When


@pytest.mark.slow
@pytest.mark.parametrize("every, passes", [("null", [1, 3]), ("2", [1, 2, 3]), ("1", [1, 2, 3]), ("0", None)])
def test_pictures_are_drawn_after_the_first_and_the_last_pass_and_those_asked_for(
    every: str, passes: list[int] | None
) -> None:
    shown = events(fit("--pictures.every", every))
    drawn = {"shown/rejection/test": [3]}
    if passes is not None:
        drawn |= dict.fromkeys(OF_THE_DIGITS | OF_THE_CONVNET, passes) | AUGMENTED
    assert steps(shown, "images") == drawn
    assert steps(shown, "histograms") == ({} if passes is None else dict.fromkeys(PARAMETERS, passes))
    assert steps(shown, "scalars") == {tag: [1, 2, 3] for tag in CURVES}
    assert shown.Tags()["graph"] == (passes is not None)
    drawn_tags = [*shown.Tags()["images"], *shown.Tags()["histograms"]]
    assert all(tag > max(CURVES) for tag in drawn_tags), "curves come first"


def test_a_fit_of_one_pass_draws_it_once() -> None:
    assert steps(events(fit(passes=1)), "images")["shown/errors/test"] == [1]


@pytest.mark.slow
def test_max_steps_ends_in_a_picture() -> None:
    assert steps(events(fit("--trainer.max_steps", 80)), "images")["shown/errors/test"] == [1, 2]


def test_how_often_is_a_key_of_the_configuration_too_and_no_part_of_its_identity(tmp_path: Path) -> None:
    (tmp_path / "often.yaml").write_text(CONFIG.read_text() + "pictures:\n  every: 2\n")
    flags = ["--data.source", "digits"]
    often, plain = resolve("often.yaml", flags), resolve(str(CONFIG), flags)
    assert (often["pictures"], plain["pictures"]) == ({"every": 2}, {"every": None})
    assert config_hash(often) == config_hash(plain)


@pytest.mark.parametrize("given", ["-1", "1.5", "often"])
def test_a_bad_number_is_one_line(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        fit("--pictures.every", given)
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert line.startswith(f"lecun-repro: error: pictures.every: {given}; allowed: ")


# Where


@pytest.mark.parametrize("flags", [["--trainer.fast_dev_run", "true"], ["--trainer.logger", "false"]])
def test_without_a_log_there_are_no_pictures(flags: list[str]) -> None:
    arguments = ["fit", "--config", str(CONFIG), "--data.source", "digits", "--data.train_size", "20"]
    main([*arguments, "--trainer.max_epochs", "1", "--pictures.every", "1", *flags])
    assert not list(Path().rglob("events.*"))


@pytest.mark.slow
def test_nothing_is_said_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    fit(passes=1)
    out, err = capfd.readouterr()
    assert not err
    assert out.startswith("layer ")


@pytest.mark.slow
def test_pictures_do_not_change_what_is_learnt() -> None:
    with_them, without = fit("--pictures.every", 1), fit("--pictures.every", 0, version="without")
    weights = [torch.load(folder / "checkpoints/last.ckpt", weights_only=True) for folder in (with_them, without)]
    ours, others = (checkpoint["state_dict"] for checkpoint in weights)
    assert all(torch.equal(ours[name], others[name]) for name in ours)


@pytest.mark.slow
def test_a_resumed_run_draws_nothing_twice_and_still_knows_where_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = shown_by("kernels_figure", monkeypatch)
    folder = fit(passes=2)
    shutil.copy(folder / "checkpoints/last.ckpt", "saved.ckpt")
    fit("--ckpt_path", "saved.ckpt", passes=4)  # in the same folder, as `reproduce` does it
    shown = events(folder)
    assert steps(shown, "images")["shown/errors/test"] == [1, 2, 4]
    assert steps(shown, "images")["shown/augmentations/train"] == [0]
    assert steps(shown, "scalars") == {tag: [1, 2, 3, 4] for tag in CURVES}
    expected = ConvNet1989(activation="relu", seed=1337).H1w[:, 0].detach().numpy()
    assert len(drawn) == 3
    assert all(np.array_equal(start, expected) for start, *_ in drawn)

    # A run that went to its end has nothing to add.
    again = fit("--ckpt_path", folder / "checkpoints/last.ckpt", passes=4, version="again")
    assert "shown/errors/test" not in steps(events(again), "images")


# Words and numbers


def test_the_hparams_metric_is_the_final_test_error() -> None:
    folder = fit()
    shown, record = events(folder), json.loads((folder / "results.json").read_text())
    assert shown.Scalars("error/test")[-1].value == pytest.approx(record["test"]["error"])
    assert shown.Scalars("error/train")[-1].value == pytest.approx(record["train"]["error"])
    assert hyperparameters(shown) == {
        "row": "5_dropout_relu", "seed": 1337, "source": "digits", "draw": "article", "train_digits": 60,
        "frame": "article", "shift": "roll", "augment": "none", "batch_size": 1,
        "network": "ConvNet1989", "parameters": 9760, "activation": "relu",
        "dropout": 0.25, "head": "CrossEntropy", "smoothing": 0.0,
        "optimizer": "AdamW", "lr": 3e-4, "weight_decay": 0.01,
        "schedule": "LinearLR", "lr_interval": "epoch", "clip": "none", "average": "none", "passes": 3,
    }  # fmt: skip
    assert shown.SummaryMetadata(metadata.SESSION_END_INFO_TAG)
    assert "hp_metric" not in shown.Tags()["scalars"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["article/1_baseline", "1989/4_fully_connected"])
def test_hyperparameters_have_the_same_names_and_types_in_every_run(name: str) -> None:
    ours = hyperparameters(events(fit(passes=1, config=ROOT / f"configs/{name}.yaml")))
    others = hyperparameters(events(fit(passes=1)))
    assert {key: type(value) for key, value in ours.items()} == {key: type(value) for key, value in others.items()}


def test_the_text_is_the_resolved_configuration() -> None:
    folder = fit(passes=1)
    (event,) = events(folder).Tensors("configuration/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert text == f"```yaml\n{(folder / 'config.yaml').read_text().rstrip()}\n```"


def test_the_graph_is_made_of_the_layers_and_their_own_weights() -> None:
    nodes = {node.name: node for node in graph_of(ConvNet1989()).node}
    assert {name.split("/")[0] for name in nodes} == {"digit", "H1", "H2", "H3", "output"}
    assert {name for name in nodes if nodes[name].op == "parameter"} == {
        "H1/H1w", "H1/H1b", "H2/H2w", "H2/H2b", "H2/patches/connections/index", "H3/H3w", "H3/H3b", "output/outw",
        "output/outb",
    }  # fmt: skip
    assert all(source in nodes for node in nodes.values() for source in node.input)
    shape = nodes["H1/tanh"].attr["_output_shapes"].list.shape[0]
    assert [dim.size for dim in shape.dim] == [1, 12, 8, 8]


# Networks


@pytest.mark.parametrize("network", [ConvNet1989(seed=1), FullyConnected1989(seed=1)], ids=lambda n: type(n).__name__)
def test_the_layers_one_after_the_other_are_the_network(network: Network) -> None:
    images = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    value = images
    for layer in network.layers().values():
        value = layer(value)
    torch.testing.assert_close(value, network(images))
    assert all(len(kernels.shape) == 3 for kernels in network.kernels().values())


def test_a_fully_connected_network_shows_its_hidden_units() -> None:
    shown = events(fit(passes=1, config=ROOT / "configs/1989/4_fully_connected.yaml"))
    assert "shown/augmentations/train" not in steps(shown, "images")  # there are none
    of_the_layer = {"shown/kernels/hidden", "shown/activations/hidden"}
    assert set(steps(shown, "images")) == OF_THE_DIGITS | of_the_layer | {"shown/rejection/test"}
    assert "weights/hiddenw" in shown.Tags()["histograms"]
    assert {node.name.split("/")[0] for node in shown.Graph().node} == {"digit", "hidden", "output"}


class Linear(Network):
    """A network that says nothing of what there is to draw."""

    def __init__(self, traceable: bool = True) -> None:
        super().__init__()
        self.layer, self.traceable = torch.nn.Linear(256, 10), traceable

    def outputs(self, prepared: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        if not self.traceable and float(prepared.sum()) > 1e9:  # asks for a value, which no tracer has
            raise AssertionError
        return self.layer(prepared.flatten(1))


@pytest.mark.parametrize("traceable", [True, False])
def test_a_network_of_one_s_own_gets_what_makes_sense(traceable: bool, capsys: pytest.CaptureFixture[str]) -> None:
    # From Python, with a plain Trainer.
    logger = TensorBoardLogger("logs", name="own", version="run", default_hp_metric=False)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=logger, callbacks=[Pictures()], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(
        DigitClassifier(Linear(traceable), CrossEntropy()), DigitsDataModule("digits", train_size=30, test_size=20)
    )
    shown = events(Path("logs/own/run"))
    assert steps(shown, "images") == {tag: [1, 2] for tag in OF_THE_DIGITS}
    assert steps(shown, "histograms") == {f"weights/layer.{kind}": [1, 2] for kind in ("weight", "bias")}
    assert shown.Tags()["graph"] == traceable
    assert ("no graph in TensorBoard" in capsys.readouterr().out) == (not traceable)


def test_weights_that_are_no_numbers_are_left_out() -> None:
    network = ConvNet1989(seed=1)
    start = {name: kernels.detach().clone() for name, kernels in network.kernels().items()}
    with torch.no_grad(), SummaryWriter("logs") as writer:
        network.H1w[0] = torch.nan
        network.outb.fill_(torch.inf)
        draw_weights(writer, network, start, 1)
    shown = events(Path("logs"))
    assert steps(shown, "images") == {"shown/kernels/H1": [1]}
    assert set(shown.Tags()["histograms"]) == PARAMETERS - {"weights/outb"}
    assert shown.Histograms("weights/H1w")[0].histogram_value.num == 11 * 25


# Figures


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_kernels_are_shown_with_their_change_in_one_scale() -> None:
    start = np.zeros((12, 5, 5))
    start[0, 0, 0] = 0.5
    now = start.copy()
    now[0, 0, 0] = -1.5
    figure = kernels_figure(start, now, "Kernels")
    assert words(figure) == ["Kernels", "when the fit started", "now", "change, now minus start", "-2", "2"]


def test_activations_have_their_scale() -> None:
    digits = -np.ones((10, 16, 16))
    assert words(activations_figure(digits, np.full((10, 12, 4, 4), 0.25), "H2"))[-2:] == ["-0.25", "0.25"]
    assert words(activations_figure(digits, np.zeros((10, 30)), "H3"))[-2:] == ["-1", "1"]


def test_confusions_are_counted_where_there_are_any() -> None:
    confusion = np.diag([9] * 10)
    confusion[4, 9] = 3
    counts = words(confusion_figure(confusion, "Confusions"))
    assert counts[0] == "Confusions"
    assert counts.count("9") == 10 + 2  # the diagonal, and a digit's name twice
    assert counts.count("3") == 1 + 2
    assert "0" in counts and counts.count("0") == 2


def test_every_error_has_its_caption() -> None:
    digits, captions = -np.ones((23, 16, 16)), [f"{n}→1  50%" for n in range(23)]
    figure = errors_figure(digits, captions, "Errors")
    assert words(figure) == ["Errors", *captions]
    assert words(errors_figure(digits[:0], [], "None")) == ["None"]


def test_presentations_are_those_that_the_training_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = shown_by("augmentations_figure", monkeypatch)
    data = DigitsDataModule("digits", train_size=60, test_size=40, shift="roll", augment=[Elastic()], block_size=7)
    data.setup()
    with SummaryWriter("logs") as writer:
        draw_presentations(writer, data.augmentations, data.train)
    ((digits, presented, title),) = drawn
    seen = torch.cat([block.images.flatten(0, 1) for block in data.train_dataloader()])[:, 0]  # the first pass
    first = [data.train.labels.tolist().index(digit) for digit in range(10)]
    assert np.array_equal(digits, data.train.images[first, 0])
    assert presented.shape == (6, 10, 16, 16) and np.array_equal(presented[0], seen[first])
    assert title.endswith("what Shift + Elastic makes of it")


def test_presentations_have_a_line_for_every_pass() -> None:
    figure = augmentations_figure(-np.ones((10, 16, 16)), -np.ones((2, 10, 16, 16)), "Augmented")
    assert words(figure) == ["Augmented", "as it is", "pass 1", "pass 2"]


def test_errors_are_the_missed_digits_the_most_confident_first(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = shown_by("errors_figure", monkeypatch)
    folder = fit(passes=1)
    result = json.loads((folder / "results.json").read_text())["test"]
    data = DigitsDataModule("digits", train_size=60, test_size=40)
    data.setup()
    digits, captions, title = drawn[-1]
    assert title.startswith(f"Errors (test), pass 1: {result['misses']} of 40 digits missed")
    expected = {
        f"{int(data.splits['test'].labels[i])}→{p}" for i, p in zip(result["missed"], result["predicted"], strict=True)
    }
    assert {caption.split("  ")[0] for caption in captions} == expected
    shares = [float(caption.split("  ")[1].rstrip("%")) for caption in captions]
    assert shares == sorted(shares, reverse=True)
    assert len(digits) == len(captions) == result["misses"]
    missed = {image.numpy().tobytes() for image in data.splits["test"].images[result["missed"], 0]}
    assert {digit.tobytes() for digit in digits} == missed


def test_where_nothing_is_missed_there_is_an_empty_grid() -> None:
    data = DigitsDataModule("digits", train_size=30, test_size=20)
    data.setup()
    module = DigitClassifier(Linear(), CrossEntropy())
    module.results = {"test": SplitResult(n=20, loss=0.0, error=0.0, misses=0, missed=[], predicted=[])}
    with SummaryWriter("logs") as writer:
        draw_misses(writer, module, "test", data.splits["test"], 5)
    assert steps(events(Path("logs")), "images") == {"shown/confusion/test": [5], "shown/errors/test": [5]}


def test_colours_are_symmetric_and_stand_what_is_not_finite() -> None:
    low, none, high, beyond, nan = coloured(np.array([-1.0, 0.0, 1.0, np.inf, np.nan]), 1.0)
    assert none.min() > 240  # white
    assert low[2] > low[0] and high[0] > high[2]  # blue, red
    assert (beyond == high).all() and (nan == none).all()


@pytest.mark.parametrize("shape", [(12, 5, 5), (40, 16, 16), (1, 3, 2)])
def test_figures_of_other_sizes_are_saved_whole(shape: tuple[int, ...], tmp_path: Path) -> None:
    figure = kernels_figure(np.zeros(shape), np.ones(shape), "Kernels")
    figure.savefig(tmp_path / "kernels.png")
    assert (tmp_path / "kernels.png").stat().st_size > 1000
    inside = figure.bbox
    for text in figure.texts:
        box = text.get_window_extent()
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1


@pytest.mark.parametrize("rate", ["1e9", "1e30"])
def test_weights_beyond_all_bounds_end_no_fit(rate: str) -> None:
    row = ROOT / "configs/article/1_baseline.yaml"  # whose outputs saturate: its loss is finite
    assert (fit("--optimizer.lr", rate, passes=1, config=row) / "results.json").is_file()
