"""Every example in the README and in docs/ does what it says, long ones shortened by more flags; no link is dead."""

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lecun_repro.__main__ import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {page: page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
OWN_TEST = "EXTENDING.md"  # whose commands need what its examples define: test_extending.py
FENCED = re.compile(r"^```(\w*)\n(.*?)\n```$", re.M | re.S)  # language, contents
COMMANDS = [
    command
    for page, text in PAGES.items()
    for language, block in FENCED.findall(text)
    for command in block.splitlines()
    if language == "bash" and page.name != OWN_TEST
]
OF_PYTHON = re.compile(r"(?:.*&& \.venv/bin/)?python cli\.py (.*)")
RUN = dict.fromkeys(match[1] for match in map(OF_PYTHON.fullmatch, COMMANDS) if match)


def test_there_are_the_two_commands() -> None:
    install = [command for command in COMMANDS if command.startswith("python3 -m venv ")]
    assert len(install) == 2
    assert install[0].endswith(".venv/bin/python cli.py fit --config configs/quickstart.yaml")
    assert install[1].endswith(".venv/bin/python -m pytest")


def test_all_commands_are_run() -> None:
    others = [command for command in COMMANDS if not OF_PYTHON.fullmatch(command)]
    assert len(others) == 2
    assert others[0].endswith("-m pytest")  # run by .ci/run
    assert others[1] == "tensorboard --logdir lightning_logs"
    assert (Path(sys.executable).parent / "tensorboard").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_shell_takes_an_argument_for_a_pattern(page: Path) -> None:
    lines = [
        line for language, block in FENCED.findall(PAGES[page]) if language == "bash" for line in block.splitlines()
    ]
    lines += re.findall(r"`([^`\n]+)`", FENCED.sub("", PAGES[page]))
    for command in lines:
        if re.match(r"python|pip|pytest|--|\.venv", command):
            assert not re.search(r"[][*?{}~]", re.sub(r'"[^"]*"', "", command)), "zsh refuses what matches no file"


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN, ids=str)
def test_command(
    command: str, clone: Path, shortened: Callable[[list[str]], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)
    main(shortened(shlex.split(command)))
    if "configs/claims" in command:
        assert "## More passes alone" in Path("results/claims.md").read_text()
    if "my_row.yaml" in command:
        assert Path("results/my_row.md").is_file()


def test_python_example(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = [block for language, block in FENCED.findall(README) if language == "python"]
    monkeypatch.chdir(clone)
    short = example.replace('draw="article"', 'source="digits", train_size=60').replace("max_epochs=3", "max_epochs=1")
    assert short != example
    exec(compile(short, "README.md", "exec"), {})


def test_the_readme_s_table_is_that_of_the_results() -> None:
    """`results/article.md` is tested against the raw results."""
    lines = (ROOT / "results/article.md").read_text().split("\n## Rows\n\n")[1].split("\n\n")[0].splitlines()
    header, _, *rows = [line.strip("| ").split(" | ") for line in lines]
    block = README.split("<!-- results -->\n")[1].split("\n<!-- /results -->")[0].splitlines()
    shown = block[0].strip("| ").split(" | ")
    assert {"row", "seeds", "test error %", "95 % of the mean", "article, test %", "verdict"} == set(shown)
    expected = [[dict(zip(header, row, strict=True))[name] for name in shown] for row in rows]
    assert [line.strip("| ").split(" | ") for line in block[2:]] == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", PAGES[page])
    named = re.findall(r"(?<![\w/])(?:tests|configs|benchmarks|docs)/[\w./-]*\w", PAGES[page])
    assert len(links) + len(named) > 1
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_the_readme_leads_to_every_page_and_is_short() -> None:
    assert all(f"(docs/{page.name})" in README for page in PAGES if page.parent.name == "docs")
    assert len(README.splitlines()) <= 200
