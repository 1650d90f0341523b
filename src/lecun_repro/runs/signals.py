"""Ctrl-C and SIGTERM: a fit ends after the running block of updates, and says how to go on; a second, at once.

Nothing is saved on the way out. `last.ckpt` is always that of the last whole pass; the pass that was cut is repeated.
"""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A command that a signal has ended; the message says what was kept, and how to go on.

    Its exit code is 130 for Ctrl-C and 143 for SIGTERM, as a shell reports them.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StopSignals:
    """Takes SIGINT and SIGTERM while a `with` block runs in the main thread; they may be nested.

    Args:
        first: What the first signal does. A second one, and the first where this is None, raises KeyboardInterrupt.

    Attributes:
        received: The first signal, or None.
    """

    def __init__(self, first: Callable[[], object] | None = None) -> None:
        self.first = first
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            # What a shell has switched off, for a command in the background, stays off.
            wanted = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._receive) for number in wanted}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = self.received or signal.Signals(number)
        if again or self.first is None:
            raise KeyboardInterrupt
        self.first()

    @property
    def exit_code(self) -> int:
        """As a shell reports a command that a signal has ended."""
        return 128 + (self.received or signal.SIGINT)


def say(line: str) -> None:
    """A line on standard error from within a signal handler, which may have interrupted a print."""
    with suppress(OSError):  # where nobody reads it
        os.write(2, f"{line}\n".encode())


class StopAfterBlock(Callback):
    """Ends a fit between two blocks of updates once a signal has been received."""

    def __init__(self, signals: StopSignals) -> None:
        self.signals = signals

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if self.signals.received is not None:
            raise KeyboardInterrupt  # Lightning's way out

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.on_train_batch_start(trainer, pl_module)
