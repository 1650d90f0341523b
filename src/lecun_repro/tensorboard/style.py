"""Colours, width and axes that all figures share: legible at a README's width, colour-blind safe (Okabe and Ito)."""

from typing import Any

from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
COLOURS = [BLUE, ORANGE, GREEN, "#CC79A7", VERMILION, "#56B4E9", "#000000"]
LINES = [{"color": colour, "linestyle": style} for style in ("-", "--", ":", "-.") for colour in COLOURS]
WIDTH = 8.6  # inches; 860 pixels, the width of a README


def subplots(height: float, columns: int = 1, rows: int = 1, **options: Any) -> tuple[Figure, list[Any]]:
    """A figure of so many inches that no window shows, and its axes, row by row; options as those of matplotlib."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid.flat)
