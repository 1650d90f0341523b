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
    command.replace("\\\n ", "").replace("\n", " ")
    for page, text in PAGES.items()
    for language, block in FENCED.findall(text)
    for command in re.split(r"(?<!&&)(?<!\\)\n", block)
    if language == "bash" and page.name != OWN_TEST
]
STEPS = [step for command in COMMANDS for step in command.split(" && ")]
OF_PYTHON = re.compile(r"python cli\.py (.*)")
RUN = dict.fromkeys(match[1] for match in map(OF_PYTHON.fullmatch, STEPS) if match)
INSTALL = [
    "python3 -m venv .venv",
    ". .venv/bin/activate",
    "pip install -e .",
    'pip install -e ".[dev,cluster,onnx,search]"',
]


def test_there_are_the_two_commands() -> None:
    first, second = [command.split(" && ") for command in COMMANDS if command.startswith(INSTALL[0])]
    assert first[3] == "python cli.py fit --config configs/quickstart.yaml"
    assert first[4].startswith("python cli.py predict ") and "docs/digit.png" in first[4]
    assert second[3:] == ["python -m pytest"]  # run by .ci/run, which takes it from here


def test_all_commands_are_run() -> None:
    others = [step for step in STEPS if not OF_PYTHON.fullmatch(step) and step not in INSTALL]
    assert others == ["python -m pytest", "tensorboard --logdir lightning_logs"]
    assert (Path(sys.executable).parent / "tensorboard").exists()


def test_no_command_is_cut_off_where_the_readme_is_read() -> None:
    first_screen, _, _ = README.partition("| more | |")
    assert all(len(line) <= 95 for _, block in FENCED.findall(first_screen) for line in block.splitlines())


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
    command: str, clone: Path, shortened: Callable[[list[str]], list[str]], one_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)
    main(shortened(shlex.split(command)))
    if "configs/claims" in command:
        assert "## More passes alone" in Path("results/claims.md").read_text()
    if "my_row.yaml" in command:
        assert "`my_row`" in Path("results/results.md").read_text()  # of YAMLs from two folders
    if "search" in command.split()[:3]:
        assert list(Path("results/search").glob("*_best.yaml"))


def test_python_example(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = [block for language, block in FENCED.findall(README) if language == "python"]
    monkeypatch.chdir(clone)
    short = example.replace('"mnist"', '"digits", train_size=60').replace("max_epochs=3", "max_epochs=1")
    assert short != example
    before = {*clone.iterdir()}
    exec(compile(short, "README.md", "exec"), {})
    assert {*clone.iterdir()} == before


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", PAGES[page]) + re.findall(r'(?:href|src)="([^"]+)"', PAGES[page])
    named = re.findall(r"(?<![\w/])(?:tests|configs|benchmarks|docs)/[\w./-]*\w", PAGES[page])
    assert len(links) + len(named) > 1
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_the_readme_leads_to_every_page_and_is_short() -> None:
    assert all(f"(docs/{page.name})" in README for page in PAGES if page.parent.name == "docs")
    assert len(README.splitlines()) <= 200
