"""`reproduce`: configurations x seeds, each an ordinary `fit`, and the report on all of them.

Runs that diverged are kept apart in `<results>_diverged.json`.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from lecun_repro.cli.build import resolve
from lecun_repro.cli.config_files import found
from lecun_repro.cli.overlays import text_in_full
from lecun_repro.cli.parser import flags
from lecun_repro.cli.teachers import FIRST_SEED, is_configuration, names
from lecun_repro.data.plan import plan as plan_data
from lecun_repro.data.sources.base import source_name
from lecun_repro.errors import BadArgument, printable
from lecun_repro.report.collection import collect, held, refuse_others, rules_digest
from lecun_repro.report.results import by_row
from lecun_repro.runs.fits import Run, folder_of, perform
from lecun_repro.runs.identity import TAUGHT, config_hash
from lecun_repro.runs.results import DivergedRun, RunResult


def reproduce(
    configs: str | list[str] = "configs/article",
    seeds: PositiveInt | list[NonNegativeInt] = 5,  # type: ignore[valid-type]
    jobs: PositiveInt = 1,  # type: ignore[valid-type]
    out: str | None = None,
    source: str | None = None,
    vary_draw: bool = False,
    replace: bool = False,
    backend: Literal["local", "ray"] = "local",
    overrides: list[str] | None = None,
) -> None:
    """Trains configurations over several seeds, and writes the results with their report.

    Flags of `fit` may follow and go to every run (`--trainer.max_epochs 2`, `--data.root …`).

    Args:
        configs: A folder of YAML files, or files; names of packaged ones are found in any folder.
        seeds: How many seeds, from 1337 on, or a list of seeds: `--seeds 5`, `--seeds [1337,7]`.
        jobs: Runs at a time; one per core is fastest.
        out: Folder of the results: `<name>.json`, the report `<name>.md`, its figures. The name is that of the YAMLs'
            folder (`article`), or of a single YAML in the working directory; where they lie in several folders, that
            of `out` itself (`--out lightning_logs/my_step`: `my_step.md`). Default: `results` for MNIST and for
            configurations on `usps` as they are, `lightning_logs/results_<source>` for others.
        source: Take the digits from another source in every run: `mnist`, `digits`, `usps` or one of your own.
        vary_draw: Draw other digits with every seed: the draw's seed is then the run's.
        replace: Drop what the results have of these rows from other configurations, as of an edited YAML, once there
            are new ones. Without it that is refused.
        backend: `local`, or `ray` for the Ray cluster that this machine belongs to.
        overrides: Flags of `fit`.
    """
    files = config_files(configs)
    extra = [*(["--data.source", source] if source else []), *(overrides or [])]
    seed_list = listed(seeds)
    resolved = {file.stem: resolve(str(file), extra) for file in files}
    sources = {source_name(config["data"]["source"]) for config in resolved.values()}
    teachers = teachers_of(resolved.values())
    if teachers and vary_draw:
        raise BadArgument("vary_draw", "true", "false, as the teachers know the digits of one draw")
    # A teacher is what its file says, with as many seeds as are asked for, whatever the flags and seeds of the rows.
    root = [arg for name, value in flags(extra) if name == "--data.root" for arg in (name, str(value))]
    resolved |= {file.stem: resolve(str(file), root) for file in teachers}
    lessons = [run for file, n in teachers.items() for run in plan(file, resolved[file.stem], listed(n), False, root)]
    others = [file for file in files if file not in teachers]
    runs = [run for file in others for run in plan(file, resolved[file.stem], seed_list, vary_draw, extra)]
    if out is None:
        as_they_are = sources == {"usps"} and not any(flag.split("=")[0] == "--data.source" for flag in extra)
        own = as_they_are or sources == {"mnist"}
        out = "results" if own else f"lightning_logs/results_{'_'.join(sorted(sources))}"

    path = Path(out) / f"{name_of(files, out)}{'_draws' if vary_draw else ''}.json"
    apart = path.with_name(f"{path.stem}_diverged.json")
    rows = set(resolved)

    def current(row: str, seed: int) -> str | None:
        return config_hash(for_seed(resolved[row], seed, vary_draw)) if row in rows else None

    with held(path):
        by_row(path, RunResult.read)  # what is wrong with those to put others among is told before the runs
        by_row(apart, DivergedRun.read)
        if not replace:
            refuse_others(path, current)

        rules = rules_digest(path)
        lessons, runs = ([run._replace(rules=rules) for run in planned] for planned in (lessons, runs))
        outcomes = [*(perform(lessons, jobs, backend) if lessons else ()), *perform(runs, jobs, backend)]

        rows = {outcome.run.row for outcome in outcomes if outcome.record}  # others keep what they had
        collect(path, [outcome.record for outcome in outcomes if outcome.record and not outcome.diverged], current)
        collect(apart, [outcome.record for outcome in outcomes if outcome.record and outcome.diverged], current)

        from lecun_repro.commands.report import report  # matplotlib, which the runs do not need

        report(str(path))
    for run, record, reason in outcomes:
        if record is None:
            print(printable(f"failed: {run.row}, seed {run.seed}: {reason}"), file=sys.stderr)
        elif "diverged" in record:
            where = DivergedRun.read(record, f"{run.folder}: ").diverged
            print(printable(f"diverged: {run.row}, seed {run.seed}: {where}; kept in {apart}"), file=sys.stderr)
    if any(outcome.record is None for outcome in outcomes):
        raise SystemExit(1)


def config_files(configs: str | list[str]) -> list[Path]:
    """The YAML files named, or those of a folder, in the order of their names."""
    paths = [Path(found(path)) for path in ([configs] if isinstance(configs, str) else configs)]
    named = [file for path in paths for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
    files = list(dict.fromkeys(named))
    of_rows: dict[str, Path] = {}
    if not files:
        raise BadArgument("configs", configs, "YAML files, or a folder of them")
    for file in files:
        if not file.is_file():
            raise BadArgument("configs", f"{file}, which is not there", "YAML files, or a folder of them")
        if file.stem in (".", ".."):
            raise BadArgument("configs", f"{file}, which names its row {file.stem}", "a file by another name")
        if (other := of_rows.setdefault(file.stem, file)) is not file:
            raise BadArgument("configs", f"{other} and {file}, which are both row {file.stem}", "one file of a name")
    return files


def name_of(files: Sequence[Path], out: str) -> str:
    """What files of results are called: after the YAMLs' folder or a single YAML at hand, else after their own."""
    folders = {os.path.dirname(os.path.abspath(file)) for file in files}
    if len(files) == 1 and not os.path.dirname(files[0]):
        return files[0].stem
    named_by = folders if len(folders) == 1 and os.path.dirname(files[0]) else {os.path.abspath(out)}
    return Path(*named_by).name or "results"


