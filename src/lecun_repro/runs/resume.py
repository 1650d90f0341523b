"""What a fit that goes on from a checkpoint may change: how long it trains, and nothing that makes it another run."""

from collections.abc import Collection, Iterator
from typing import Any

from lecun_repro.errors import BadArgument, one_line, shown
from lecun_repro.runs.checkpoints import TRUSTED
from lecun_repro.runs.identity import ORIGIN, PLACES, Made, canonical, sources, strings, value_at
from lecun_repro.runs.loading import weights_digest

# How long to train, which is looked at by itself, and how updates are computed.
MAY_CHANGE = {"trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "model.compile"}
SECTIONS = ("seed_everything", "data", "model", "optimizer", "lr_scheduler", "trainer")
LOCAL = ("root", "images")  # arguments of the data that name files of one machine
SOURCES = "sources"
DEFAULT = "its default"  # what a canonical configuration leaves out


def carried(config: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint carries of a resolved configuration: all that makes the run's identity, and no places.

    The user's own classes have digests of their sources, weights to start from one of themselves.
    """
    kept = {key: config[key] for key in SECTIONS}
    kept["data"] = {name: value for name, value in kept["data"].items() if name not in LOCAL}
    kept["trainer"] = {name: value for name, value in kept["trainer"].items() if f"trainer.{name}" not in PLACES}
    kept[SOURCES] = sources(canonical(config))
    kept[ORIGIN] = None if config.get(ORIGIN) is None else weights_digest(config[ORIGIN])
    return kept


def check_resumed(config: dict[str, Any], checkpoint: dict[str, Any], path: str) -> None:
    """Refuses to go on with another configuration than the checkpoint's own.

    What a checkpoint of an older version does not carry is not compared.

    Raises:
        BadArgument: With the first key that differs, and both values.
    """
    now, before = carried(config), checkpoint["lecun_repro"].get("config")
    if not isinstance(before, dict):
        return
    try:
        first = next(differences(now, before), None)
    except Exception as error:  # whatever absurd contents lead to
        what = f"{path}, whose configuration is none ({one_line(str(error))[:100]})"
        raise BadArgument("ckpt_path", what, "a checkpoint that fit wrote") from None
    if first is not None:
        key, ours, theirs = first
        way_out = f"for a new run that starts from its weights, --{ORIGIN} in the place of --ckpt_path"
        raise BadArgument(key, ours, f"{shown(theirs)}, as in the checkpoint {path}; {way_out}")
    # Lightning counts the passes of a checkpoint from 0.
    done = {
        "max_epochs": (checkpoint.get("epoch", -1) + 1, "passes"),
        "max_steps": (checkpoint["global_step"], "updates"),
    }
    for name, (least, what) in done.items():
        if (most := now["trainer"][name]) not in (None, -1) and most < least:
            allowed = f"an integer from {least}, the {what} that {path} has done, or -1 for no end"
            raise BadArgument(f"trainer.{name}", most, allowed)


def differences(
    now: dict[str, Any], before: dict[str, Any], may_change: Collection[str] = MAY_CHANGE
) -> Iterator[tuple[str, Any, Any]]:
    """Key, value and former value of what differs in identity between two configurations that are `carried`.

    Keys in `may_change` are not compared. Of the former one no class is imported but ours, torch's, and those that the
    present one names.
    """
    named = {*strings(now)}
    # Another version of Lightning has others; callbacks that would change an update are refused anyway.
    arguments = now["trainer"].keys() & before.get("trainer", {}).keys() - {"callbacks"}

    def compared(config: dict[str, Any]) -> dict[str, Any]:
        sections = {key: config[key] for key in SECTIONS if key in before}
        trainer = {name: value for name, value in config.get("trainer", {}).items() if name in arguments}
        return sections | {"trainer": trainer}

    ours = flat(canonical(compared(now)))
    theirs = flat(canonical(compared(before), lambda name: name in named or str(name).startswith(TRUSTED)))
    for key in sorted({*ours, *theirs}.difference(may_change)):
        if key not in ours or key not in theirs or ours[key] != theirs[key]:
            yield key, ours.get(key, value_at(now, key, DEFAULT)), theirs.get(key, value_at(before, key, DEFAULT))
    for name, digest in now[SOURCES].items():
        former = before.get(SOURCES, {}).get(name, digest)
        if digest != former:
            yield name, f"source {digest}", f"source {former}"
    if now[ORIGIN] != before.get(ORIGIN):
        yield ORIGIN, now[ORIGIN], before.get(ORIGIN)


def flat(tree: Any, key: str = "") -> dict[str, Any]:
    """The values of a canonical tree by their dotted keys."""
    inside = tree._asdict() if isinstance(tree, Made) else tree
    if not isinstance(inside, dict):
        return {key: tree}
    prefix = f"{key}." if key else ""
    return {path: value for name, part in inside.items() for path, value in flat(part, f"{prefix}{name}").items()}
