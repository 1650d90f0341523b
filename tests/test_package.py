"""The package itself: its public names, its version, its types."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import lecun_repro


def test_every_public_name_is_there() -> None:
    for name in lecun_repro.__all__:
        assert getattr(lecun_repro, name).__name__ == name


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = lecun_repro.Nothing


def test_it_says_its_version_and_that_it_has_types() -> None:
    assert lecun_repro.__version__ == version("lecun-repro")
    assert Path(lecun_repro.__file__).with_name("py.typed").is_file()


def printed(code: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_importing_it_does_nothing() -> None:
    code = "import gc, sys, lecun_repro; print('torch' in sys.modules, gc.isenabled(), gc.get_freeze_count())"
    assert printed(code) == ["False", "True", "0"]


@pytest.mark.slow
def test_a_command_imports_no_scipy_and_leaves_it_to_be_imported() -> None:
    code = "import sys, lecun_repro.__main__; print('scipy' in sys.modules); from scipy.signal import hilbert, windows"
    assert printed(code) == ["False"]
