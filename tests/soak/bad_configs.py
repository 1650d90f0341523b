"""Bad configurations: the project's YAML files, broken at random, all the way to a model, data and trainer.

    python tests/soak/bad_configs.py --cases 3000

Each has to be taken, or refused by one line on standard error, exit code 2 and nothing written, within ten seconds of
computing. Ends with 1 if any is not.
"""

import contextlib
import copy
import io
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from cases import Case, command, elsewhere, only_built

from lecun_repro import __main__ as program
from lecun_repro.cli.overlays import text_in_full

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))

# What takes the place of a value, or of a key.
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, -1e308, 10**30, -(10**30), float("nan"), float("inf"), "", " ",
    "x", "null", "nan", "1e999", "0x10", "1_000", "9" * 500, "../../x", "/etc/passwd", "~", "http://127.0.0.1:9/",
    "a\nb", "\u0663", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "\x1b[31m", "os.system", "os._exit",
    "torch.optim.SGD", "lecun_repro.Head", "lecun_repro.Network", [], [1], [[]], ["x"] * 50, {}, {"a": 1},
    {"class_path": "os.system"}, {"class_path": "torch.optim.Adam"}, {"class_path": None}, {"init_args": {}},
    {"class_path": "torch.nn.Linear", "init_args": {"in_features": 1}}, {"class_path": 3, "init_args": 3},
]  # fmt: skip
KEYS: list[Any] = ["x", "", "lr", "class_path", "init_args", "__class__", "seed", "root", None, 3, True, "a.b", "data"]
BYTES = [
    b"\x00",
    b"\xff",
    b"\t",
    b"\n",
    b": ",
    b"- ",
    b"{",
    b"}",
    b"[",
    b"&a ",
    b"*a",
    b"!!python/name:os.system ",
    b"%",
]


def places(tree: Any, at: tuple = ()) -> Iterator[tuple]:
    """Every place in a tree, as the keys that lead there."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield (*at, key)
            yield from places(value, (*at, key))


def broken(text: str, chance: random.Random) -> bytes:
    """A configuration with one to three things wrong."""
    if chance.random() < 0.25:
        raw = bytearray(text.encode())
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(raw))
            raw[at : at + chance.choice([0, 0, 1, 20])] = chance.choice([*BYTES, bytes([chance.randrange(256)])])
        return bytes(raw[: chance.choice([len(raw), len(raw), chance.randrange(len(raw))])])
    tree = yaml.safe_load(text)
    for _ in range(chance.randint(1, 3)):
        *path, key = chance.choice(list(places(tree)))
        parent = tree
        for name in path:
            parent = parent[name]
        how = chance.randrange(4)
        if how == 0:
            parent.pop(key)
        elif how == 1:
            parent[chance.choice(KEYS)] = parent.pop(key)
        elif how == 2:
            parent[chance.choice(KEYS)] = copy.deepcopy(chance.choice(VALUES))
        else:
            parent[key] = copy.deepcopy(chance.choice(VALUES))
        if not tree:
            break
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


def outcome(args: list[str]) -> str:
    """`taken`, `refused`, or the fault."""
    before = sorted(Path().rglob("*"))
    out, err = io.StringIO(), io.StringIO()
    started = time.process_time()  # a machine with other things to do is no fault
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            program.main(args)
        code: Any = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    if sorted(Path().rglob("*")) != before:
        return "wrote something"
    if time.process_time() - started > 10:
        return "took more than ten seconds"
    if code == 0:
        return "taken"
    lines = err.getvalue().splitlines()
    one_line = len(lines) == 1 and lines[0].startswith("lecun-repro: error: ") and lines[0].isprintable()
    return "refused" if code == 2 and one_line else f"code {code}: {err.getvalue()!r}"


def tried(cases: int, chance: random.Random) -> Iterator[Case]:
    """Each with its configuration. The source is always `digits`."""
    with elsewhere(), only_built():
        shutil.copytree(ROOT / "configs", "configs")
        for _ in range(cases):
            path = chance.choice(CONFIGS)
            body = broken(chance.choice([path.read_text(), text_in_full(path)]), chance)
            bad = Path("configs", path.relative_to(ROOT / "configs")).with_name("bad.yaml")  # beside its base
            bad.write_bytes(body)
            result = outcome(["fit", "--config", str(bad), "--data.source=digits", "--data.train_size=50"])
            yield Case(result, body.decode(errors="backslashreplace"))


if __name__ == "__main__":
    command(tried, "broken configurations", __doc__, 3000)
