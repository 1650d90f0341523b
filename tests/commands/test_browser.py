"""The page in a browser: it computes what torch does, and reads what is drawn on it. Nothing reaches the network."""

import base64
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lecun_repro import ConvNet1989, CrossEntropy, DigitClassifier, Head, TanhMSE
from lecun_repro.commands.export import random_digits
from lecun_repro.commands.page import page
from lecun_repro.data.datamodule import DigitsDataModule
from lecun_repro.data.sources.mnist import to_16x16

pytest.importorskip("selenium")
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions import interaction
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = pytest.mark.browser

INDEX = Path(__file__).parents[2] / "docs" / "index.html"
KEPT = Path(__file__).parents[2] / "docs" / "draw.html"
TOLERANCE = 1e-4

SEVEN = [[[0.2, 0.2], [0.8, 0.2], [0.4, 0.9]]]
ONE = [[[0.55, 0.1], [0.45, 0.9]]]
FOUR = [[[0.3, 0.1], [0.2, 0.6], [0.8, 0.55]], [[0.7, 0.2], [0.6, 1.0]]]


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser with the page that is kept; no page may complain or ask for anything from elsewhere."""
    looks(chromium, 1280, 900, "light")
    chromium.get("about:blank")
    chromium.get_log("browser")
    chromium.get(KEPT.as_uri())
    yield chromium
    assert chromium.get_log("browser") == []
    assert chromium.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)") == []


def looks(browser: webdriver.Chrome, width: int, height: int, scheme: str) -> None:
    """A window of so many CSS pixels, by day or by night."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )


