"""Every YAML of a claim, of the later ones too: starts from the row it is about, and says only what differs."""

import json
import pkgutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecun_repro.__main__ import quiet
from lecun_repro.cli.build import resolve
from lecun_repro.cli.config_files import load_config
from lecun_repro.cli.overlays import configuration
from lecun_repro.report.comparisons import KINDS
from lecun_repro.runs.identity import config_hash

ROOT = Path(__file__).parents[2]
OF_FILES = {  # the rows of each file of claims
    name: {path.stem: path for path in sorted((ROOT / "configs" / name).glob("*.yaml"))}
    for name in ("claims", "claims_later")
}
CLAIMS = OF_FILES["claims"] | OF_FILES["claims_later"]
FILES = {path.stem: path for path in (ROOT / "configs/article").glob("*.yaml")} | CLAIMS
SEARCH = json.loads((ROOT / "results/claims_search.json").read_text())

every_claim = pytest.mark.parametrize("stem", CLAIMS)


def in_full(stem: str) -> dict[str, Any]:
    return configuration(str(FILES[stem]))[0]


@every_claim
def test_starts_from_the_row_that_its_title_tells(stem: str) -> None:
    bases = [Path(base) for base in configuration(str(CLAIMS[stem]))[1]]
    title = CLAIMS[stem].read_text().splitlines()[0]
    assert title.startswith(f"# Row {stem[0]} ")
    assert {base.stem[0] for base in bases} == {stem[0]}
    assert bases[-1].parent.name == "article"
    told = title.rpartition(" differs from ")[2].rstrip(".")
    if told in CLAIMS:
        assert bases[0].stem == told
    else:
        assert "nothing else differs" in title or "over which the rate falls" in title


def repeated(change: dict[str, Any], base: dict[str, Any], key: str = "") -> Iterator[str]:
    """The keys of a change whose values are the base's; a class that takes another's place says all of its own."""
    for name, value in change.items():
        if not isinstance(value, dict) or not isinstance(base.get(name), dict):
            if name in base and base[name] == value:
                yield f"{key}.{name}"
        elif value.get("class_path") in (None, base[name].get("class_path")):
            yield from repeated(value, base[name], f"{key}.{name}")


@every_claim
def test_says_only_what_differs(stem: str) -> None:
    change = load_config(str(CLAIMS[stem]))
    base = CLAIMS[stem].parent / change.pop("base")
    assert change
    assert not list(repeated(change, configuration(str(base))[0]))


@pytest.mark.parametrize("name", OF_FILES)
def test_every_row_that_a_claim_compares_has_a_file(name: str) -> None:
    text = (ROOT / "results" / f"{name}.toml").read_text()
    compared = set()

    def collect(value: Any, key: str = "") -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                collect(item, "row" if key == "rows" else name)
        elif isinstance(value, list):
            for item in value:
                collect(item, "row" if key in ("rows", "beside", "more", "less") else key)
        elif key in ("row", "base", "first", "last", "added", "taken", "neither", "one", "other", "both"):
            compared.add(value)

    collect(tomllib.loads(text)["claim"])
    assert compared <= FILES.keys()
    assert OF_FILES[name].keys() <= compared


def test_every_kind_of_claim_has_its_rule_in_words_and_every_family_its_rows() -> None:
    claims = tomllib.loads((ROOT / "results" / "claims.toml").read_text())
    assert {claim["kind"] for claim in claims["claim"]} == claims["rules"].keys() <= KINDS.keys()
    rules = tomllib.loads((ROOT / "results" / "rules.toml").read_text())
    rows = {path.stem for folder in ("article", "1989") for path in (ROOT / "configs" / folder).glob("*.yaml")}
    for family in ("steps", "1989"):
        assert {row for pair in rules["families"][family] for row in pair} <= rows


SEARCHED_AGAIN = ("5_batch_64", "5_without_adamw")  # whose setting that was chosen by hand was then told from the best


def first_of_each(tried: list[dict[str, Any]]) -> Iterator[Any]:
    """All settings tried, those after the first of a file as slow."""
    seen: set[str] = set()
    for setting in tried:
        marks = pytest.mark.slow if setting["config"] in seen else ()
        seen.add(setting["config"])
        yield pytest.param(setting, marks=marks, id=f"{setting['config']} {setting['flags']}")


@pytest.mark.parametrize("tried", list(first_of_each(SEARCH)))
def test_the_search_is_of_these_files(tried: dict[str, Any]) -> None:
    """The flags in its record, with the file as it is now, are the configuration that was run."""
    quiet()
    flags = [*tried["flags"].split(), "--data.holdout", "1000", "--seed_everything", str(tried["seeds"][0])]
    assert [config_hash(resolve(str(FILES[tried["config"]]), flags))] == tried["config_hash"]


@pytest.mark.parametrize("stem", SEARCHED_AGAIN)
def test_a_file_that_was_searched_again_has_the_best_setting(stem: str) -> None:
    trials = json.loads((ROOT / "results" / "search" / f"{stem}.json").read_text())["trials"]
    best = min((trial for trial in trials if trial["state"] == "complete"), key=lambda trial: trial["error"])
    rate = resolve(str(FILES[stem]), [])["optimizer"]["init_args"]["lr"]
    assert rate == pytest.approx(best["settings"]["optimizer.init_args.lr"], rel=1e-3)


@pytest.mark.parametrize("stem", sorted({tried["config"] for tried in SEARCH} - set(SEARCHED_AGAIN)))
def test_a_searched_file_has_the_setting_with_the_fewest_held_out_misses(stem: str) -> None:
    auto = "--model.compile auto"  # the search's own time did not matter
    misses = {
        tried["flags"].replace(auto, "").strip(): tried["holdout_misses"] for tried in SEARCH if tried["config"] == stem
    }
    # Chosen, as flags on the file: nothing, but for the search that 5_searched came of.
    chosen = "--model.network.dropout 0.1 --optimizer.lr 0.0005" if stem == "5_dropout_relu" else ""
    assert misses[chosen] == min(misses.values())
    if stem == "5_dropout_relu":
        quiet()
        by_flags, by_file = resolve(str(FILES[stem]), chosen.split()), resolve(str(FILES["5_searched"]), [])
        assert config_hash(by_flags) == config_hash(by_file)


def test_the_micro_vit_has_the_size_that_its_file_tells() -> None:
    told = {}
    for stem in ("5_micro_vit", "5_dropout_relu"):
        network = in_full(stem)["model"]["network"]
        layers = pkgutil.resolve_name(network["class_path"])(**network["init_args"]).sizes()
        told[stem] = sum(layer.parameters for layer in layers), sum(layer.macs for layer in layers)
    (vit, vit_macs), (net, net_macs) = told["5_micro_vit"], told["5_dropout_relu"]
    text = " ".join(FILES["5_micro_vit"].read_text().replace("#", "").split())
    assert f"{vit:,} parameters and {vit_macs:,} multiply-accumulates" in text
    assert f"the convolutional network has {net:,} and {net_macs:,}." in text


@pytest.mark.parametrize("stem", [stem for stem in CLAIMS if stem.endswith("same_updates")])
def test_as_many_updates_are_the_base_row_s(stem: str) -> None:
    config, (base,) = configuration(str(CLAIMS[stem]))
    updates, size = config["trainer"]["max_steps"], config["data"]["train_size"]
    assert updates == load_config(base)["trainer"]["max_epochs"] * 7291
    assert config["trainer"]["max_epochs"] == -(-updates // size)
