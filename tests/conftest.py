"""What all tests share: hypothesis without its files, and the real data where they are."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "lecun-repro-hypothesis")
settings.register_profile("repository", database=None, deadline=None, derandomize=True)
settings.load_profile("repository")

REAL_DATA = os.environ.get("LECUN_REPRO_DATA")  # read before any test changes the environment


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data files; skips the test where LECUN_REPRO_DATA does not name it."""
    if not REAL_DATA or not (Path(REAL_DATA) / "mnist/train-images-idx3-ubyte.gz").is_file():
        pytest.skip("LECUN_REPRO_DATA does not name a folder with the real data files")
    return Path(REAL_DATA)
