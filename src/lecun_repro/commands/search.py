"""`search`: Optuna proposes hyperparameters, and ordinary fits answer on digits held out of training."""

import inspect
import json
import math
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from lecun_repro.cli.build import resolve
from lecun_repro.cli.config_files import load_config
from lecun_repro.cli.overlays import as_yaml, configuration, merged
from lecun_repro.cli.parser import flags
from lecun_repro.cli.search_space import Range, leaves, load_space, probes, refuse_flags, settings
from lecun_repro.commands.reproduce import listed
from lecun_repro.commands.search_trials import Plan, Searching
from lecun_repro.errors import BadArgument, UserError, one_line, printable
from lecun_repro.files import write_atomically
from lecun_repro.report.searches import Search, chosen, find
from lecun_repro.runs.folders import save_dir
from lecun_repro.runs.identity import PLACES, config_hash, digest
from lecun_repro.runs.resume import carried
from lecun_repro.runs.signals import Interrupted
from lecun_repro.runs.studies import (
    BasePruner,
    BaseSampler,
    MedianPruner,
    Studies,
    TPESampler,
    builder,
    changes,
    optuna,
    spelled,
)
from lecun_repro.runs.typed_json import record as typed_record

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
A_FIFTH = "1/5"  # held out where nothing is said
LONGEST = 60  # letters of a name
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def search(
    config: str,
    space: str,
    trials: PositiveInt | None = None,  # type: ignore[valid-type]
    budget: str | None = None,
    seeds: PositiveInt | list[NonNegativeInt] = 1,  # type: ignore[valid-type]
    folds: PositiveInt | None = None,  # type: ignore[valid-type]
    jobs: PositiveInt = 1,  # type: ignore[valid-type]
    name: str | None = None,
    out: str = "results/search",
    best: str | None = None,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    sampler_seed: NonNegativeInt = 1337,  # type: ignore[valid-type]
    backend: Literal["local", "ray"] = "local",
    overrides: list[str] | None = None,
) -> None:
    """Chooses hyperparameters on digits held out of training; test digits are not loaded.

    Flags of `fit` may follow and go to every fit (`--trainer.max_epochs 20`, `--data.root …`). A search that was
    ended goes on with the same command, and several processes may share one.

    Args:
        config: The YAML file whose hyperparameters are searched.
        space: What may be changed: a YAML of dotted keys, each with a range `{low: 1e-5, high: 1e-2, log: true}`, or
            a list of choices, which may be branches with ranges of their own.
        trials: How many settings to try.
        budget: In the place of `trials`, time after which no trial is begun: `90s`, `30m`, `2h` or `1d`.
        seeds: How many seeds each setting is trained with, from 1337 on, or a list of seeds.
        folds: Into how many parts the training digits are split; each setting is trained without each of them, and
            evaluated on it. By default what `data.holdout` or `data.fold` hold out, else a fifth.
        jobs: Trials at a time; one per core is fastest.
        name: The search's name. Default: that of the file, that of the space, and the flags of `fit` that make another
            search of it: `5_dropout_relu_adamw_source_digits`.
        out: Folder of the results: `<name>.json`, `<name>.md`, and its figures.
        best: Where the best setting goes, a YAML with `config` as its base. Default: `<name>_best.yaml` in `out`.
        sampler: Optuna's sampler, by default TPESampler.
        pruner: Optuna's pruner, by default MedianPruner after five trials and a quarter of the passes.
        sampler_seed: Seed of the sampler: with one job the same trials, also if the search is ended and goes on.
        backend: `local`, or `ray` for the Ray cluster that this machine belongs to; trials are then ended early between
            their fits alone.
        overrides: Flags of `fit`.
    """
    line = command(dict(locals()))
    if trials is None and budget is None:
        raise BadArgument("trials", "missing", "a number of trials, or --budget with a time")
    seconds = math.inf if budget is None else seconds_of(budget)
    extra = list(overrides or [])
    name = name or default_name(config, space, extra)
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise BadArgument("name", name, "letters, digits, and _ . + - between them")
    tree = load_space(space)
    refuse_flags(tree, extra)
    base, resolved = configuration(config)[0], resolve(config, extra)
    passes = resolved["trainer"]["max_epochs"]
    if not passes or passes < 1:
        raise BadArgument("trainer.max_epochs", passes, "a number of passes from 1, after which every trial ends")
    parts = folds_of(resolved["data"], folds)
    logs = Path(save_dir(resolved["trainer"]["logger"])) / "search"
    extra += ["--pictures.every", "0", "--trainer.logger.init_args.save_dir", str(logs)]
    held_out = ["--data.fold", parts[0]] if parts[0] else []
    for change in probes(tree):
        resolve(as_yaml(merged(base, change)), [*extra, *held_out])  # what no fit would take is told before the first

    pruned_after = passes // 4
    rules = {
        "config": config_hash(resolved), "space": load_config(space), "folds": parts, "seeds": listed(seeds),
        "sampler": spelled(sampler), "pruner": spelled(pruner), "sampler_seed": sampler_seed,
    }  # fmt: skip
    path = Path(out) / f"{name}.json"
    refuse_other(path, rules)
    studies = Studies(
        logs / name,
        name,
        rules,
        builder("sampler", rules["sampler"], TPESampler),
        sampler_seed,
        builder("pruner", rules["pruner"], MedianPruner, n_warmup_steps=pruned_after)(),
        {"commit": commit_of(config, space), "command": line, "configuration": carried(resolved)},
    )
    plan = Plan(name, base, tree, extra, parts, listed(seeds))
    searching = Searching(plan, studies, trials, seconds, jobs, backend)
    ended: Exception | None = None
    try:
        searching.run()
    except (Interrupted, UserError) as error:
        ended = error
    if searching.counts()["COMPLETE"]:
        record = record_of(studies, name, line, config, passes, tree)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text_of(record))
        write_best(Path(best) if best else path.with_name(f"{name}_best.yaml"), record, config, base, tree)
        from lecun_repro.commands.report import report  # matplotlib, which the fits do not need

        report(str(path))
    if ended:
        raise ended
    if not searching.counts()["COMPLETE"]:
        raise UserError(f"{name}: no trial is complete{searching.last_failure}")
    if searching.failures:
        raise SystemExit(1)