def computed(browser: webdriver.Chrome, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the page's network makes of digits (n, 1, 16, 16): logits (n, 10), probabilities (n, 10), labels (n,)."""
    found: list[dict[str, Any]] = []
    for chunk in images.split(500):
        pixels = base64.b64encode(chunk.contiguous().numpy().astype("<f4").tobytes()).decode()
        found += browser.execute_script(
            "const pixels = new Float32Array(Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0)).buffer);"
            "return Array.from({ length: pixels.length / 256 }, (_, i) => {"
            "  const { logits, probabilities, label } = net.forward(pixels.subarray(256 * i, 256 * i + 256));"
            "  return { logits: [...logits], probabilities: [...probabilities], label };"
            "});",
            pixels,
        )
    logits, probabilities = (torch.tensor([f[name] for f in found]) for name in ("logits", "probabilities"))
    return logits, probabilities, torch.tensor([f["label"] for f in found])


# The network ----------------------------------------------------------------------------------------------------------


def test_reads_every_test_digit_of_the_article_as_torch_does(
    browser: webdriver.Chrome, real_data: Path, network_of
) -> None:
    data = DigitsDataModule(draw="article", root=real_data)
    data.setup()
    logits, _, labels = computed(browser, data.splits["test"].images)
    with torch.no_grad():
        expected = network_of(KEPT.read_text())(data.splits["test"].images)
    assert len(labels) == 2007
    assert torch.equal(labels, expected.argmax(1))
    assert float((logits - expected).abs().max()) < TOLERANCE


@pytest.mark.parametrize(
    "activation, table, head",
    [
        ("tanh", "article", TanhMSE()),
        ("scaled_tanh", "random:3", TanhMSE("scaled_tanh", 1.0)),
        ("relu", "full", TanhMSE()),
        ("gelu", "cyclic", CrossEntropy()),
        ("silu", [[i, 11 - i] for i in range(6)] * 2, CrossEntropy()),
    ],
    ids=["tanh", "scaled_tanh", "relu", "gelu", "silu"],
)
def test_any_configuration_computes_what_torch_does(
    browser: webdriver.Chrome, activation: str, table: Any, head: Head, tmp_path: Path, saved
) -> None:
    torch.manual_seed(11)
    network = ConvNet1989(activation, table=table)
    for parameter in network.parameters():  # biases, too, which start equal
        parameter.data += 0.1 * torch.randn(parameter.shape)
    (tmp_path / "page.html").write_text(page(DigitClassifier(network, head), saved)[0])
    browser.get((tmp_path / "page.html").as_uri())
    images = random_digits(60)
    logits, probabilities, labels = computed(browser, images)
    with torch.no_grad():
        outputs = network(images)
    torch.testing.assert_close(logits, head.activation(outputs), rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(probabilities, head.probabilities(outputs), rtol=0, atol=TOLERANCE)
    largest, second = outputs.topk(2).values.unbind(1)
    clear = largest - second > 10 * TOLERANCE
    assert torch.equal(labels[clear], outputs.argmax(1)[clear])


def test_a_name_of_markup_stays_a_name(browser: webdriver.Chrome, tmp_path: Path, saved, hostile) -> None:
    model = DigitClassifier(ConvNet1989(), TanhMSE())
    name = hostile.replace("alert(1)", "window.ran=1")
    (tmp_path / "page.html").write_text(page(model, saved | {"row": name})[0])
    browser.get((tmp_path / "page.html").as_uri())
    assert browser.execute_script("return window.ran") is None
    assert browser.execute_script("return document.querySelectorAll('img, body script:not([id])').length") == 1
    assert name in browser.find_element(By.ID, "about").get_attribute("textContent")


# From strokes to pixels -----------------------------------------------------------------------------------------------


def reference_field(strokes: list) -> np.ndarray:
    """The 28x28 bytes of a drawing, written once more and otherwise: every point against every segment at once."""
    points = np.array([point for stroke in strokes for point in stroke])
    low = points.min(0)
    scale = (20 - 2.5) / max(np.ptp(points, axis=0).max(), 0.02)
    fine = (np.stack(np.meshgrid(np.arange(80), np.arange(80)), -1) + 0.5) / 4
    ink = np.zeros((80, 80), bool)
    for stroke in strokes:
        placed = (np.array(stroke) - low) * scale + 1.25
        for a, b in pairwise(placed if len(placed) > 1 else [*placed, *placed]):
            along = (fine - a) @ (b - a) / max((b - a) @ (b - a), 1e-12)
            nearest = a + np.clip(along, 0, 1)[..., None] * (b - a)
            ink |= np.linalg.norm(fine - nearest, axis=-1) <= 1.25
    box = 255 * ink.reshape(20, 4, 20, 4).mean((1, 3))
    at = np.arange(20)
    down, right = (int(np.floor(14 - (box.sum(axis) * at).sum() / box.sum() + 0.5)) for axis in (1, 0))
    padded = np.zeros((80, 80))  # the field is its middle
    padded[26 + down : 46 + down, 26 + right : 46 + right] = box
    return np.floor(padded[26:54, 26:54] + 0.5).astype(np.uint8)


def field(browser: webdriver.Chrome, strokes: list) -> np.ndarray:
    return np.array(browser.execute_script("return [...net.field(arguments[0])]", strokes), np.uint8).reshape(28, 28)


def reduced(browser: webdriver.Chrome, strokes: list) -> np.ndarray:
    found = browser.execute_script("return [...net.reduced(net.field(arguments[0]))]", strokes)
    return np.array(found, np.float32).reshape(16, 16)


@pytest.mark.parametrize("strokes", [SEVEN, ONE, FOUR, [[[0.3, 0.3]]], [[[0.5, 0.5], [0.5, 0.509]]]])
def test_a_drawing_becomes_the_pixels_of_the_reference(browser: webdriver.Chrome, strokes: list) -> None:
    ours, expected = field(browser, strokes), reference_field(strokes)
    # A point exactly on the edge of a stroke may fall either way: a sixteenth of a pixel's ink.
    difference = np.abs(ours.astype(int) - expected)
    assert difference.max() <= 16
    assert (difference > 0).mean() < 0.01
    framed = to_16x16(ours[None], "normalised")[0, 0].numpy()  # as the network's digits were
    np.testing.assert_allclose(reduced(browser, strokes), framed, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frame", ["article", "paper", "normalised"])
def test_a_page_reduces_drawings_in_the_frame_of_its_network(
    frame: str, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    saved = {"row": "mine", "config": {"data": {"frame": frame}}, "results": {}}
    (tmp_path / "page.html").write_text(page(DigitClassifier(ConvNet1989(), CrossEntropy()), saved)[0])
    browser.get((tmp_path / "page.html").as_uri())
    expected = to_16x16(field(browser, SEVEN)[None], frame)[0, 0].numpy()
    np.testing.assert_allclose(reduced(browser, SEVEN), expected, rtol=0, atol=1e-5)  # places in float32


def test_a_drawing_lies_where_mnist_has_its_digits(browser: webdriver.Chrome) -> None:
    for digit in browser.execute_script("return net.examples"):
        pixels = field(browser, digit).astype(float)
        sides = [int(np.ptp(pixels.sum(axis).nonzero()[0])) + 1 for axis in (0, 1)]
        assert max(sides) == 20
        centre = [(pixels.sum(axis) * np.arange(28)).sum() / pixels.sum() for axis in (0, 1)]
        assert np.abs(np.array(centre) - 14).max() <= 0.51  # of MNIST's 20,000 first digits: from 13.48 to 14.50


@pytest.mark.parametrize("strokes", [SEVEN, ONE, FOUR])
def test_place_and_size_of_a_drawing_do_not_matter(browser: webdriver.Chrome, strokes: list) -> None:
    first = reduced(browser, strokes)
    for size, x, y in ((1, 0.1, -0.1), (0.25, 0.7, 0.1), (0.1, 0.0, 0.9), (0.6, 0.2, 0.3)):
        moved = [[[size * px + x, size * py + y] for px, py in stroke] for stroke in strokes]
        again = reduced(browser, moved)
        assert np.abs(first - again).max() < 0.2  # of 2; points on the edge of a stroke, by rounding
        assert np.abs(first - again).mean() < 0.005
        labels = computed(browser, torch.from_numpy(np.stack([first, again]))[:, None])[2]
        assert labels[0] == labels[1]


def test_an_empty_field_is_all_background(browser: webdriver.Chrome) -> None:
    assert (reduced(browser, []) == -1).all()


def test_reads_the_digits_that_it_draws(browser: webdriver.Chrome) -> None:
    examples = browser.execute_script("return net.examples")
    assert len(examples) == 10
    images = torch.from_numpy(np.stack([reduced(browser, digit) for digit in examples]))[:, None]
    assert computed(browser, images)[2].tolist() == list(range(10))


# The page -------------------------------------------------------------------------------------------------------------


def draw(browser: webdriver.Chrome, strokes: list) -> None:
    """Strokes in shares of the pad's side, with the pointer."""
    pad = browser.find_element(By.ID, "pad")
    side = pad.size["width"]
    for stroke in strokes:
        places = [[round((v - 0.5) * side) for v in point] for point in stroke]
        chain = ActionChains(browser, duration=20).move_to_element_with_offset(pad, *places[0]).click_and_hold()
        for start, end in pairwise(places):
            for step in range(1, 6):
                now, before = (
                    [round(a + (b - a) * s / 5) for a, b in zip(start, end, strict=True)] for s in (step, step - 1)
                )
                chain.move_by_offset(now[0] - before[0], now[1] - before[1])
        chain.release().perform()


def shows(browser: webdriver.Chrome, digit: str) -> bool:
    return WebDriverWait(browser, 10).until(lambda b: b.find_element(By.ID, "digit").text == digit)


def inputs_of(browser: webdriver.Chrome) -> str:
    """The pixels on show of what the network sees."""
    return browser.execute_script("return document.getElementById('input').toDataURL()")


def click(browser: webdriver.Chrome, button: str) -> None:
    browser.find_element(By.ID, button).click()


@pytest.mark.parametrize("width, height, scheme", [(1280, 900, "light"), (390, 844, "dark")])
def test_drawing_with_the_pointer(browser: webdriver.Chrome, width: int, height: int, scheme: str) -> None:
    looks(browser, width, height, scheme)
    browser.get(KEPT.as_uri())
    empty = inputs_of(browser)
    draw(browser, SEVEN)
    assert shows(browser, "7")
    assert "confidence" in browser.find_element(By.ID, "sure").text
    assert browser.find_element(By.CSS_SELECTOR, "#bars .first").text.startswith("7")
    assert browser.find_element(By.CSS_SELECTOR, "#output .first").text.startswith("7")
    assert inputs_of(browser) != empty
    assert browser.find_element(By.ID, "spoken").get_attribute("textContent").startswith("It reads 7")
    click(browser, "clear")
    assert shows(browser, "")
    assert inputs_of(browser) == empty
    draw(browser, ONE)
    assert shows(browser, "1")


def test_the_answer_is_live_while_a_stroke_goes_on(browser: webdriver.Chrome) -> None:
    pad = browser.find_element(By.ID, "pad")
    chain = ActionChains(browser, duration=20).move_to_element_with_offset(pad, 20, -100).click_and_hold()
    for _ in range(5):
        chain.move_by_offset(-5, 40)
    chain.perform()
    assert shows(browser, "1")
    ActionChains(browser).release().perform()


def test_undo_takes_one_stroke_back(browser: webdriver.Chrome) -> None:
    draw(browser, FOUR[1:])
    assert shows(browser, "1")
    one_stroke = inputs_of(browser)
    draw(browser, FOUR[:1])
    assert shows(browser, "4")
    click(browser, "undo")
    assert shows(browser, "1")
    assert inputs_of(browser) == one_stroke
    ActionChains(browser).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    assert shows(browser, "")


def test_drawing_with_the_keyboard(browser: webdriver.Chrome) -> None:
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.get_attribute("id") == "pad"
    ActionChains(browser).send_keys(Keys.SPACE, *[Keys.ARROW_DOWN] * 15).perform()
    assert shows(browser, "1")
    ActionChains(browser).send_keys(Keys.BACKSPACE).perform()
    assert shows(browser, "")
    ActionChains(browser).send_keys(Keys.SPACE, *[Keys.ARROW_UP] * 15, Keys.SPACE, Keys.ARROW_LEFT).perform()
    assert shows(browser, "1")
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert shows(browser, "")


def test_shows_a_digit_of_its_own(browser: webdriver.Chrome) -> None:
    click(browser, "example")
    assert shows(browser, "7")


def test_a_map_shows_which_others_it_reads(browser: webdriver.Chrome) -> None:
    table = browser.execute_script("return net.checkpoint.table")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#H1 .kernel")) == len(table) == 12
    for number, button in enumerate(browser.find_elements(By.CSS_SELECTOR, "#H2 button")):
        browser.execute_script("arguments[0].focus({ preventScroll: true })", button)
        first = browser.find_elements(By.CSS_SELECTOR, "#H1 button")
        assert [i for i, b in enumerate(first) if "unread" not in b.get_attribute("class")] == table[number]
        assert button.get_attribute("aria-label").startswith(f"Map {number + 1} of H2, which reads H1")


def test_a_map_can_be_touched(browser: webdriver.Chrome) -> None:
    looks(browser, 390, 844, "light")
    browser.get(KEPT.as_uri())
    table = browser.execute_script("return net.checkpoint.table")

    def touch(selector: str, number: int = 0) -> list[int]:
        """Touches and lets go; returns the maps of H1 that are then not pale."""
        element = browser.find_elements(By.CSS_SELECTOR, selector)[number]
        browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", element)
        finger = ActionBuilder(browser, mouse=PointerInput(interaction.POINTER_TOUCH, "finger"))
        finger.pointer_action.move_to(element).pointer_down().pointer_up()
        finger.perform()
        first = browser.find_elements(By.CSS_SELECTOR, "#H1 button")
        return [i for i, b in enumerate(first) if "unread" not in b.get_attribute("class")]

    assert touch("#H2 button", 3) == table[3]
    assert touch("#H2 button", 7) == table[7]
    assert touch("h1") == list(range(12))


def test_the_reading_is_in_sight_while_one_draws_on_a_telephone(browser: webdriver.Chrome) -> None:
    looks(browser, 360, 640, "light")
    browser.get(KEPT.as_uri())
    browser.execute_script("document.getElementById('pad').scrollIntoView({ block: 'center' })")
    draw(browser, SEVEN)
    assert shows(browser, "7")
    for block in ("start", "center", "end"):
        top, bottom = browser.execute_script(
            "document.getElementById('pad').scrollIntoView({ block: arguments[0] });"
            "const { top, bottom } = document.getElementById('sure').getBoundingClientRect();"
            "return [top, innerHeight - bottom];",
            block,
        )
        assert min(top, bottom) >= 0, block


def test_says_what_it_is(browser: webdriver.Chrome) -> None:
    text = " ".join(browser.find_element(By.TAG_NAME, "main").text.split())
    for fact in (
        "9,760 parameters",
        "8_normalised",
        "seed 1337",
        "misreads 5, or 0.25 %",
        "made upright",
        "1,068",
        "2,592",
        "5,790",
    ):
        assert fact in text
    unlabelled = browser.execute_script(
        "return [...document.querySelectorAll('button, canvas[tabindex], [role=img]')]"
        ".filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label'))).length"
    )
    assert unlabelled == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_fits_a_telephone(browser: webdriver.Chrome, scheme: str) -> None:
    looks(browser, 340, 700, scheme)
    browser.get(KEPT.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 340

    def luminance(name: str) -> float:
        hex = browser.execute_script(
            "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0])", f"--{name}"
        ).strip()
        channels = [int(hex[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(one: str, other: str) -> float:
        low, high = sorted(map(luminance, (one, other)))
        return (high + 0.05) / (low + 0.05)

    for text, ground in (("ink", "ground"), ("muted", "ground"), ("muted", "card"), ("ink", "card"),
                         ("accent", "ground"), ("on-accent", "accent")):  # fmt: skip
        assert contrast(text, ground) >= 4.5, (text, ground)
    for value in ("positive", "negative"):
        assert contrast(value, "zero") >= 3  # WCAG's bound for graphics


# docs/index.html ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width, height, scheme", [(1280, 900, "light"), (360, 740, "dark")])
def test_the_project_s_page(browser: webdriver.Chrome, width: int, height: int, scheme: str) -> None:
    looks(browser, width, height, scheme)
    browser.get(INDEX.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    marks = browser.find_elements(By.CSS_SELECTOR, ".line .track i")
    assert len([mark for mark in marks if mark.is_displayed()]) > 3 * 8  # ours, theirs and an interval, on eight lines
    assert browser.find_element(By.CSS_SELECTOR, ".line .value").text.endswith(" / 5.00 %")
    sides = "const { scrollWidth, clientWidth } = document.querySelector('.table'); return scrollWidth - clientWidth;"
    assert browser.execute_script(sides) <= 0
    for claim in browser.find_elements(By.CSS_SELECTOR, "main > .claims .claim"):
        chip, words = claim.find_element(By.CLASS_NAME, "verdict"), claim.find_element(By.TAG_NAME, "blockquote")
        assert chip.text in ("holds", "fails", "not decided") and words.rect["width"] > 0.8 * claim.rect["width"]
    frame = browser.find_element(By.TAG_NAME, "iframe")
    browser.execute_script("arguments[0].scrollIntoView()", frame)
    browser.switch_to.frame(frame)
    WebDriverWait(browser, 10).until(lambda b: b.find_elements(By.ID, "example"))
    click(browser, "example")
    assert shows(browser, "7")
    assert browser.find_element(By.TAG_NAME, "header").is_displayed() == (width > 600)
    browser.switch_to.default_content()
    fetched = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert browser.execute_script(fetched) in ([], [KEPT.as_uri()])
    browser.get("about:blank")
