"""What all benchmarks print and put into `benchmarks/README.md`: the machine, a table, a section's contents."""

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import lightning
import torch
from torch._inductor import config as inductor_config

README = Path(__file__).with_name("README.md")


def machine() -> str:
    """The machine and the versions, in a sentence without names or paths."""
    cpu = platform.processor() or platform.machine()
    memory = ""
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
        kilobytes = int(Path("/proc/meminfo").read_text().split()[1])
        memory = f", {kilobytes / 2**20:.0f} GiB of memory"
    compiler = subprocess.run([os.environ.get("CXX", "g++"), "-dumpfullversion"], capture_output=True, text=True).stdout
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, Lightning {lightning.__version__}"
    return (
        f"Machine: {cpu}, {os.cpu_count()} cores{memory}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{platform.system()}. {versions}, g++ {compiler.strip()}. "
        f"Load average when the run began: {os.getloadavg()[0]:.1f}."
    )


def narrow_if_asked() -> str:
    """With `ATEN_CPU_CAPABILITY=avx2` compiles for 256 bits as well; returns what the sections' names then end in."""
    if torch.backends.cpu.get_cpu_capability() != "AVX2":
        return ""
    inductor_config.cpp.simdlen = 256
    return "_avx2"


def table(heads: list[str], rows: list[list[str]], left: tuple[int, ...] = (0,)) -> str:
    """A Markdown table that is also legible as text; the columns `left` are aligned left."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]

    def line(cells: list[str]) -> str:
        padded = (c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)))
        return f"| {' | '.join(padded)} |"

    rule = ["-" * w if i in left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(heads), line(rule), *map(line, rows)])


def publish(section: str, text: str, content: Any, json_file: Path | None, into_readme: bool) -> None:
    """Prints a benchmark's result, and writes it where the command line has asked for it."""
    print(text)
    if json_file:
        json_file.write_text(json.dumps(content, indent=1) + "\n")
    if into_readme:
        fill(section, text)


def fill(section: str, text: str) -> None:
    """Puts `text` between the comments that begin and end a section of the README."""
    first, last = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before, rest = README.read_text().split(first, 1)
    after = rest.split(last, 1)[1]
    README.write_text(f"{before}{first}\n\n{text}\n\n{last}{after}")
