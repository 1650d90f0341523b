"""Runs forked from one process: each is as a process started by itself, and takes no other with it."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from lecun_repro.runs import fits, forks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")

# A server whose runs do what they are told in Python, so that nothing large is imported.
SMALL = """
import os, sys
from lecun_repro.runs.forks import serve
serve(int(sys.argv[2]))
exec(sys.argv[1])
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[forks.ForkServer]:
    monkeypatch.setattr(forks, "CHILD", [sys.executable, "-c", SMALL])
    with forks.ForkServer(ENVIRONMENT) as server:
        yield server


def said(run: forks.Fork) -> tuple[str, int]:
    with run:
        return run.stdout.read(), run.wait()


@pytest.mark.parametrize(
    "code, output, ends",
    [
        ("print(*sys.argv, flush=True); print('and', file=sys.stderr)", "-c {code}\nand\n", 0),
        ("sys.exit(3)", "", 3),
        ("os._exit(4)", "", 4),
        ("os.abort()", "", -signal.SIGABRT),
    ],
)
def test_what_it_prints_and_how_it_ends(server: forks.ForkServer, code: str, output: str, ends: int) -> None:
    assert said(server.fork([code], {}, {})) == (output.format(code=code), ends)


def test_one_that_has_ended_before_it_is_heard_of(server: forks.ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    send = socket.send_fds
    monkeypatch.setattr(socket, "send_fds", lambda *message: (send(*message), time.sleep(0.5)))
    assert said(server.fork(["os._exit(4)"], {}, {})) == ("", 4)


def test_one_that_is_killed_takes_no_other_with_it(server: forks.ForkServer) -> None:
    waits = "print('here', flush=True); sys.stdin.read()"
    with server.fork([waits], {}, {}) as first, server.fork([waits], {}, {}) as second:
        assert first.stdout.readline() == second.stdout.readline() == "here\n"
        first.kill()
        assert first.wait() == -signal.SIGKILL
        second.terminate()
        assert second.wait() == -signal.SIGTERM
    assert said(server.fork(["print('later')"], {}, {})) == ("later\n", 0)


def test_is_handed_an_open_pipe_and_its_input_ends_with_who_asked(server: forks.ForkServer) -> None:
    reads, writes = os.pipe()
    code = "os.write(int(os.environ['THERE']), os.environ['SAID'].encode()); sys.stdin.read()"
    run = server.fork([code], {"SAID": "through it"}, {"THERE": str(writes)})
    os.close(writes)
    with run, open(reads, "rb") as pipe:
        assert pipe.read(10) == b"through it"
        run.stdin.close()
        assert run.wait() == 0
        assert pipe.read() == b""  # nobody else holds it open


def test_without_a_server_a_run_starts_by_itself(server: forks.ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server._process.kill()
    server._process.wait()
    with pytest.raises(forks.ServerGone):
        server.fork(["pass"], {}, {})
    monkeypatch.setattr(fits, "CHILD", [sys.executable, "-c", "print('by itself')"])
    started = fits.Fits()
    started.server = server
    with started.start([], {}, {}) as process:
        assert process.stdout is not None and process.stdout.read() == "by itself\n"


@pytest.mark.slow
def test_the_real_one_runs_commands_that_end_with_who_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = Path(__file__).parents[2] / "configs/quickstart.yaml"
    with forks.ForkServer(ENVIRONMENT) as server:
        assert said(server.fork(["--version"], {}, {})) == (f"lecun-repro {version('lecun-repro')}\n", 0)
        with server.fork(["fit", "--config", str(config), "--trainer.max_epochs", "2000"], {}, {}) as run:
            assert "parameters" in run.stdout.readline() + run.stdout.readline()  # the fit has begun
            run.stdin.close()
            assert run.wait() == -signal.SIGKILL
