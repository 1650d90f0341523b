"""Prints the versions installed here of all that the project needs, directly or not, extras included.

    python .ci/constraints.py > constraints.txt

From the environment whose tests have passed. `pip install -e . -c constraints.txt` installs these versions again.
"""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def requirements(project: Path = PROJECT) -> list[Requirement]:
    """What the project asks for, extras included."""
    table = tomllib.loads(project.read_text())["project"]
    return [
        Requirement(line)
        for group in (table["dependencies"], *table["optional-dependencies"].values())
        for line in group
    ]


def installed(project: Path = PROJECT) -> dict[str, str]:
    """Public versions by normalised name; of packages for other systems or Pythons none.

    Raises:
        PackageNotFoundError: Something is not installed.
    """
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(requirement, "") for requirement in requirements(project)]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        for wanted in ("", *requirement.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            try:
                found = distribution(requirement.name)
            except PackageNotFoundError:
                raise PackageNotFoundError(f"{requirement} is not installed") from None
            versions[name] = Version(found.version).public  # without `+cpu`
            todo += [(Requirement(line), wanted) for line in found.requires or []]
    return versions


if __name__ == "__main__":
    print("# The versions that the tests have passed with, on Linux with the CPU build of torch: `.ci/constraints.py`.")
    for name, version in sorted(installed().items()):
        print(f"{name}=={version}")
