"""The file that the results of many runs are collected in: kept from others, looked through, and added to."""

import json
import os
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lecun_repro.errors import BadArgument
from lecun_repro.files import write_atomically
from lecun_repro.report.results import records
from lecun_repro.runs.folders import lock
from lecun_repro.runs.identity import digest

# Of their missed digits and their training no figure is drawn, and they are many.
LEAN = ("claims", "claims_later", "article_draws", "perturbed")
Current = Callable[[str, int], str | None]
"""The hash that records of a row and seed have to have; None for rows that are not asked for."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keeps other processes from a file of results while the block runs and this process lives.

    Where the file system has no locks, the file is used without.

    Raises:
        BadArgument: Another process holds it.
    """
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.lock")
    while True:
        beside.touch()
        try:
            descriptor = lock(beside)
            if descriptor is None or os.path.samestat(os.fstat(descriptor), beside.stat()):
                break
            os.close(descriptor)  # that of a process that has ended since, and taken it away
        except FileNotFoundError:
            continue
        except BlockingIOError:
            what = f"{path}, to which another reproduce is adding its results"
            raise BadArgument("out", what, "another folder, or the same once that has ended") from None
    try:
        yield
    finally:
        beside.unlink(missing_ok=True)
        if descriptor is not None:
            os.close(descriptor)
        with suppress(OSError):  # those that got a file stay
            for folder in made:
                folder.rmdir()


def rules_digest(path: Path) -> str | None:
    """A digest of the rules that results are judged by, of `rules.toml` and `<results>.toml` beside them, if any.

    Comments and line breaks have no part in it. Raises UserError for a file that is no TOML.
    """
    files = [file for file in (path.with_name("rules.toml"), path.with_suffix(".toml")) if file.is_file()]
    try:
        return digest([tomllib.loads(file.read_text(encoding="utf-8")) for file in files]) if files else None
    except (ValueError, RecursionError) as error:
        raise BadArgument("out", f"{files[0].parent}: {error}", "a folder whose rules are TOML") from None


def refuse_others(path: Path, current: Current) -> None:
    """Refuses to add results to a file with some of the same rows and another configuration.

    Raises:
        BadArgument: With the rows and seeds that are there.
    """
    seeds: dict[str, list[str]] = {}
    for _, record in records(path):
        if current(record["row"], record["seed"]) not in (None, record.get("config_hash")):
            seeds.setdefault(record["row"], []).append(str(record["seed"]))
    if seeds:
        there = "; ".join(f"{row}, seeds {', '.join(of_row)}" for row, of_row in seeds.items())
        what = f"{path}, which has results of other configurations of these rows ({there})"
        raise BadArgument("out", what, "another folder, or --replace true to drop those results")


def collect(path: Path, fresh: list[dict[str, Any]], current: Current) -> None:
    """Puts fresh results among those in `path`, in the order of rows and seeds.

    Args:
        path: A JSON list of `results.json` objects, a line each; made if absent. One of runs that diverged is there if
            any did.
        fresh: Records to add; each takes the place of an older one of its row and seed.
        current: What those that stay have to be of; others are dropped.
    """
    kept = [record for _, record in records(path)]
    by_key = {(r["row"], r["seed"]): brief(r, path.stem in LEAN) for r in [*kept, *fresh]}
    all_records = [r for (row, seed), r in sorted(by_key.items()) if current(row, seed) in (None, r.get("config_hash"))]
    if not all_records and path.name.endswith("_diverged.json"):
        return path.unlink(missing_ok=True)
    text = ",\n".join(json.dumps(record, separators=(",", ":")) for record in all_records)
    write_atomically(path, f"[\n{text}\n]\n")


def brief(record: dict[str, Any], lean: bool = False) -> dict[str, Any]:
    """A record as it is collected, smaller than the run's own file: without what no report reads.

    This is what missed training digits are taken for; which digits are missed by weights that are not those evaluated
    (`train_raw` and the like); rejection, which is the paper's, on other digits than the paper's; and in `LEAN` files
    also what test digits are taken for, and of the training digits which are missed, and their learning curve.
    """
    of_paper = record.get("source") == "usps"

    def shorter(split: str, content: dict[str, Any]) -> dict[str, Any]:
        raw, train = split.endswith("_raw"), split == "train"
        unread = {"predicted"} if lean or raw or train else set()
        unread |= {"missed"} if raw or (train and lean) else set()
        dropped = () if of_paper else ("rejection", "rejected_at_1_percent")
        return {name: [] if name in unread else value for name, value in content.items() if name not in dropped}

    splits = {name: content for name, content in record.items() if isinstance(content, dict) and "misses" in content}
    shortened = record | {name: shorter(name, content) for name, content in splits.items()}
    if lean and isinstance(curve := record.get("curve"), dict):
        shortened["curve"] = {split: columns for split, columns in curve.items() if split != "train"}
    return shortened
