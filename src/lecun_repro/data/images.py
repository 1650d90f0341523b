"""Image files with one drawn or photographed digit each: found, read within bounds, made into digits like MNIST's."""

import glob
import math
import os
import re
import stat
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from lecun_repro.data.normalisation import FIELD, Blank, Unreadable, normalised
from lecun_repro.data.sources.base import FrameName
from lecun_repro.data.sources.mnist import to_16x16
from lecun_repro.data.splits import Split
from lecun_repro.errors import DataError

# What is read: formats that give their size in the header, so that it is known before anything is decoded.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "TIFF")
TIFF_CODECS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "tiff_ccitt", "group3", "group4")
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands of an iPhone's photos
READ = f"{', '.join(FORMATS)}, and HEIC with pillow-heif"
# Beside the kinds that Pillow knows by their names, those that a folder of photos may have.
OTHER_SUFFIXES = (".heic", ".heif", ".hif", ".svg", ".dng", ".cr2", ".nef", ".arw")
MAX_BYTES = 256 * 2**20  # of a file
MAX_PIXELS = 64_000_000  # claimed by a header; WebP takes 12 bytes each, a JPEG of four colours 8, the others less
MAX_ASPECT = 100  # longer side over shorter
REDUCED_TO = 2_000_000  # pixels that a larger image is reduced to, each the mean of a square of its pixels
BAND = 256  # rows of the reduced image that are converted at a time


class ImageDigits(NamedTuple):
    """What a number of image files gave."""

    files: list[str]  # those with a digit, as they were named
    digits: Split  # theirs, in the same order; a label is the name of the folder, -1 where that is no digit
    skipped: list[tuple[str, str]]  # the other files, each with the reason


def read_images(images: str | Iterable[str], frame: FrameName = "article") -> ImageDigits:
    """The digits of all files that `images` names.

    Args:
        images: A file, folder or pattern, or several, see `find_files`.
        frame: The frame that they are shown in, as MNIST's digits are.

    Raises:
        DataError: One of them names no file.
    """
    files, digits, skipped = [], [np.empty((0, FIELD, FIELD), np.uint8)], []
    for file in tqdm(find_files(images), unit=" images", leave=False, disable=None):
        try:
            digits.append(read_digit(file)[None])
            files.append(file)
        except Unreadable as reason:
            skipped.append((file, str(reason)))
    labels = torch.tensor([label_of(file) for file in files], dtype=torch.int64)
    return ImageDigits(files, Split(to_16x16(np.concatenate(digits), frame), labels), skipped)


def label_of(file: str) -> int:
    """The digit after which the file's folder is named; -1 where it is not."""
    name = Path(file).parent.name
    return int(name) if re.fullmatch("[0-9]", name) else -1


def find_files(images: str | Iterable[str]) -> list[str]:
    """The files that are named, each once: in the order of their patterns, and for a pattern in natural order.

    Args:
        images: A file, a folder for all images in and below it, or a pattern with `*`, `?`, `[...]` or `**`; or
            several. `~` is the home folder.

    Raises:
        DataError: A pattern matches nothing.
    """
    found: dict[Path, str] = {}
    for pattern in [images] if isinstance(images, str) else images:
        path = os.path.expanduser(pattern)
        names = [path] if os.path.lexists(path) else []
        with suppress(ValueError):  # a zero byte
            names = names or sorted(glob.glob(path, recursive=True), key=natural_order)
        if not names:
            raise DataError(f"data.images: {pattern!r} matches no file; allowed: files, folders, patterns in quotes")
        for name in names:
            for file in in_folder(name) or [name]:
                found.setdefault(Path(file).parent.resolve() / Path(file).name, file)
    if not found:
        raise DataError("data.images: an empty list; allowed: files, folders, patterns in quotes")
    return list(found.values())


def in_folder(folder: str) -> list[str]:
    """The files in and below a folder whose names say that they are images, but hidden ones, in natural order."""
    suffixes = {*Image.registered_extensions(), *OTHER_SUFFIXES}
    files = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if not name.startswith(".")]
    return sorted((file for file in files if os.path.splitext(file)[1].lower() in suffixes), key=natural_order)


