"""What all tests share: hypothesis without its files, a compile cache of their own, and the real data if any."""

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported. One thread, as in every command: two processes of tests would be in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # as in every command: of Lightning's calls

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


@pytest.fixture(scope="session", autouse=True)
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of compiled updates: shared by all tests, as each takes ten seconds, and never the user's own."""
    of_worker = tmp_path_factory.getbasetemp()
    folder = (of_worker.parent if "PYTEST_XDIST_WORKER" in os.environ else of_worker) / "packages"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECUN_REPRO_CACHE", str(folder))
        yield folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests marked `slow`, `full` or `browser` unless a marker is asked for (`-m slow`)."""
    if not config.option.markexpr:
        left_out = [item for item in items if any(map(item.get_closest_marker, ("slow", "full", "browser")))]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """No garbage is looked for among what the imports made, as in every command, and less often among the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
