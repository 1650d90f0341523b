"""What all tests share: hypothesis without its files, a compile cache of their own, and the real data if any."""

import functools
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

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


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is the test's own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes a module of the user's own: its name, by which it can be imported, and its source."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)

    def write(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)

    return write


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that is refused before it prints or writes anything; gives the one line that says why."""

    def run(*args: object) -> str:
        from lecun_repro.__main__ import main

        before = sorted(Path().rglob("*"))
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        (line,) = err.splitlines()
        assert (end.value.code, out) == (2, "")
        assert line.startswith("lecun-repro: error: ") and len(line) < 800
        assert sorted(Path().rglob("*")) == before
        return line.removeprefix("lecun-repro: error: ")

    return run


@pytest.fixture(scope="session")
def own_server(compile_cache: Path) -> Iterator[tuple[Callable, Callable]]:
    """What fits are forked from as a command has it; and one for all tests, started by the first that needs it."""
    from lecun_repro.runs import fits

    own, environment = fits.fork_server, dict(os.environ)
    with ExitStack() as stack:

        @functools.cache
        def first() -> object:
            with mock.patch.dict(os.environ, environment, clear=True), chdir(tempfile.gettempdir()):
                return stack.enter_context(own())

        yield own, lambda: nullcontext(first())


@pytest.fixture
def one_server(own_server: tuple[Callable, Callable], monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares a test that fits in processes the five seconds in which a server of its own would start."""
    for module in ("lecun_repro.runs.fits", "lecun_repro.commands.search_trials"):
        monkeypatch.setattr(f"{module}.fork_server", own_server[1])


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless browser that reaches this machine alone; skips the test where it is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, of the dev extra")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium and chromedriver are not both on the path")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.page_load_strategy = "eager"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "window-size=1600,1060",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
        "host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as started:
        started.set_script_timeout(60)
        yield started


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Has graphs of updates interpreted in the place of being compiled; the list of those that were asked for."""
    import torch

    graphs: list[Any] = []

    def interpret(scan: Any, carry: Any, xs: Any, unless: Any) -> Callable:
        graphs.append(scan)

        def run(carry: list[Any], examples: tuple[Any, ...]):
            losses = []
            for example in zip(*examples, strict=True):
                carry, loss = scan.update(carry, example)
                losses.append(loss)
            return carry, torch.stack(losses)

        return run

    monkeypatch.setattr("lecun_repro.training.updates.load_or_build", interpret)
    return graphs


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn, which would be half of a fit's time and most of a report's."""
    if not request.node.get_closest_marker("drawn"):
        monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_figure", lambda *given: None)
        monkeypatch.setattr("lecun_repro.commands.report.png", lambda *args: b"")


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
