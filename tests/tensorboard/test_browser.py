"""TensorBoard as headless Chromium shows it: `reproduce`, then `tensorboard --logdir lightning_logs`, and every tab.

    pytest -m browser

LECUN_REPRO_LOGS names a folder of logs to open instead of those of a short `reproduce --source digits`, and
LECUN_REPRO_SCREENSHOTS a folder for a picture of every tab, which is otherwise not taken.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.drawn]

CONFIGS = Path(__file__).parents[2] / "configs/article"
ROWS = ("1_baseline", "3_adamw", "5_dropout_relu")
SHORT = ["--data.train_size", "300", "--data.test_size", "200", "--trainer.max_epochs", "3", "--model.compile", "false"]
PATIENCE = 60  # seconds; the page itself takes a few

# TensorBoard is made of shadow trees, which a page's own text leaves out.
WALK = """
const found = [], text = arguments[0];
(function walk(node) {
  if (["STYLE", "SCRIPT", "NOSCRIPT"].includes(node.tagName)) return;
  VISIT
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
})(document.body);
return found;
"""
TEXTS = WALK.replace(
    "VISIT", "if (node.nodeType === 3 && node.textContent.trim()) found.push(node.textContent.trim());"
)
IMAGES = WALK.replace(
    "VISIT", 'if (node.tagName === "IMG" && node.naturalWidth) found.push([node.naturalWidth, node.width]);'
)
CLICK = WALK.replace(
    "VISIT", "if (node.nodeType === 3 && node.textContent.trim() === text) node.parentElement.click();"
)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `reproduce` leaves, of several rows and two seeds."""
    if given := os.environ.get("LECUN_REPRO_LOGS"):
        return Path(given)
    folder = tmp_path_factory.mktemp("reproduced")
    configs = ",".join(str(CONFIGS / f"{row}.yaml") for row in ROWS)
    command = [sys.executable, "-m", "lecun_repro", "reproduce", "--configs", f"[{configs}]", "--source", "digits"]
    subprocess.run([*command, "--seeds", "2", "--jobs", "2", *SHORT], cwd=folder, check=True, timeout=500)
    return folder / "lightning_logs"


@pytest.fixture(scope="module")
def runs(logs: Path) -> dict[str, dict[str, Any]]:
    """The results of every run, by the name that TensorBoard gives it."""
    files = sorted(logs.glob("*/*/results.json"))
    return {file.parent.relative_to(logs).as_posix(): json.loads(file.read_text()) for file in files}


