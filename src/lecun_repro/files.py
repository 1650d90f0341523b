"""The one way in which this package writes files: there as a whole or not at all, and never in place of a device.

TensorBoard's and Lightning's loggers write their own files, which grow.
"""

import errno
import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any

_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_ITSELF = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)  # Windows has the second alone


def read_json(path: Path) -> Any:
    """What a JSON file holds; None for one that is not there, or is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def write_atomically(path: Path, content: str | bytes | memoryview, permissions: int = 0o666) -> None:
    """Writes a file that is there as a whole or not at all; names of files in a text keep their bytes.

    Not even a loss of power leaves half of it: the contents reach the disk before the name does. Until then they are in
    a file beside it, whose name nobody can foresee. A file that is replaced hands its permissions on; a new one has
    `permissions` within the umask.

    Raises:
        OSError: naming `path`; also where it is there and no regular file, which is left as it is: a link, a device.
    """
    if isinstance(content, str):
        content = content.encode(errors="surrogateescape")
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        mode = _mode(path)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _ITSELF, permissions)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                if mode not in (None, stat.S_IMODE(os.fstat(file.fileno()).st_mode)):
                    os.chmod(part, mode)  # type: ignore[arg-type]
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _mode(path: Path) -> int | None:
    """The permissions of the file that is to be replaced; None where there is none."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise OSError(errno.EPERM, "not a regular file", str(path))
    return mode & 0o777


def may_be_written(path: Path) -> bool:
    """Whether `path` is a regular file, or a free name, in a folder that is there."""
    return path.parent.is_dir() and not path.is_symlink() and (path.is_file() or not path.exists())


def sweep(folder: Path) -> None:
    """Removes what writers that were killed have left under a folder in which nobody else writes now."""
    for part in folder.rglob(".*.part"):
        if _PART.fullmatch(part.name):
            part.unlink(missing_ok=True)
