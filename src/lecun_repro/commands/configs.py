"""`configs`: the configurations that ship with the package."""

from lecun_repro.cli.config_files import PACKAGED


def configs() -> None:
    """Lists the configurations that ship with the package, by the names that `--config` takes in any folder.

    What `search` takes as `--space` is none, and not listed.
    """
    files = {path.relative_to(PACKAGED).with_suffix("").as_posix(): path for path in sorted(PACKAGED.rglob("*.yaml"))}
    files = {name: path for name, path in files.items() if not name.startswith("search/")}
    width = max(map(len, files), default=0)
    for name, path in files.items():
        with path.open(encoding="utf-8") as file:
            print(f"{name:{width}}  {file.readline().lstrip('# ').rstrip()}")