@pytest.fixture(scope="module")
def address(logs: Path) -> Iterator[str]:
    """TensorBoard's, on a free port."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logs.name, "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        command, cwd=logs.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            assert server.stderr is not None
            lines = []
            for line in server.stderr:
                lines.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                    yield found[0]
                    break
            else:
                pytest.fail("".join(lines))
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # with the process that reads the files for it


class Page:
    """A tab of TensorBoard."""

    def __init__(self, chromium: Any, address: str) -> None:
        self.chromium, self.address = chromium, address

    def open(self, tab: str) -> None:
        self.chromium.get("about:blank")  # else only the part behind # would change
        self.chromium.get(f"{self.address}{tab}")

    def texts(self) -> list[str]:
        return self.chromium.execute_script(TEXTS)

    def images(self) -> list[tuple[int, int]]:
        """Of every picture that has been loaded, its width and the one it is shown with, in pixels."""
        return [tuple(widths) for widths in self.chromium.execute_script(IMAGES)]

    def click(self, text: str) -> None:
        self.chromium.execute_script(CLICK, text)

    def shows(self, *wanted: str) -> None:
        """Waits until every text is there, as a whole."""
        self.until(lambda: not set(wanted) - set(self.texts()), lambda: f"missing: {set(wanted) - set(self.texts())}")

    def shows_numbers(self, wanted: list[float]) -> None:
        """Waits until every number is there, as the page rounds it."""

        def missing() -> list[float]:
            there = [float(text) for text in self.texts() if re.fullmatch(r"-?\d+(\.\d+)?", text)]
            return [number for number in wanted if number not in [pytest.approx(each, rel=1e-3) for each in there]]

        self.until(lambda: not missing(), lambda: f"missing: {missing()}")

    def until(self, is_so: Callable[[], bool], otherwise: Callable[[], str]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > deadline:
                pytest.fail(otherwise())
            time.sleep(0.2)

    def keep(self, name: str) -> None:
        """A screenshot, if one is asked for: 256 colours are enough."""
        if folder := os.environ.get("LECUN_REPRO_SCREENSHOTS"):
            time.sleep(3)  # animations
            path = Path(folder) / f"{name}.png"
            self.chromium.save_screenshot(str(path))
            Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


@pytest.fixture
def page(chromium: Any, address: str) -> Page:
    return Page(chromium, address)


def test_rows_and_seeds_overlay_in_one_chart(page: Page, runs: dict[str, Any]) -> None:
    page.open("#scalars&_smoothingWeight=0")
    page.shows(*runs, "error/test", "error/train", "loss/test", "loss/train", "misses", "rate")
    # A tag's name stands over its chart, and once more below that: one chart for all runs.
    assert page.texts().count("error/test") == 2
    page.keep("scalars")


def test_it_begins_with_curves(page: Page, runs: dict[str, Any]) -> None:
    page.open("")
    page.shows(*runs, "error", "loss")
    page.until(lambda: "activations" not in " ".join(page.texts()), lambda: "pictures before curves")
    page.keep("landing")


def test_time_series_show_every_run_with_its_errors(page: Page, runs: dict[str, Any]) -> None:
    page.open("?smoothing=0&tagFilter=%5Eerror%2Ft#timeseries")
    page.shows(*runs, "2 cards", "error", "/test", "/train")
    page.shows_numbers([run[split]["error"] for run in runs.values() for split in ("train", "test")])
    page.keep("timeseries")


@pytest.mark.parametrize("tag", ["kernels/H1", "activations/H1", "activations/H2", "confusion/test", "errors/test"])
def test_pictures_of_every_run_after_its_last_pass(page: Page, runs: dict[str, Any], tag: str) -> None:
    page.open(f"#images&tagFilter={tag}")
    page.shows(f"shown/{tag}", *runs, *(str(run["passes"]) for run in runs.values()))
    page.until(lambda: len(page.images()) >= len(runs), lambda: f"images: {page.images()}")
    page.click("Show actual image size")
    page.until(lambda: all(shown == width for width, shown in page.images()), lambda: f"widths: {page.images()}")
    assert all(400 <= width <= 900 for width, _ in page.images())
    page.keep(f"images_{tag.split('/')[0]}" + ("_H2" if "H2" in tag else ""))


def test_the_graph_is_one_of_layers(page: Page, runs: dict[str, Any]) -> None:
    page.open("#graphs")
    shapes = ("1x12x8x8", "1x12x4x4", "1x30")  # with multiplication signs
    page.shows("digit", "H1", "H2", "H3", "output", *(shape.replace("x", "\u00d7") for shape in shapes), *runs)
    page.keep("graphs")


@pytest.mark.parametrize("tab", ["histograms", "distributions"])
def test_weights_of_every_run(page: Page, runs: dict[str, Any], tab: str) -> None:
    page.open(f"#{tab}&tagFilter=weights/H1w")
    page.shows("weights/H1w", *runs)
    assert page.texts().count("weights/H1w") >= 2 * len(runs)  # a name and a tag each
    page.keep(tab)


def test_the_text_is_the_configuration(page: Page, runs: dict[str, Any]) -> None:
    page.open("#text")
    page.shows("configuration/text_summary", *runs)
    page.until(lambda: any("seed_everything: 1337" in text for text in page.texts()), lambda: "no configuration")
    (first, *_) = (text for text in page.texts() if "seed_everything: 1337" in text)
    for line in ("class_path: lecun_repro.ConvNet1989", "class_path: torch.optim.SGD", "max_epochs:"):
        assert line in first
    page.keep("text")


def test_hyperparameters_of_every_run_with_its_final_test_error(page: Page, runs: dict[str, Any]) -> None:
    page.open("#hparams")
    page.shows("row", "seed", "activation", "dropout", "optimizer", "lr", "error/test", "error/train", *runs)
    page.shows("tanh", "relu", "SGD", "AdamW")
    page.shows_numbers([run["test"]["error"] for run in runs.values()])
    page.keep("hparams")


def test_no_tab_complains(page: Page, runs: dict[str, Any]) -> None:
    for tab in ("#timeseries", "#images", "#hparams"):
        page.open(tab)
        page.shows(*runs)
        assert not [text for text in page.texts() if text.startswith(("No ", "Error")) and "data" in text]
