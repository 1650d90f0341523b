"""Where a fit may write: into a folder of its own, under a `save_dir` that its user agreed to."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from jsonargparse._util import import_object
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lecun_repro.errors import BadArgument
from lecun_repro.files import sweep

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


LOGGER = "trainer.logger.init_args"
LOGS = "lightning_logs"

# Loggers whose folder is `<save_dir>/<name>/version_N`.
FolderLogger = TensorBoardLogger | CSVLogger


def save_dir(logger: Any) -> str:
    """What the folders of a configured logger's rows lie in."""
    names = isinstance(logger, dict) and issubclass(import_object(logger["class_path"]), FolderLogger)
    return logger["init_args"]["save_dir"] if names else LOGS


@contextmanager
def claimed(*loggers: FolderLogger) -> Iterator[None]:
    """Makes a run's folders, and keeps every other fit out of them while the block runs and this process lives.

    The lock is one on the folder itself, so that nothing is left behind. Where the file system has no locks, the
    folder is used without.

    Args:
        loggers: Each names a folder. If it leaves the version open, the next free one is taken, which of two fits that
            start together only one gets; loggers of the same name then share it.

    Raises:
        UserError: A logger's names lead out of its save_dir, another fit is writing there, or it cannot be made.
    """
    versions: dict[str, int | str] = {}  # by the folder above them
    taken: set[Path] = set()
    with ExitStack() as locks:
        for logger in loggers:
            if logger._version is None:
                logger._version = versions.get(logger.root_dir)
            path = _make(logger)
            versions.setdefault(logger.root_dir, logger.version)
            if path not in taken:
                taken.add(path)
                try:
                    locks.callback(release, lock(path))
                except BlockingIOError:
                    what = f"{path}, where another fit is writing"
                    raise BadArgument(f"{LOGGER}.version", what, "a folder of its own") from None
                sweep(path)
        yield


def _make(logger: FolderLogger) -> Path:
    chosen, before = logger._version is not None, None
    while True:
        path, root = Path(logger.log_dir), Path(os.path.expanduser(os.path.expandvars(logger.save_dir)))
        if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):
            allowed = f"names of folders below save_dir, which is {root}"
            raise BadArgument(LOGGER, f"{path}, by name and version", allowed)
        try:
            path.mkdir(parents=True, exist_ok=chosen)
            return path
        except FileExistsError:
            if chosen or path == before or not path.is_dir():  # a link to nowhere, say
                raise BadArgument(LOGGER, f"{path}, which is no folder", "a folder, or a name that is free") from None
            logger._version, before = None, path  # taken a moment ago: the next one
        except OSError as error:
            raise BadArgument(LOGGER, f"{path}: {error.strerror}", "names of a folder that can be made") from None


def lock(path: Path) -> int | None:
    """The folder, opened and locked until it is closed; None where there are no such locks.

    Raises:
        BlockingIOError: Another process has locked it.
        FileNotFoundError: There is no such folder.
    """
    if fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def release(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def alone(folder: Path, pause: float, check: Callable[[], Any] = lambda: None) -> Iterator[None]:
    """Keeps the other threads and processes that ask for it out of a folder while the block runs.

    While another one has it, it is asked for again after `pause` seconds. What `check` raises ends the waiting.
    """
    while True:
        check()
        try:
            descriptor = lock(folder)
            break
        except BlockingIOError:
            time.sleep(pause)
    try:
        yield
    finally:
        release(descriptor)


def in_use(path: Path) -> bool:
    """Whether another process is writing into a run's folder."""
    try:
        release(lock(path))
    except BlockingIOError:
        return True
    except OSError:  # not there, or not to be read, which the fit itself will tell
        pass
    return False