def listed(seeds: int | list[int]) -> list[int]:
    """So many seeds from the first on, or those of a list."""
    return list(range(FIRST_SEED, FIRST_SEED + seeds)) if isinstance(seeds, int) else list(dict.fromkeys(seeds))


def teachers_of(resolved: Iterable[dict[str, Any]]) -> dict[Path, int]:
    """The configurations that teach some of these, and how many runs of each are asked for."""
    asked: dict[Path, int] = {}
    for head in (config["model"]["head"] for config in resolved):
        for name in names(head["init_args"]) if head["class_path"] == TAUGHT else ():
            if is_configuration(name):
                asked[Path(name)] = max(asked.get(Path(name), 0), head["init_args"]["seeds"])
    return asked


def plan(file: Path, config: dict[str, Any], seeds: list[int], vary_draw: bool, extra: list[str]) -> list[Run]:
    """The runs of one file, resolved as `config`."""
    return plan_row(file.stem, text_in_full(file), config, seeds, vary_draw, extra)


def plan_row(
    row: str, text: str, config: dict[str, Any], seeds: list[int], vary_draw: bool, extra: list[str]
) -> list[Run]:
    """The runs of a row whose YAML is `text`, resolved as `config`."""
    trainer = config["trainer"]
    counts = plan_data(**config["data"])
    updates = counts.updates(trainer["limit_train_batches"])
    runs = []
    for seed in seeds:
        own = for_seed(config, seed, vary_draw)
        digest, folder = config_hash(own), folder_of(row, own)
        added = [*extra, "--seed_everything", str(seed), "--trainer.logger.init_args.version", folder.name]
        added += ["--trainer.logger.init_args.name", row]  # that of a copied YAML may be another row's
        added += ["--data.draw", str(seed)] if vary_draw else []
        passes = trainer["max_epochs"]
        runs.append(Run(row, seed, text, added, folder, digest, passes, updates, counts.unseen > 0))
    return runs


def for_seed(config: dict[str, Any], seed: int, vary_draw: bool) -> dict[str, Any]:
    """A resolved configuration as a run with this seed resolves it."""
    data = config["data"] | ({"draw": seed} if vary_draw else {})
    return config | {"seed_everything": seed, "data": data}