def default_name(config: str, space: str, overrides: list[str]) -> str:
    """What a search is called that has no name, another one for each set of flags that makes it another search."""
    short = name = f"{Path(config).stem}_{Path(space).stem}"
    for flag, value in flags(overrides):
        key = flag.lstrip("-")
        if not any(f"{key}.".startswith(f"{place}.") for place in PLACES):
            name += re.sub(r"[^\w.+-]+", "-", f"_{key.rpartition('.')[2]}_{value}")
    return name if len(name) <= LONGEST else f"{short[:LONGEST]}_{digest(name)[:8]}"


def refuse_other(path: Path, rules: dict[str, Any]) -> None:
    """Raises BadArgument where the results of a search of other rules lie in `path`, as they ship with the project."""
    if path.exists() and (there := find(path)) is None:
        raise BadArgument("out", f"{path}, which is no search's results", "another --name or --out")
    if path.exists() and there is not None:
        before = {"config": there.config_hash, "space": there.space, "folds": there.folds, "seeds": there.seeds}
        if differing := changes(rules, before, before):
            what = f"{path}, which has the results of another search: {differing}"
            raise BadArgument("name", what, f"another one, by --name, or the command that made them: {there.command}")


def seconds_of(budget: str) -> float:
    """A time such as `90s`, `30m`, `2h` or `1.5d` in seconds. Raises BadArgument for what is none."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([smhd])", budget)
    if not match or not float(match[1]):
        raise BadArgument("budget", budget, "a time above 0 such as 90s, 30m, 2h or 1.5d")
    return float(match[1]) * UNITS[match[2]]


def folds_of(data: dict[str, Any], folds: int | None) -> list[str]:
    """What is held out by turns: folds, or nothing but the configuration's holdout, which is ''.

    Raises:
        BadArgument: Folds, and a fold or a holdout in the configuration.
    """
    chosen = {key: data[key] for key in ("holdout", "fold") if data[key]}
    if folds is None:
        return [data["fold"] or ("" if data["holdout"] else A_FIFTH)]
    if chosen or folds < 2:
        given = f"{folds} with data.{next(iter(chosen))}" if chosen else folds
        raise BadArgument("folds", given, "an integer from 2, where neither data.holdout nor data.fold is given")
    return [f"{k}/{folds}" for k in range(1, folds + 1)]


def commit_of(config: str, space: str) -> str:
    """The last commit of the files that make the rules; '' where one of them is not in a commit as it is now."""
    files = [os.path.realpath(file) for file in (config, space, *configuration(config)[1])]

    def git(*args: str) -> str:
        call = ["git", "-C", str(Path(files[1]).parent), *args, "--", *files]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return "" if git("status", "--porcelain", "--ignored") else git("log", "-1", "--format=%H")
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return ""


def command(given: dict[str, Any]) -> str:
    """The command line that these arguments of `search` are given by."""
    words = ["python", "cli.py", "search"]
    for key, parameter in inspect.signature(search).parameters.items():
        if (value := given[key]) == parameter.default or key == "overrides":
            continue
        arguments: dict[str, Any] = {}
        if key in ("sampler", "pruner"):
            value, arguments = spelled(value).values()  # type: ignore[union-attr]
        for flag, each in {key: value, **{f"{key}.{name}": each for name, each in arguments.items()}}.items():
            words += [f"--{flag}", each if isinstance(each, str) else json.dumps(each)]
    return shlex.join([*words, *(given["overrides"] or [])])


def record_of(studies: Studies, name: str, line: str, config: str, passes: int, tree: dict[str, Any]) -> dict[str, Any]:
    """The contents of `results/search/<name>.json`, as `report.searches` reads them."""
    study = studies.study()
    rules, trials = study.user_attrs["rules"], []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name not in STATES:
            continue
        attributes = trial.user_attrs
        trials.append(
            {
                "number": trial.number,
                "state": "diverged" if attributes.get("diverged") else STATES[trial.state.name],
                "settings": trial.params,
                "error": trial.value,
                "fits": attributes.get("fits", []),
                "curve": {str(step): error for step, error in sorted(trial.intermediate_values.items())},
                "note": attributes.get("note", ""),
            }
        )
    return {
        "name": name, "command": line, "config": config, "config_hash": rules["config"], "space": rules["space"],
        "commit": rules["commit"], "passes": passes, "folds": rules["folds"], "seeds": rules["seeds"],
        "ranges": {key: [spec.low, spec.high, spec.log] for key, spec in leaves(tree) if isinstance(spec, Range)},
        "importance": importance(study), "trials": trials,
    }  # fmt: skip


def text_of(record: dict[str, Any]) -> str:
    """The text of that file: a line for each field, and for each trial."""
    fields = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items() if key != "trials"]
    trials = ",\n".join(map(json.dumps, record["trials"]))
    return "{\n" + ",\n".join(fields) + f',\n"trials": [\n{trials}\n]\n}}\n'


def importance(study: optuna.Study) -> dict[str, float]:
    """The share of each key in a trial's error, the largest first; empty where the trials do not tell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return optuna.importance.get_param_importances(study)
        except (ValueError, RuntimeError, ZeroDivisionError):  # too few, or all alike
            return {}


