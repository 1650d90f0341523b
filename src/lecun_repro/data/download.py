"""Data files: found under the data root or downloaded into it, and never believed unread.

A file counts as its *content*, the decompressed bytes: a recompressed gzip file is as good as the original.
Each source hands over a `read` function, which parses the content and checks its digest; only what passes is
used, and only what passes is ever written to disk.
"""

import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from lecun_repro.errors import BadArgument, DataError, one_line
from lecun_repro.files import write_atomically

ROOT_VARIABLE = "LECUN_REPRO_DATA"
MAX_CONTENT = 256 * 2**20  # bytes of a decompressed file; MNIST's training images have 47 million, EMNIST's 188
MAX_BODY = 16 * 2**20  # bytes of a download; the largest has 9.9 million
TIMEOUT = 20.0  # seconds without an answer, or without a further byte
T = TypeVar("T")


_closed: ContextVar[bool] = ContextVar("closed", default=False)


@contextmanager
def closed_to_downloads(closed: bool) -> Iterator[None]:
    """Within the block, data that are missing are refused instead of downloaded, if `closed`."""
    token = _closed.set(closed)
    try:
        yield
    finally:
        _closed.reset(token)


def data_root(root: str | os.PathLike[str] | None) -> Path:
    """The folder the data files lie under: `root`, else the environment variable's, else `data/`."""
    return Path(root or os.environ.get(ROOT_VARIABLE) or "data").expanduser()


def obtain(name: str, root: Path, layouts: Sequence[str], mirrors: Sequence[str], read: Callable[[bytes], T]) -> T:
    """What `read` makes of a file's content, downloading the file (gzip) if it is nowhere under the root.

    Args:
        name: The file's name without `.gz`; the file may be there as gzip or unpacked.
        root: The data root.
        layouts: Folders under the root to look in, in this order; a download goes to the first.
        mirrors: Addresses of folders that hold `<name>.gz`, each ending in a slash, in the order of trying.
        read: Parses and checks the content; raises DataError with the fault alone.

    Raises:
        DataError: naming the file and the fault, or every mirror with its failure.
        BadArgument: it is missing, and downloads are closed.
    """
    path = find_file(name, [root / layout for layout in layouts])
    if path is None:
        return _download(name, root, layouts, mirrors, read)
    try:
        return read(_content(path))
    except DataError as fault:
        way_out = "; move it away to have it downloaded" if mirrors else ""
        raise DataError(f"{path}: {fault} (left as it is{way_out})") from None


def find_file(name: str, folders: Sequence[Path]) -> Path | None:
    """The first of `<folder>/<name>.gz` and `<folder>/<name>` that exists."""
    for path in (folder / candidate for folder in folders for candidate in (f"{name}.gz", name)):
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # not allowed to look: it may well be there, so do not download a second one
            raise DataError(f"{path}: {error.strerror}") from None
        return path
    return None


def check_digest(digest: str, expected: str) -> None:
    """Refuses content whose sha256 is not the expected one."""
    if digest != expected:
        raise DataError(f"sha256 of the content is {digest}, expected {expected}")


def gunzip(body: bytes) -> bytes:
    """The decompressed bytes, at most MAX_CONTENT of them."""
    try:
        with gzip.open(io.BytesIO(body)) as file:
            content = file.read(MAX_CONTENT + 1)
    except (EOFError, OSError, zlib.error) as error:
        if not body:
            raise DataError("the file is empty") from None
        if not body.startswith(b"\x1f\x8b"):
            raise DataError(f"not a gzip file: it begins with {body[:16]!r}") from None
        raise DataError(f"truncated or corrupt gzip file: {error}") from None
    if len(content) > MAX_CONTENT:
        raise DataError(f"more than {MAX_CONTENT:,} bytes when decompressed")
    return content


def _content(path: Path) -> bytes:
    """The content of a file on disk."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError("not a regular file")
        with path.open("rb") as file:
            body = file.read(MAX_CONTENT + 1)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from None
    if len(body) > MAX_CONTENT:
        raise DataError(f"more than {MAX_CONTENT:,} bytes")
    return gunzip(body) if path.suffix == ".gz" else body


def _download(name: str, root: Path, layouts: Sequence[str], mirrors: Sequence[str], read: Callable[[bytes], T]) -> T:
    """Tries the mirrors in turn; keeps the first body whose content `read` accepts; returns the result."""
    if _closed.get():
        allowed = f"a folder that has it; to download into it, on the command line alone, as --data.root {root}"
        raise BadArgument("data.root", f"{root}, where {name}.gz is missing", allowed)
    failures = []
    for mirror in mirrors:
        url = f"{mirror}{name}.gz"
        try:
            body = fetch(url)
            result = read(gunzip(body))
        except (ValueError, OSError, HTTPException) as error:  # ValueError: also an absurd redirect
            failures.append(f"  {url}: {_reason(error)}")
            continue
        _store(body, root / layouts[0] / f"{name}.gz")
        return result
    folders = ", ".join(str(root / layout) for layout in layouts)
    tried = "\n".join([", and no mirror gave it:", *failures]) if mirrors else "."
    raise DataError(
        f"{name}.gz is missing: it is not in {folders} (nor unpacked there){tried}"
        f"\nPut it into one of these folders, or name another one by {ROOT_VARIABLE} or --data.root; "
        "configs/quickstart.yaml needs neither files nor network."
    )


def fetch(url: str) -> bytes:
    """The body at `url`, with a progress bar on standard error.

    The body stays in memory until it has been checked, so that a broken download leaves nothing behind.

    Raises:
        DataError: The body is larger than MAX_BODY, or cut short.
        OSError, HTTPException: No connection, a time-out, an HTTP error.
    """
    with urlopen(Request(url, headers={"User-Agent": "lecun-repro"}), timeout=TIMEOUT) as response:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        body = bytearray()
        with tqdm(total=total, desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True, leave=False) as bar:
            while chunk := response.read1(2**16):
                body += chunk
                bar.update(len(chunk))
                if len(body) > MAX_BODY:
                    raise DataError(f"more than {MAX_BODY:,} bytes")
    if total is not None and len(body) < total:
        raise DataError(f"cut short after {len(body):,} of {total:,} bytes")
    return bytes(body)


def _store(body: bytes, path: Path) -> None:
    """Writes a checked body, complete or not at all, also where another process does the same."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, body)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def _reason(error: Exception) -> str:
    """A mirror's failure on one line."""
    if isinstance(error, HTTPError):
        error.close()
        text = f"HTTP {error.code} {error.reason}"
    elif isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        text = f"no answer within {TIMEOUT:g} s"
    elif isinstance(error, DataError):
        text = str(error)
    else:
        reason = error.reason if isinstance(error, URLError) else error
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return one_line(text)
