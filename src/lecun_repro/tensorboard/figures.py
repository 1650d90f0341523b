"""What a network has learnt, as matplotlib figures for TensorBoard: legible as they are, colour-blind safe.

Digits, kernels and maps are pasted into one array of pixels, and matplotlib adds the words. An axes of its own for each
of them would take ten times as long, and somebody waits for the fit that draws them.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure

from lecun_repro.tensorboard.style import GREY, LINES, subplots
from lecun_repro.training.rejection import SHARES

Array = np.ndarray
DPI = 100
SIGNED = "RdBu_r"  # blue below 0, white at 0, red above: told apart with any colour vision
COUNTS = "Oranges"
MARGIN, GAP = 14, 4  # pixels
INK = "#222222"


def kernels_figure(start: Array, now: Array, title: str) -> Figure:
    """Kernels (n, height, width) when the fit started, now, and their change, all in one scale of colours."""
    parts = {"when the fit started": start, "now": now, "change, now minus start": now - start}
    limit = _limit(*parts.values())
    pictures = {name: mosaic(coloured(kernels, limit), min(len(now), 6), 64) for name, kernels in parts.items()}
    height, width = pictures["now"].shape[:2]
    sheet = _Sheet(max(width, 260) + 2 * MARGIN, 34 + 3 * (height + 26) + 32, title)
    top = 34
    for name, picture in pictures.items():
        sheet.text(MARGIN, top + 18, name)
        sheet.paste(MARGIN, top + 26, picture)
        top += height + 26
    sheet.scale(MARGIN, top + 6, limit)
    return sheet.figure()


def activations_figure(digits: Array, activations: Array, title: str) -> Figure:
    """Digits (n, height, width) from -1 (background) to 1 (ink), each beside what it activates in one layer.

    The activations are those of maps, (n, maps, height, width), or of units, (n, units).
    """
    limit, cell = _limit(activations), 44
    colours = coloured(activations, limit)
    if activations.ndim == 4:
        picture = mosaic(colours.reshape(-1, *colours.shape[2:]), activations.shape[1], cell)
    else:
        strips = colours.repeat(max(3, 12 * cell // colours.shape[1]), 1)[:, None].repeat(cell - GAP, 1)
        picture = np.pad(strips, [(0, 0), (0, GAP), (0, 0), (0, 0)], constant_values=255)
        picture = picture.reshape(-1, *strips.shape[2:])
    left, top, height = MARGIN + cell + 14, 40, len(digits) * cell
    sheet = _Sheet(left + max(picture.shape[1], 400) + MARGIN, top + height + 32, title)
    sheet.paste(MARGIN, top, mosaic(inked(digits), 1, cell))
    sheet.paste(left, top, picture)
    sheet.scale(left, top + height + 8, limit)
    return sheet.figure()


def confusion_figure(confusion: Array, title: str) -> Figure:
    """Counts (10, 10): a row for each true digit, a column for what it is taken for; colours show misses."""
    right = np.eye(len(confusion), dtype=bool)
    missed = np.where(right, 0, confusion)
    colours = coloured(missed, missed.max() or 1, COUNTS, signed=False)
    colours[right] = 221  # grey
    cell, left, top = 46, 70, 84
    side = cell * len(confusion)
    sheet = _Sheet(left + side + 20, top + side + 20, title)
    sheet.paste(left, top, colours.repeat(cell, 0).repeat(cell, 1))
    sheet.text(left, top - 32, "taken for", colour=GREY)
    sheet.text(MARGIN, top + 14, "true", colour=GREY)
    for true, row in enumerate(confusion.tolist()):
        middle = top + cell * true + cell / 2
        sheet.text(left - 16, middle, str(true), centre=True)
        sheet.text(left + cell * true + cell / 2, top - 12, str(true), centre=True)
        for taken_for, count in enumerate(row):
            if count:
                colour = "white" if missed[true, taken_for] > 0.6 * missed.max() else INK
                sheet.text(left + cell * taken_for + cell / 2, middle, str(count), centre=True, colour=colour)
    return sheet.figure()


def errors_figure(digits: Array, captions: Sequence[str], title: str) -> Figure:
    """Digits (n, height, width) from -1 (background) to 1 (ink), ten in a line, each under its caption."""
    columns, width, height = 10, 84, 90
    sheet = _Sheet(MARGIN + columns * width, 44 + -(-len(digits) // columns) * height, title)
    for number, (picture, caption) in enumerate(zip(inked(digits), captions, strict=True)):
        x, y = MARGIN + number % columns * width, 44 + number // columns * height
        sheet.text(x, y + 12, caption, size=8.5)
        sheet.paste(x, y + 18, mosaic(picture[None], 1, 68))
    return sheet.figure()


def augmentations_figure(digits: Array, presentations: Array, title: str) -> Figure:
    """Digits (n, height, width) above how each is presented, (times, n, height, width); from -1 to 1 (ink)."""
    cell, top, left = 68, 44, MARGIN + 84
    sheet = _Sheet(left + len(digits) * cell + MARGIN, top + (len(presentations) + 1) * cell + 22, title)
    sheet.paste(left, top, mosaic(inked(digits), len(digits), cell))
    sheet.paste(left, top + cell + 8, mosaic(inked(np.concatenate(presentations)), len(digits), cell))
    names = ["as it is", *(f"pass {number}" for number in range(1, len(presentations) + 1))]
    for line, name in enumerate(names):
        sheet.text(MARGIN, top + line * cell + (8 if line else 0) + cell // 2, name, colour=GREY)
    return sheet.figure()


def coloured(values: Array, limit: float, colours: str = SIGNED, signed: bool = True) -> Array:
    """Values of any shape -> their colours, (..., 3) bytes, from -limit, or from 0, to the limit."""
    finite = np.nan_to_num(np.asarray(values, dtype=float), nan=0.0, posinf=limit, neginf=-limit)
    shares = (finite / limit + 1) / 2 if signed else finite / limit
    return colormaps[colours](shares, bytes=True)[..., :3]


def inked(digits: Array) -> Array:
    """Digits from -1 (background) to 1 (ink) -> black on white, (..., 3) bytes."""
    return np.clip(127.5 * (1 - digits), 0, 255).astype(np.uint8)[..., None].repeat(3, -1)


def mosaic(pictures: Array, columns: int, cell: int) -> Array:
    """Pictures (n, height, width, 3), `columns` in a line, each enlarged as far as a cell of so many pixels allows."""
    n, height, width, _ = pictures.shape
    factor = max(1, (cell - GAP) // max(height, width))
    large = pictures.repeat(factor, 1).repeat(factor, 2)
    lines = -(-n // columns)
    around = [(0, lines * columns - n), (0, max(0, cell - factor * height)), (0, max(0, cell - factor * width)), (0, 0)]
    large = np.pad(large, around, constant_values=255)
    _, height, width, _ = large.shape
    return large.reshape(lines, columns, height, width, 3).swapaxes(1, 2).reshape(lines * height, columns * width, 3)


def _limit(*values: Array) -> float:
    """The largest size of a finite value; 1 where all are 0."""
    return max(float(np.abs(v[np.isfinite(v)]).max(initial=0)) for v in values) or 1.0


class _Unhinted(Figure):
    """Letters as they are, not fitted to the pixels, which takes a third of the time that words take."""

    def draw(self, renderer: RendererBase) -> None:
        with rc_context({"text.hinting": "none"}):
            super().draw(renderer)


class _Sheet:
    """A white sheet, measured in pixels from its upper left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.pixels = np.full((height, width, 3), 255, dtype=np.uint8)
        self._figure = _Unhinted(figsize=(width / DPI, height / DPI), dpi=DPI)
        self.text(MARGIN, 24, title, size=10.5)

    def text(self, x: float, y: float, text: str, size: float = 9, centre: bool = False, colour: str = INK) -> None:
        height, width, _ = self.pixels.shape
        across, down = ("center", "center_baseline") if centre else ("left", "baseline")
        self._figure.text(
            x / width, 1 - y / height, text, fontsize=size, ha=across, va=down, color=colour, parse_math=False
        )

    def paste(self, x: int, y: int, picture: Array) -> None:
        """Puts a picture (height, width, 3) there."""
        self.pixels[y : y + picture.shape[0], x : x + picture.shape[1]] = picture

    def scale(self, x: int, y: int, limit: float) -> None:
        """What the colours stand for."""
        self.text(x, y + 11, f"{-limit:.2g}")
        self.paste(x + 44, y, coloured(np.linspace(-limit, limit, 80)[None].repeat(12, 0), limit))
        self.text(x + 130, y + 11, f"{limit:.2g}")

    def figure(self) -> Figure:
        self._figure.add_artist(_Pixels(self.pixels))
        return self._figure


class _Pixels(Artist):
    """Pixels (height, width, 3) under everything else, as they are; matplotlib's own image would sample them anew."""

    def __init__(self, pixels: Array) -> None:
        super().__init__()
        self.set_zorder(0)
        self.pixels = np.dstack([pixels[::-1], np.full_like(pixels[..., :1], 255)])  # from the bottom, opaque

    def draw(self, renderer: RendererBase) -> None:
        gc = renderer.new_gc()
        renderer.draw_image(gc, 0, 0, self.pixels)
        gc.restore()


def rejection_figure(curves: dict[str, list[list[float]]], paper: tuple[float, float] | None = None) -> Figure:
    """Error on accepted digits against the share rejected, mean over each name's curves (see `rejection`).

    `paper`: the paper's own share and error, to be drawn beside them.
    """
    figure, (axes,) = subplots(3.8)
    for (name, errors), line in zip(curves.items(), LINES, strict=False):
        axes.plot(SHARES, np.mean(errors, axis=0), **line, linewidth=1.5, label=name)
    if paper is not None:
        axes.plot(*paper, "k*", markersize=10, label="the paper")
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.set_xlabel("rejected, %")
    axes.set_ylabel("error on the rest, %")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="upper right")
    return figure
