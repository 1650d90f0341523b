"""Where a fit may write: into a folder of its own, under a `save_dir` that its user agreed to."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from lecun_repro.strict import fault

LOGGER = "trainer.logger.init_args"


# ---------------------------------------------------------------------------------------------------------------------
# Which folders


def check_paths(config: dict[str, Any], args: Sequence[str]) -> None:
    """Refuses what a configuration file lets the trainer and its parts write outside of the working directory.

    Whoever wants that says so on the command line.

    Args:
        config: The resolved configuration.
        args: The command line.

    Raises:
        UserError: a path that leads out and is not part of the command line.
    """
    given = [arg for arg in args if not arg.lstrip().startswith("{")]
    written = [*_strings(config["trainer"], "trainer"), *_strings(config.get("output"), "output")]
    for key, value in written:
        if leads_out(value) and not any(value in arg for arg in given):
            allowed = "a path inside the working directory; any other on the command line alone, as"
            raise fault(key, value, f"{allowed} --{key} {value}")


def leads_out(path: str) -> bool:
    """Whether a path ends outside of the working directory; symbolic links are their owner's affair."""
    expanded = os.path.expanduser(os.path.expandvars(path))
    if "://" in expanded:
        return True
    inside = os.path.normpath(expanded).split(os.sep)[0] != os.pardir
    return not inside or (os.path.isabs(expanded) and not Path(expanded).is_relative_to(Path.cwd()))


def _strings(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text in a tree, with its key; the names of classes aside."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            if name != "class_path":
                yield from _strings(item, f"{key}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, f"{key}[{number}]")


# ---------------------------------------------------------------------------------------------------------------------
# One fit per folder


@contextmanager
def claimed(logger: Logger | None) -> Iterator[None]:
    """Makes a run's folder, and keeps every other fit out of it while the block runs and this process lives.

    The lock is one on the folder itself, so that nothing is left behind. Where the file system has no locks, the
    folder is used without.

    Args:
        logger: Names the folder. If it leaves the version open, the next free one is taken, which of two fits that
            start together only one gets.

    Raises:
        UserError: The logger's names lead out of its save_dir, another fit is writing there, or it cannot be made.
    """
    if not isinstance(logger, TensorBoardLogger | CSVLogger):
        yield
        return
    path = _make(logger)
    try:
        descriptor = lock(path)
    except BlockingIOError:
        raise fault(f"{LOGGER}.version", f"{path}, where another fit is writing", "a folder of its own") from None
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _make(logger: TensorBoardLogger | CSVLogger) -> Path:
    chosen = logger._version is not None
    while True:
        path, root = Path(logger.log_dir), Path(os.path.expanduser(os.path.expandvars(logger.save_dir)))
        if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):
            raise fault(LOGGER, f"{path}, by name and version", f"names of folders below save_dir, which is {root}")
        try:
            path.mkdir(parents=True, exist_ok=chosen)
            return path
        except FileExistsError:
            if chosen:
                raise fault(LOGGER, f"{path}, which is no folder", "a folder, or a name that is free") from None
            logger._version = None  # taken a moment ago: the next one
        except OSError as error:
            raise fault(LOGGER, f"{path}: {error.strerror}", "names of a folder that can be made") from None


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


def in_use(path: Path) -> bool:
    """Whether another process is writing into a run's folder."""
    try:
        descriptor = lock(path)
    except BlockingIOError:
        return True
    except OSError:  # not there, or not to be read, which the fit itself will tell
        return False
    if descriptor is not None:
        os.close(descriptor)
    return False