def write_best(path: Path, record: dict[str, Any], config: str, base: dict[str, Any], tree: dict[str, Any]) -> None:
    """The best setting as a YAML on the searched file; in full where that may be no base, as it lies elsewhere."""
    best = chosen(typed_record(Search, record, ""))
    change = settings(tree, lambda name, spec: best.settings[name])
    head = [
        f"{record['name']}: the best of {len(record['trials'])} settings that were searched on digits held out.",
        "",
        f"  python cli.py fit --config {path.as_posix()}",
        "",
        f"Expect, on the digits held out: {best.error:.2f} % (n = {len(best.fits)}; of the best of many, so too low).",
        "Chosen by",
        "",
        f"  {record['command']}",
    ]
    header = "\n".join(f"# {line}".rstrip() for line in head)
    path.parent.mkdir(parents=True, exist_ok=True)
    relative = os.path.relpath(config, path.parent)
    write_atomically(path, f"{header}\n{as_yaml({'base': relative, **change}, in_braces=False)}")
    try:
        configuration(str(path))
    except UserError:
        named = {"trainer": {"logger": {"init_args": {"name": path.stem}}}}
        write_atomically(path, f"{header}\n{as_yaml(merged(merged(base, change), named), in_braces=False)}")
    print(printable(one_line(str(path))), file=sys.stdout)
