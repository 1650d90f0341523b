"""Malformed results: committed records, broken at random, as `report` and `reproduce` read them.

    python tests/soak/malformed_results.py --cases 5000

Each file has to be refused in one line that names it, or be taken with the very numbers that are in it. Ends with 1 if
any is not.
"""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cases import Case, command, elsewhere

from lecun_repro.errors import UserError
from lecun_repro.report.results import load

ROOT = Path(__file__).parents[2]
VALUES: list[Any] = [None, True, -1, 0, 1, 10**30, -0.5, 1.5, float("nan"), float("inf"), "", "x", "7", [], [1], [-1], [0.5], {}, {"n": 1}]  # fmt: skip # noqa: E501
CHECKED = ("row", "seed", "source", "passes", "updates", "parameters", "config_hash")


def places(tree: Any, at: tuple = ()) -> list[tuple]:
    """Every place in a tree, as the keys that lead there; of long lists the first and the last."""
    inside = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    inside = inside if len(inside) < 30 else [inside[0], inside[-1]]
    return [place for key, value in inside for place in [(*at, key), *places(value, (*at, key))]]


def broken(records: list[dict[str, Any]], chance: random.Random) -> tuple[str, str]:
    """The records with one fault, as text, and what it is."""
    records = copy.deepcopy(records)
    kind = chance.choice(["value", "value", "value", "missing", "twice", "cut", "mixed", "byte"])
    if kind == "twice":
        return json.dumps([*records, chance.choice(records)]), "a record twice"
    if kind == "mixed":
        chance.choice(records)[chance.choice(["passes", "parameters"])] += 1
        return json.dumps(records), "mixed configurations"
    text = json.dumps(records)
    if kind == "cut":
        return text[: chance.randrange(len(text))], "cut short"
    if kind == "byte":
        at = chance.randrange(len(text))
        return text[:at] + chance.choice("{}[],:x-") + text[at + 1 :], f"byte {at}"
    place = chance.choice(places(records))
    at: Any = records
    for key in place[:-1]:
        at = at[key]
    if kind == "missing":
        del at[place[-1]]
    else:
        at[place[-1]] = chance.choice(VALUES)
    return json.dumps(records), f"{kind} of {place}: {str(at)[:80]}"


def outcome(path: Path) -> str:
    """`taken`, `refused`, or the fault."""
    try:
        rows = load(path)
    except UserError as error:
        one_line = "\n" not in str(error) and path.name in str(error)
        return "refused" if one_line else f"refused without its name: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    given = {(record["row"], record["seed"]): record for record in json.loads(path.read_text())}
    for row, results in rows.items():
        for result in results:
            record = given.pop((row, result.seed))
            if any(getattr(result, name) != record.get(name) for name in CHECKED):
                return "taken with other values"
            for split, kept in result.splits.items():
                if not 0 <= kept.misses <= kept.n or (kept.n, kept.misses) != (
                    record[split]["n"],
                    record[split]["misses"],
                ):
                    return f"taken with absurd numbers: {split} {kept.misses} of {kept.n}"
    return "records lost" if given else "taken"


def tried(cases: int, chance: random.Random) -> Iterator[Case]:
    """Each with its fault."""
    every = [json.loads((ROOT / "results" / f"{name}.json").read_text())[:6] for name in ("article", "1989", "claims")]
    with elsewhere():
        path = Path("article.json")
        for _ in range(cases):
            text, what = broken(chance.choice(every), chance)
            path.write_text(text)
            yield Case(outcome(path), what)


if __name__ == "__main__":
    command(tried, "malformed files of results", __doc__, 5000)
