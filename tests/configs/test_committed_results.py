"""Every committed result belongs to the YAML that it names: its digest is that of the file as it is now."""

import json
from pathlib import Path

import pytest

from lecun_repro.__main__ import quiet
from lecun_repro.cli.build import resolve
from lecun_repro.commands.reproduce import for_seed
from lecun_repro.report.configurations import Folder, published
from lecun_repro.runs.identity import canonical, config_hash

ROOT = Path(__file__).parents[2]
FILES = {path.stem: path for path in (ROOT / "configs").glob("*/*.yaml") if path.parent.name != "search"}


@pytest.mark.parametrize("folder", ["article", "1989"])
def test_the_report_knows_the_rows_with_published_numbers(folder: Folder) -> None:
    quiet()
    trees = {file.stem: canonical(resolve(str(file), [])) for file in (ROOT / "configs" / folder).glob("*.yaml")}
    for tree in trees.values():
        del tree["seed_everything"]
    assert json.loads(json.dumps(trees)) == published()[folder], (
        "write these to src/lecun_repro/report/configurations.json"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["article", "article_draws", "claims", "claims_later", "1989", "optimizers"])
def test_every_committed_record_is_of_its_file(name: str) -> None:
    quiet()
    records = json.loads((ROOT / "results" / f"{name}.json").read_text())
    resolved = {row: resolve(str(FILES[row]), []) for row in {record["row"] for record in records}}
    for record in records:
        config = for_seed(resolved[record["row"]], record["seed"], name.endswith("_draws"))
        assert config_hash(config) == record["config_hash"], (record["row"], record["seed"])
