"""A digit on a page of grey levels, whatever the paper, the light and the pen, made into 28x28 pixels like MNIST's.

LeCun, Cortes, Burges: "The original black and white (bilevel) images from NIST were size normalized to fit in a 20x20
pixel box while preserving their aspect ratio [...] grey levels as a result of the anti-aliasing [...] the images were
centered in a 28x28 image by computing the center of mass of the pixels". So here.

How the digit is found on its paper is our own choice, every constant below included. They were tried on digits of
MNIST's train file that the article's draw leaves out, written as images. Figures on the article's test digits prompted
one of the comparisons, that of FAINT_EDGE; its value was chosen on training digits, as all others were.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

# Sides of the image are meant by their longer one, those of the digit likewise.
THUMBNAIL = 128  # side of the image that polarity and paper are estimated on
BALANCED = 0.5  # skewness up to which neither dark nor light is clearly the ink
WIDEST_STROKE = 1 / 3  # of the image's side: what is dark and narrower is ink, wider a shadow on the paper
FAINTEST = 0.1  # least share of the paper's light that ink takes away
DIMMEST = 32  # of 255: darker paper counts as this dark, lest noise on black become ink
DARKEST = 1e-4  # share of the pixels that the full strength of the ink is read off
FAINT_EDGE = 0.4  # of the full strength: where the edge of a stroke ends
LINE = 0.9  # of the image's side: what covers or runs along so much of it is a border or a ruled line
DUST = 0.02  # of the largest part's ink: parts with less are specks
NEAR = 0.5  # of the largest part's side: parts closer than that belong to one drawing
RIVAL = 0.25  # of the drawing's ink: a second drawing with as much leaves open which one is meant
SIDE_BY_SIDE = 0.6  # of the drawing's height: two parts as tall, with a gap between left and right, are two digits
THINNEST = 2.0  # of MNIST's pixels: thinner strokes are made that wide, as a pencil is no pen
BOX, FIELD, MIDDLE = 20, 28, 14  # MNIST's box and field; its digits' centres of mass round to pixel 14 (from 0)


class Unreadable(Exception):
    """Why a file gives no digit, on one line."""


class Blank(Unreadable):
    """There is nothing on it."""


def normalised(page: Image.Image) -> np.ndarray:
    """(28, 28) uint8: the digit on a page of grey levels, in MNIST's size and place.

    Raises:
        Unreadable: The page is blank, or has several digits.
    """
    ink = ink_on(page)
    full = strength(ink)
    return centred(boxed(np.minimum(ink / full, 1) * drawing(ink, full)))


def ink_on(page: Image.Image) -> np.ndarray:
    """(h, w) float32: the share of the paper's light that is missing, 0 to 1, however the page is lit.

    A page with light strokes is taken for its negative. Paper is what is left when dark and narrow parts are closed.
    """
    grey = np.asarray(page, np.float32)
    small = np.asarray(Image.fromarray(grey).reduce(-(-max(page.size) // THUMBNAIL)), np.float64)
    if light_on_dark(small):
        grey, small = 255 - grey, 255 - small
    size = max(2, round(WIDEST_STROKE * max(small.shape)))
    beyond = np.pad(small, size, "reflect", reflect_type="odd")  # the light goes on beyond the edges as it falls there
    beyond = np.maximum(beyond, small.mean() / 2)  # though no shadow is that dark, but a stroke along the edge
    paper = ndimage.grey_closing(beyond, size)[size:-size, size:-size]
    lit = Image.fromarray(paper.astype(np.float32)).resize(page.size, Image.Resampling.BILINEAR)
    light = np.asarray(lit)
    return np.clip((light - grey) / np.maximum(light, DIMMEST), 0, 1)


def light_on_dark(page: np.ndarray) -> bool:
    """Whether the strokes on a page (h, w) are light: ink is less than the paper around it, and so it skews the page.

    Where they balance, as in an image cut close around a digit, what is along the border goes on beyond it.
    """
    skew = 0.0
    for beyond in ("reflect", "nearest"):
        rest = page - ndimage.gaussian_filter(page, max(page.shape) / 4, mode=beyond)
        skew = (rest**3).mean() / max((rest**2).mean(), 1e-9) ** 1.5
        if abs(skew) >= BALANCED:
            break
    return skew > 0


def strength(ink: np.ndarray) -> float:
    """The ink's share where it is at its full strength.

    Raises:
        Blank: There is hardly any.
    """
    at = max(1, round(DARKEST * ink.size))
    full = float(np.partition(ink, -at, axis=None)[-at])
    if full < FAINTEST:
        raise Blank("blank")
    return full


def drawing(ink: np.ndarray, full: float) -> np.ndarray:
    """(h, w) bool: where the digit is, with the edges of its strokes.

    Raises:
        Unreadable: There are only specks, or several figures.
    """
    labels, n = ndimage.label(ink > full / 2, np.ones((3, 3)))
    mass = ndimage.sum_labels(ink, labels, np.arange(n + 1))  # of each part; 0 is the paper
    mass[0] = 0
    boxes = ndimage.find_objects(labels)
    tall, wide = (np.array([0, *(box[axis].stop - box[axis].start for box in boxes)]) for axis in (0, 1))
    mass[strays(labels, tall, wide)] = 0
    largest = int(mass.argmax())
    if mass[largest] < DUST * mass.sum():
        raise Blank("blank but for specks")
    side = max(tall[largest], wide[largest])
    kept = (mass >= DUST * mass[largest])[labels]
    joined, n = ndimage.label(ndimage.distance_transform_edt(~kept) <= NEAR * side / 2)
    masses = ndimage.sum_labels(ink * kept, joined, np.arange(n + 1))
    digit = kept & (joined == masses.argmax())
    if (n > 1 and np.partition(masses, -2)[-2] >= RIVAL * masses.max()) or side_by_side(digit):
        raise Unreadable("several figures; allowed: one digit")
    return ndimage.distance_transform_edt(~digit) <= max(1.5, side / BOX)


def side_by_side(digit: np.ndarray) -> bool:
    """Whether an empty column parts the drawing (h, w) into two that both are tall and no small part of it."""
    rows, columns = np.indices(digit.shape)[:, digit]
    height = np.ptp(rows) + 1
    taken = np.unique(columns)
    for last in taken[:-1][np.diff(taken) > 1]:
        left = columns <= last
        tall = min(np.ptp(rows[left]), np.ptp(rows[~left])) >= SIDE_BY_SIDE * height
        if tall and min(left.sum(), (~left).sum()) >= RIVAL * max(left.sum(), (~left).sum()):
            return True
    return False


def strays(labels: np.ndarray, tall: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """(n + 1,) bool: which parts are borders or ruled lines; none if there is nothing else of any size.

    Args:
        labels: (h, w), the part that each pixel belongs to, 0 for the paper.
        tall: (n + 1,), the parts' heights.
        wide: (n + 1,), the parts' widths.
    """
    height, width = labels.shape
    found = (wide >= LINE * width) & (tall <= wide / 10) | (tall >= LINE * height) & (wide <= tall / 10)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        found |= np.bincount(side, minlength=len(tall)) >= LINE * len(side)
    found[0] = False
    others = ~found & (np.maximum(tall, wide) >= max(5, max(labels.shape) / 20))
    return found & others.any()


def boxed(ink: np.ndarray) -> np.ndarray:
    """(h, w) float32, 0 to 1: the drawing alone, its longer side reduced or enlarged to 20 pixels."""
    rows, columns = (np.flatnonzero((ink > FAINT_EDGE).any(axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pixel = max(ink.shape) / BOX
    # From a stroke's edge to its middle, the mean distance to the paper is a quarter of its width.
    width_of_strokes = 4 * ndimage.distance_transform_edt(np.pad(ink > 0.5, 1))[1:-1, 1:-1][ink > 0.5].mean()
    if (missing := round(THINNEST * pixel - width_of_strokes)) > 0:
        ink = ndimage.maximum_filter(np.pad(ink, missing), missing + 1)
    height, width = (max(1, round(BOX * side / max(ink.shape))) for side in ink.shape)
    small = Image.fromarray(ink).resize((width, height), Image.Resampling.LANCZOS)
    return np.clip(np.asarray(small), 0, 1)  # this filter overshoots


def centred(ink: np.ndarray) -> np.ndarray:
    """(28, 28) uint8: the drawing, at most 20x20, with its centre of mass in the middle."""
    field = np.zeros((FIELD, FIELD), np.uint8)
    top, left = (MIDDLE - round(centre) for centre in ndimage.center_of_mass(ink))
    top, left = max(0, min(top, FIELD - ink.shape[0])), max(0, min(left, FIELD - ink.shape[1]))
    field[top : top + ink.shape[0], left : left + ink.shape[1]] = np.rint(255 * ink / ink.max())
    return field
