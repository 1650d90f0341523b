"""Standard output and standard error whose readers may leave: `fit | head -1` is fitted to its end."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Lasting(io.FileIO):
    """A descriptor that takes what it is written; from the first fault on, what is written is lost."""

    fault: OSError | None = None

    def write(self, data) -> int:  # type: ignore[no-untyped-def, override]
        if self.fault is None:
            try:
                return super().write(data)
            except OSError as error:
                self.fault = error
        return len(data)


@contextmanager
def lasting_output() -> Iterator[Callable[[], OSError | None]]:
    """Keeps faults of both streams out of the block, and gives a function that tells standard output's, if any.

    A stream that somebody has put another in the place of is left alone. What cannot be encoded is escaped, and each
    line is out when it is written, so that both streams' lines stay in order.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file that is opened would be taken for it
            os.open(os.devnull, os.O_WRONLY if descriptor == 0 else os.O_RDONLY)
    before, raw = (sys.stdout, sys.stderr), _Lasting(1, "w", closefd=False)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(raw, before[0])
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Lasting(2, "w", closefd=False), before[1])

    def fault() -> OSError | None:
        sys.stdout.flush()
        return raw.fault

    try:
        yield fault
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _text(raw: _Lasting, like: Any) -> io.TextIOWrapper:
    encoding = getattr(like, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=True)
