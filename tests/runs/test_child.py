"""A run that ends with the process that started it, also where there are no process groups."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

# As on Windows.
WITHOUT_GROUPS = """
import os, runpy, signal, sys
del os.setpgrp, os.killpg, signal.SIGKILL
sys.argv = ["lecun-repro", "--version"]
runpy.run_module("lecun_repro.child", run_name="__main__", alter_sys=True)
"""


def start(*command: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *command], env=environment, text=True, **pipes)


@pytest.mark.slow
def test_it_runs_without_process_groups() -> None:
    with start("-c", WITHOUT_GROUPS) as process:
        assert process.stdout.read() == f"lecun-repro {version('lecun-repro')}\n"
        assert process.wait() == 0


@pytest.mark.parametrize("command", [("-m", "lecun_repro.child", "--version"), ("-c", WITHOUT_GROUPS)])
def test_it_ends_with_its_parent(command: tuple[str, ...]) -> None:
    with start(*command) as process:
        process.stdin.close()  # as the parent's death would
        assert process.wait(20) != 0
        assert process.stdout.read() == ""
