"""Beside the packages of `src/` the wheel has `configs/`, as `lecun_repro/configs`. All else: pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages("src"), "lecun_repro.configs"],
    package_dir={"": "src", "lecun_repro.configs": "configs"},
)