def natural_order(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """A sort key by which 2.png comes before 10.png."""
    parts = re.split(r"([0-9]+)", name)
    return [(i % 2 == 1, int(part) if i % 2 else 0, "" if i % 2 else part) for i, part in enumerate(parts)], name


def read_digit(file: str | os.PathLike[str]) -> np.ndarray:
    """(28, 28) uint8, 0 background to 255 ink, as in MNIST's files.

    Raises:
        Unreadable: It is no image, one that is refused, blank, or has several digits.
    """
    pages = read_pages(file)
    for page in pages[:-1]:
        with suppress(Blank):
            return normalised(page)
    return normalised(pages[-1])


def read_pages(file: str | os.PathLike[str]) -> list[Image.Image]:
    """The image, upright and in grey levels, of about REDUCED_TO pixels at most.

    One with transparent parts twice: as seen on white and, for strokes that are white themselves, on black.

    Raises:
        Unreadable: It cannot be read, or not within the bounds above.
    """
    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("a folder without images" if stat.S_ISDIR(status.st_mode) else "not a regular file")
        if status.st_size > MAX_BYTES:
            raise Unreadable(f"{status.st_size:,} bytes; allowed: at most {MAX_BYTES:,}")
        with open(file, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here, and of metadata, which are not used
            with Image.open(stream, formats=_formats(stream)) as image:
                check_size(*image.size)
                if image.format == "TIFF" and image.info.get("compression") not in TIFF_CODECS:
                    raise Unreadable(f"TIFF compressed by {image.info.get('compression')}; save it as PNG")
                return _grey(image)
    except Unreadable:
        raise
    except Image.UnidentifiedImageError:
        raise Unreadable(f"not an image; allowed: {READ}; save others as PNG or JPEG") from None
    except Image.DecompressionBombError:  # from a size of 2.8 times our own bound
        raise Unreadable(f"more than {MAX_PIXELS:,} pixels") from None
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever a decoder makes of malformed bytes
        raise Unreadable(f"malformed image: {type(error).__name__}: {error}") from None


def _formats(stream: BinaryIO) -> tuple[str, ...]:
    """The formats that a file may be read as. HEIC needs a package of its own, imported where there is one."""
    start = stream.read(12)
    stream.seek(0)
    if start[4:8] != b"ftyp" or start[8:] not in HEIC:
        return FORMATS
    try:
        import pillow_heif  # an extra
    except ImportError:
        raise Unreadable("HEIC, which needs pillow-heif: pip install pillow-heif, or save it as JPEG") from None
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def check_size(width: int, height: int) -> None:
    """Refuses sizes that would take too much memory, or cannot show a digit."""
    if width * height > MAX_PIXELS:
        raise Unreadable(f"{width:,} x {height:,} pixels; allowed: at most {MAX_PIXELS:,}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Unreadable(f"{width:,} x {height:,} pixels; allowed: sides of at most {MAX_ASPECT} to 1")


def _grey(image: Image.Image) -> list[Image.Image]:
    image.draft("L", (image.width // _factor(image), image.height // _factor(image)))  # JPEG: that size or a bit above
    image.load()
    if image.mode == "F":
        raise Unreadable("floating-point pixels; allowed: integers")
    if image.mode.startswith("I;16") and image.mode != "I;16":  # of the other byte order
        image = image.convert("I")
    factor = _factor(image)
    size = (-(-image.width // factor), -(-image.height // factor))
    transparent = image.has_transparency_data and image.mode[0] != "I"
    pages = [Image.new("L", size) for _ in range(2 if transparent else 1)]
    brightest = int(image.getextrema()[1]) if image.mode[0] == "I" else 255  # type: ignore[arg-type]
    for top in range(0, image.height, BAND * factor):  # in bands, as a conversion of the whole would double the memory
        band = image.crop((0, top, image.width, min(top + BAND * factor, image.height)))
        for page, part in zip(pages, _parts(band, factor, transparent, brightest), strict=True):
            page.paste(part, (0, top // factor))
    for page in pages:
        page.info = image.info
        with suppress(Exception):  # malformed metadata: as it lies
            ImageOps.exif_transpose(page, in_place=True)
    return pages


def _factor(image: Image.Image) -> int:
    return math.ceil(math.sqrt(image.width * image.height / REDUCED_TO))


def _parts(band: Image.Image, factor: int, transparent: bool, brightest: int) -> list[Image.Image]:
    """A band of an image in grey levels, reduced: one for each page."""
    if transparent:
        drawing = band.convert("RGBA").reduce(factor)
        sheets = [Image.new("RGBA", drawing.size, colour) for colour in ("white", "black")]
        return [Image.alpha_composite(sheet, drawing).convert("L") for sheet in sheets]
    if band.mode[0] == "I":  # 16 bits, of which a scanner may fill fewer
        return [Image.fromarray((np.asarray(band) // (brightest // 256 + 1)).astype(np.uint8)).reduce(factor)]
    return [band.convert("RGB" if band.mode in ("P", "CMYK") else "L").reduce(factor).convert("L")]
