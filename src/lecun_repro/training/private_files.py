"""Files that nobody but the user may write, read only when whole; and temporary folders that a kill leaves no trace of.

For what is run as it is read: native code. Who may write the folders above is not looked at: whoever replaces the
folder by another's is refused, as that is another user's.
"""

import hashlib
import os
import platform
import shutil
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

from lecun_repro.files import write_atomically

DIGEST_BYTES = hashlib.sha256().digest_size
DAY = 86_400  # seconds


class NotPrivate(Exception):
    """A file or folder that another user may have written; the message names it in one line."""


def check_private(path: Path) -> None:
    """Refuses a folder or file that another user owns or may write, as what lies there runs as this user.

    A link counts as what it leads to, and is itself the user's own. Where the system has no such owners (Windows), the
    user's folders are closed to others by their place, and nothing is checked.

    Raises:
        NotPrivate: it is another user's, or others may write it.
    """
    if not hasattr(os, "geteuid"):
        return
    for each in (path, path.resolve()):
        status = each.lstat()
        if status.st_uid != os.geteuid():
            raise NotPrivate(f"{each} belongs to another user, whose code would run as this one")
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise NotPrivate(f"{each} may be written by others, whose code would run as this user; chmod go-w mends it")


def read(path: Path) -> bytes | None:
    """The package at `path`; None if there is none, or, after a line on standard error, if it is not whole.

    Raises:
        NotPrivate: a file that is not the user's own.
    """
    if not os.path.lexists(path):
        return None
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NotPrivate(f"{path} is no regular file")
    check_private(path)
    content = path.read_bytes()
    package, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if _digest(path, package) == digest:
        return package
    with suppress(OSError, ValueError):  # standard error may be closed
        print(f"{path} is damaged, or of another format: built again", file=sys.stderr)
    return None


def write(path: Path, package: bytes) -> None:
    """The package and, behind it, its digest, as a file that is there whole or not at all."""
    write_atomically(path, package + _digest(path, package), permissions=0o600)


def _digest(path: Path, package: bytes) -> bytes:
    """Of the name as well: a package under another's name is as wrong as a damaged one."""
    return hashlib.sha256(path.name.encode() + b"\n" + package).digest()


def temporary_prefix() -> str:
    """Of the names of temporary folders: the machine, as several may share a disk, and the process."""
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    return f".building-{machine}-{os.getpid()}-"


def sweep(beside: Path) -> None:
    """Removes temporary folders whose process is dead, or that are older than a day."""
    machine = temporary_prefix().split("-")[1]
    for left in beside.glob(".building-*"):
        with suppress(OSError):
            _, *owner, _ = left.name.split("-")
            dead = len(owner) == 2 and owner[0] == machine and not _alive(owner[1])
            if dead or time.time() - left.lstat().st_mtime > DAY:
                shutil.rmtree(left, ignore_errors=True)


def _alive(pid: str) -> bool:
    """Whether there is such a process; where that cannot be asked without ending it (Windows), there may be."""
    if os.name != "posix" or not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
