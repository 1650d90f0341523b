"""Files that are there as a whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, part: str = ".part") -> Iterator[BinaryIO]:
    """A file to write into that takes the place of `path` at the end: `path` is there as a whole or not at all.

    Not even a loss of power leaves half of it: the contents reach the disk before the name does. Meanwhile the file is
    called `<path><part>`, which must be another name for each that may write at the same time.
    """
    beside = path.with_name(path.name + part)
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        beside.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file that is there as a whole or not at all; names of files in a text keep their bytes."""
    with replacing(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode(errors="surrogateescape"))
