"""Compiled scans as ahead-of-time packages, in a folder of the user's.

A package is keyed by everything it depends on, so that none is ever stale: the traced graph with its constants, shapes
and device, the versions of torch and of the C++ compiler, the processor and the compiler's settings. It is built in a
temporary folder and moved into place, so that runs that build the same one at the same time do not disturb each other.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

FOLDER_VARIABLE = "LECUN_REPRO_CACHE"
SETTINGS = {
    "cpp_wrapper": True,  # without it every update crosses into Python: three times as slow
    "cpp.enable_floating_point_contract_flag": "fast",  # fused multiply-adds
    "assert_indirect_indexing": False,  # the network's indices are its own constants
    "aot_inductor.precompile_headers": False,  # they take longer than they save, and 280 MB of disk
    "compile_threads": 1,  # no pool of compiler processes: it would double the memory
}


class CompileError(RuntimeError):
    """The updates cannot be compiled here; the message says why in one line."""


def compiler() -> str | None:
    """The first line of the C++ compiler's `--version`, or None where there is none that works."""
    command = os.environ.get("CXX", "g++")
    if shutil.which(command) is None:
        return None
    try:
        out = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return out.splitlines()[0] if out else None


def folder() -> Path:
    """Where packages are kept: `$LECUN_REPRO_CACHE`, else `lecun-repro` in the user's cache folder."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lecun-repro"


def load_or_build(scan: torch.nn.Module, carry: Sequence[Tensor], xs: Sequence[Tensor]) -> Callable:
    """A compiled `scan(carry, xs)` whose number of repetitions is free.

    Raises:
        CompileError: no C++ compiler, a folder that cannot be written, or a graph that does not compile.
    """
    if (version := compiler()) is None:
        raise CompileError("there is no working C++ compiler (g++, or what CXX names)")
    path = folder() / f"{key(scan, carry, xs, version)}.pt2"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            build(scan, carry, xs, path)
        return load(path, len(carry))
    except Exception as error:  # whatever the compiler stumbles over, the eager path is there
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CompileError(f"{type(error).__name__}: {reason[0]}") from error


def load(path: Path, carried: int) -> Callable:
    """The package at `path` as `(carry, xs) -> (carry, losses)`.

    By the loader itself: `aoti_load_package` first probes the machine's vector instructions, for most of a second,
    which the package's key has already answered for.
    """
    # It unpacks the code into a temporary folder, and no longer needs that once the code is loaded.
    with _scratch(path.parent) as temporary, mock.patch.dict(os.environ, TMPDIR=temporary):
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)

    def run(carry: Sequence[Tensor], xs: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        outputs = loader.boxed_run([*carry, *xs])
        return outputs[:carried], outputs[carried]

    return run


def build(scan: torch.nn.Module, carry: Sequence[Tensor], xs: Sequence[Tensor], path: Path) -> None:
    """Compiles `scan` into the package `path`."""
    repetitions = torch.export.Dim("repetitions", min=1, max=2**31)
    # Two repetitions are enough of an example, and keep the export from tracing large tensors.
    example = tuple(x[:1].expand(2, *x.shape[1:]).contiguous() for x in xs)
    with (
        _scratch(path.parent) as temporary,
        mock.patch.dict(os.environ, TMPDIR=temporary),  # the compiler's
        _inductor_beside(path.parent),
        _quiet(),
    ):
        program = torch.export.export(
            scan, (list(carry), example), dynamic_shapes=([None] * len(carry), tuple({0: repetitions} for _ in xs))
        )
        built = Path(temporary) / path.name
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(built), inductor_configs=dict(SETTINGS)
        )  # it writes into them
        os.replace(built, path)


def key(scan: torch.nn.Module, carry: Sequence[Tensor], xs: Sequence[Tensor], compiler_version: str) -> str:
    """The name of the package: a digest of all that it depends on."""
    digest = hashlib.sha256()
    graph: Any = scan.update
    facts = [graph.code, SETTINGS, torch.__version__, torch.version.cuda, compiler_version, platform.python_version()]
    facts += [torch.backends.cpu.get_cpu_capability(), _processor(), platform.platform()]
    facts += [(tuple(t.shape), t.stride(), t.dtype, t.device.type) for t in carry]
    facts += [(tuple(x.shape[1:]), x.dtype, x.device.type) for x in xs]
    if any(t.device.type == "cuda" for t in carry):
        facts.append(torch.cuda.get_device_name())
    digest.update(repr(facts).encode())
    for name, constant in sorted(vars(graph).get("_buffers", {}).items()):
        digest.update(name.encode() + repr((constant.dtype, constant.shape)).encode())
        digest.update(constant.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _processor() -> str:
    """What code may be generated for: the processor's model and features, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _scratch(beside: Path) -> tempfile.TemporaryDirectory:
    """A temporary folder beside the packages, or wherever the system has one, where those are only to be read."""
    writable = os.access(beside, os.W_OK)
    return tempfile.TemporaryDirectory(dir=beside if writable else None, prefix=".building-")


@contextmanager
def _inductor_beside(packages: Path):
    """Inductor keeps what it caches beside the packages, unless the user has named a place for it.

    By default that is in the system's folder for temporary files, which may be full or small, and is shared.
    """
    place = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")
    if place in ("", default_cache_dir()):  # torch sets the variable, too
        place = str(packages / "inductor")
    os.makedirs(place, exist_ok=True)
    # Some of it goes to `tempfile`'s folder, whatever the variable says, and is looked for there again.
    before, tempfile.tempdir = tempfile.tempdir, place
    try:
        with mock.patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=place):
            yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _quiet():
    """torch's own deprecations inside export and inductor are not the user's concern."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
