"""constraints.txt: the versions that the tests have passed with, within what the project allows."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("constraints", ROOT / ".ci/constraints.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pinned() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines), "plain names and versions"
    versions = dict(line.split("==") for line in lines)
    assert list(versions) == sorted(versions)
    return versions


def test_every_version_is_one_that_the_project_allows(script: ModuleType) -> None:
    versions = pinned()
    for requirement in script.requirements():
        assert requirement.specifier.contains(versions[requirement.name.lower()]), requirement


def test_their_number_is_the_one_in_the_documents() -> None:
    assert f"`constraints.txt` has the {len(pinned())} versions" in (ROOT / "docs/RELIABILITY.md").read_text()


def test_the_versions_allow_one_another(script: ModuleType) -> None:
    versions = pinned()
    try:
        here = script.installed()
    except Exception as error:
        pytest.skip(f"an extra is not installed: {error}")
    for name in versions.keys() & here.keys():
        for line in script.distribution(name).requires or []:
            requirement = Requirement(line)
            wanted = versions.get(re.sub(r"[-_.]+", "-", requirement.name).lower())
            if Version(here[name]) == Version(versions[name]) and wanted and not requirement.marker:
                assert requirement.specifier.contains(wanted, prereleases=True), f"{name}: {line}"


def test_the_workflow_audits_them_and_runs_what_has_to_pass() -> None:
    workflow = (ROOT / ".github/workflows/ci.yaml").read_text()
    assert "bash .ci/run" in workflow
    assert "pip-audit --requirement constraints.txt" in workflow
