"""Every space in configs/search/ is one, and every end of it is taken by the file that its command names."""

import re
from pathlib import Path

import pytest

from lecun_repro.__main__ import quiet
from lecun_repro.cli.build import resolve
from lecun_repro.cli.overlays import as_yaml, configuration, merged
from lecun_repro.cli.search_space import load_space, probes

ROOT = Path(__file__).parents[2]
SPACES = sorted((ROOT / "configs/search").glob("*.yaml"))
COMMAND = re.compile(r"#   python cli\.py search --config (\S+) --space configs/search/(\S+) --trials \d+")


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_opens_with_its_command(path: Path) -> None:
    assert load_space(str(path))
    (command,) = COMMAND.finditer(path.read_text())
    assert (ROOT / command[1]).is_file() and command[2] == path.name


@pytest.mark.slow
@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_end_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet()
    monkeypatch.syspath_prepend(str(ROOT))
    config = COMMAND.search(path.read_text())[1]
    for change in probes(load_space(str(path))):
        resolve(as_yaml(merged(configuration(str(ROOT / config))[0], change)), [])
