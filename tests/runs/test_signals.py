"""Signals as the process that starts a command has set them."""

import signal
from collections.abc import Iterator

import pytest

from lecun_repro.runs.signals import StopSignals


@pytest.fixture
def sigint_ignored() -> Iterator[None]:
    """As a shell has it for a command in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_ignored_signal_stays_ignored_and_sigterm_stops(sigint_ignored: None) -> None:
    told: list[str] = []
    with StopSignals(lambda: told.append("stopping")) as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.received is None
        assert not told
        signal.raise_signal(signal.SIGTERM)
        assert told == ["stopping"]
        assert signals.exit_code == 143
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
