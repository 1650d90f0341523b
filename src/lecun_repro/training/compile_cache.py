"""Compiled scans as ahead-of-time packages, in a folder of the user's.

A package is keyed by everything it depends on, so that none is ever stale: the traced graph with its constants, shapes
and device, the versions of torch and of the C++ compiler, the processor, the vector instructions that inductor has
chosen, the number of threads and inductor's settings.

It is native code. So it is loaded only from a folder and a file that are the user's own and that nobody else may write,
and only when its digest is right; the bytes that are loaded are those that were verified. It is built in a temporary
folder that holds all that inductor writes, and moved into place whole: a build that is killed leaves nothing that
another would use, and two that build the same one at the same time do not disturb each other.
"""

import hashlib
import inspect
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._inductor import config as inductor_config
from torch._inductor.cpu_vec_isa import VecISA, pick_vec_isa
from tqdm import tqdm

from lecun_repro.files import write_atomically
from lecun_repro.training.private_files import NotPrivate, check_private, read, sweep, temporary_prefix, write

FOLDER_VARIABLE = "LECUN_REPRO_CACHE"
SETTINGS = {
    "cpp_wrapper": True,  # without it every update crosses into Python: three times as slow
    "cpp.enable_floating_point_contract_flag": "fast",  # fused multiply-adds
    "assert_indirect_indexing": False,  # the network's indices are its own constants
    "aot_inductor.precompile_headers": False,  # they take longer than they save, and 280 MB of disk
    "compile_threads": 1,  # no pool of compiler processes: it would double the memory
}

# Of updates whose examples are small: they then spend up to half their time in allocating intermediate tensors.
KEPT_BELOW = 2**22  # bytes
KEEPING = {"allow_buffer_reuse": False, "inplace_buffers": False}  # no output is an intermediate tensor's memory


class CompileError(RuntimeError):
    """The updates cannot be compiled here; the message says why in one line."""


def compiler() -> str | None:
    """The first line of the C++ compiler's `--version`, or None where there is none that works.

    As inductor chooses it: what CXX names, else g++, on macOS clang++, on Windows cl (which takes no such flag: updates
    are then not compiled).
    """
    command = os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))
    try:
        out = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return out.splitlines()[0] if out else None


def folder() -> Path:
    """Where packages are kept: `$LECUN_REPRO_CACHE`, else `lecun-repro` in the user's cache folder.

    Raises:
        CompileError: the user has no home, and names no folder.
    """
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).absolute()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "lecun-repro"
    except RuntimeError:
        raise CompileError(f"there is no home folder to keep the result in; {FOLDER_VARIABLE} may name one") from None


def load_or_build(
    scan: torch.nn.Module, carry: Sequence[Tensor], xs: Sequence[Tensor], unless_built: str = ""
) -> Callable:
    """A compiled `scan(carry, xs)` whose number of repetitions is free.

    Raises:
        CompileError: `unless_built`, if that says why none is to be built now, and none was before; no C++ compiler,
            a folder that cannot be written or that others may write, or a graph that does not compile.
    """
    if (version := compiler()) is None:
        raise CompileError("there is no working C++ compiler (g++, on macOS clang++, or what CXX names)")
    try:
        packages = folder()
        packages.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(packages)
        with _scratch(packages) as scratch, _probes_kept(packages, version):
            path = packages / f"{key(scan, carry, xs, f'{version}, {_vector_instructions()}')}.pt2"
            if (package := read(path)) is None:
                if unless_built:
                    raise CompileError(unless_built)
                if not os.access(packages, os.W_OK):
                    raise CompileError(f"{packages} cannot be written")
                tqdm.write(f"compiling the updates, some 20 s on an idle core; kept in {packages} for fits alike")
                package = build(scan, carry, xs, scratch)
                write(path, package)
            return load(package, scratch, len(carry))
    except CompileError:
        raise
    except NotPrivate as error:
        raise CompileError(str(error)) from None
    except Exception as error:  # whatever the compiler stumbles over, the eager path is there
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CompileError(f"{type(error).__name__}: {reason[0]}") from error


def load(package: bytes, scratch: Path, carried: int) -> Callable:
    """A package as `(carry, xs) -> (carry, losses)`.

    By the loader itself: `aoti_load_package` first probes the machine's vector instructions, for most of a second,
    which the package's key has already answered for. The loader no longer needs `scratch` once the code is loaded.
    """
    path = scratch / "verified.pt2"
    write_atomically(path, package)
    loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)

    def run(carry: Sequence[Tensor], xs: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        outputs = loader.boxed_run([*carry, *xs])
        return outputs[:carried], outputs[carried]

    return run


def build(scan: torch.nn.Module, carry: Sequence[Tensor], xs: Sequence[Tensor], scratch: Path) -> bytes:
    """`scan`, compiled, as a package."""
    repetitions = torch.export.Dim("repetitions", min=1, max=2**31)
    small = sum(x[0].nbytes for x in xs) < KEPT_BELOW and not any(x.is_cuda for x in xs)
    # Two repetitions are enough of an example, and keep the export from tracing large tensors.
    example = tuple(x[:1].expand(2, *x.shape[1:]).contiguous() for x in xs)
    path = scratch / "built.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations inside export and inductor are not the user's
        program = torch.export.export(
            scan, (list(carry), example), dynamic_shapes=([None] * len(carry), tuple({0: repetitions} for _ in xs))
        )
        with _buffers_kept() if small else nullcontext():
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(path), inductor_configs=SETTINGS | (KEEPING if small else {})
            )
    return path.read_bytes()


@contextmanager
def _buffers_kept() -> Iterator[None]:
    """Has the generated code make the intermediate tensors of a repetition, and views of them, once and not in each.

    They belong to the thread and are never freed, as those of the next call are the same. What a repetition gives to
    the next is no intermediate tensor, and made anew; what it is given it reads where it is, by no handle of its own.
    """
    from torch._inductor.codegen.common import DeferredLine  # all of them take a second
    from torch._inductor.codegen.cpp_wrapper_cpu import CppWrapperCpu
    from torch._inductor.graph import SubgraphLowering
    from torch._inductor.ir import ReinterpretView, ShapeAsConstantBuffer

    allocate, free = CppWrapperCpu.make_allocation, CppWrapperCpu.make_buffer_free
    view, enter = CppWrapperCpu.codegen_deferred_allocation, CppWrapperCpu.codegen_subgraph_prefix
    leave = CppWrapperCpu.codegen_subgraph_suffix
    kept: set[str] = set()
    given: dict[str, str] = {}  # in the repetition's words, and outside of it

    def is_tensor(output: Any) -> bool:
        return not isinstance(output, ShapeAsConstantBuffer)

    def allocate_once(self: Any, name: str, *args: Any, **kwargs: Any) -> str:
        declaration = allocate(self, name, *args, **kwargs)
        graph: Any = self.get_codegened_graph()
        if not isinstance(graph, SubgraphLowering) or name in graph.get_output_names():
            return declaration
        kept.add(name)
        lines = self.wrapper_call._lines
        lines += [
            f"static thread_local RAIIAtenTensorHandle* {name}_kept = nullptr;",
            f"if ({name}_kept == nullptr) {{ {lines.pop()} {name}_kept = new RAIIAtenTensorHandle({name}_handle); }}",
        ]
        return f"RAIIAtenTensorHandle& {name} = *{name}_kept;"

    def view_once(self: Any, name: str, of: Any) -> None:
        if of.get_name() not in kept:
            return view(self, name, of)
        kept.add(name)
        made = f"new RAIIAtenTensorHandle({of.codegen_reference()})"
        once = f"static thread_local RAIIAtenTensorHandle* {name}_kept = {made};"
        self.writeline(DeferredLine(name, f"{once} RAIIAtenTensorHandle& {name} = *{name}_kept;"))

    def free_others(self: Any, buffer: Any) -> str:
        return "" if buffer.get_name() in kept | given.keys() else free(self, buffer)

    def enter_by_reference(self: Any, subgraph: Any, outer: Sequence[str], results: Sequence[str]) -> None:
        inputs = dict(zip(subgraph.graph.graph_inputs, outer, strict=True))
        passed = [(o, result) for o, result in zip(subgraph.graph.graph_outputs, results, strict=True) if is_tensor(o)]
        passed = [(o, result) for o, result in passed if o.get_name() in inputs]
        stays = all(inputs[o.get_name()] == result and not isinstance(o, ReinterpretView) for o, result in passed)
        if not stays or not all(map(str.isidentifier, outer)):  # what it gives to another is read after it has changed
            return enter(self, subgraph, outer, results)
        given.update(inputs)
        for name, outside in inputs.items():
            self.writeline(f"auto& {name} = {outside};")

    def leave_what_is_there(self: Any, subgraph: Any, outer: Sequence[str], results: Sequence[str]) -> None:
        pairs = list(zip(subgraph.graph.graph_outputs, results, strict=True))
        changed = [(o, result) for o, result in pairs if not is_tensor(o) or given.get(o.get_name()) != result]
        with mock.patch.object(subgraph.graph, "graph_outputs", [o for o, _ in changed]):
            leave(self, subgraph, outer, [result for _, result in changed])

    with (
        mock.patch.object(CppWrapperCpu, "make_allocation", allocate_once),
        mock.patch.object(CppWrapperCpu, "codegen_deferred_allocation", view_once),
        mock.patch.object(CppWrapperCpu, "make_buffer_free", free_others),
        mock.patch.object(CppWrapperCpu, "codegen_subgraph_prefix", enter_by_reference),
        mock.patch.object(CppWrapperCpu, "codegen_subgraph_suffix", leave_what_is_there),
    ):
        yield


def key(scan: torch.nn.Module, carry: Sequence[Tensor], xs: Sequence[Tensor], toolchain: str) -> str:
    """The name of the package: a digest of all that it depends on. The toolchain is the compiler and its target."""
    digest = hashlib.sha256()
    graph: Any = scan.update
    facts = [graph.code, SETTINGS, KEEPING, KEPT_BELOW, inspect.getsource(_buffers_kept)]
    facts += [toolchain, platform.python_version()]
    facts += [torch.__version__, torch.version.cuda]
    facts += [torch.backends.cpu.get_cpu_capability(), _processor(), platform.system(), platform.libc_ver()]
    facts += [torch.get_num_threads(), sorted(_inductor_settings().items())]
    facts += [(tuple(t.shape), t.stride(), t.dtype, t.device.type) for t in carry]
    facts += [(tuple(x.shape[1:]), x.dtype, x.device.type) for x in xs]
    if any(t.device.type == "cuda" for t in carry):
        facts.append(torch.cuda.get_device_name())
    digest.update(repr(facts).encode())
    for name, constant in sorted(vars(graph).get("_buffers", {}).items()):
        digest.update(name.encode() + repr((constant.dtype, constant.shape)).encode())
        digest.update(constant.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _inductor_settings() -> dict[str, Any]:
    """Those that inductor's own cache depends on, but for its note of the target, which a build writes there."""
    return {k: v for k, v in inductor_config.save_config_portable().items() if k != "aot_inductor.metadata"}


def _processor() -> str:
    """What code may be generated for: the processor's model and features, from Linux's /proc, else from torch."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {sorted(torch.cpu.get_capabilities().items())}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _vector_instructions() -> str:
    """Those that inductor generates code for here; none, if its probe of them has failed."""
    chosen = pick_vec_isa()
    return f"{chosen.bit_width()} bits: {chosen} {chosen.build_arch_flags()}"


@contextmanager
def _probes_kept(packages: Path, version: str) -> Iterator[None]:
    """Inductor's probes that passed leave an empty file here, and are not made again; those of narrower vectors never.

    A probe compiles a program with certain vector instructions and runs it, for a second or two. Inductor keeps the
    program: one that is cut short, as the process was killed, is to it a processor without those instructions. It goes
    from the widest instructions to the narrowest with one program, and makes all probes to use one; what has wide ones
    has the narrower.
    """
    check_build = VecISA.check_build
    programs: set[str] = set()  # that passed with the widest

    def remembered(isa: VecISA, code: str) -> bool:
        if code in programs:
            return True
        facts = code, isa.build_arch_flags(), version, torch.__version__, _processor()
        mark = packages / f"probed-{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}"
        passed = mark.exists() or check_build(isa, code)
        if passed:
            programs.add(code)
            with suppress(OSError):  # of a folder that is only to be read
                mark.touch(mode=0o600)
        return passed

    with mock.patch.object(VecISA, "check_build", remembered):
        yield


@contextmanager
def _scratch(packages: Path) -> Iterator[Path]:
    """A folder for all that inductor, the compiler and the loader write, gone afterwards.

    It lies beside the packages, because the system's folder for temporary files may be full or small; but there where
    the packages are only to be read, or where the path has a space, say, which inductor does not quote.
    """
    plain = shlex.quote(str(packages)) == str(packages)
    beside = packages if plain and os.access(packages, os.W_OK) else Path(tempfile.gettempdir())
    sweep(beside)
    with (
        tempfile.TemporaryDirectory(dir=beside, prefix=temporary_prefix(), ignore_cleanup_errors=True) as scratch,
        mock.patch.dict(os.environ, TMPDIR=scratch, TORCHINDUCTOR_CACHE_DIR=scratch),
        mock.patch.object(tempfile, "tempdir", scratch),  # some goes there, whatever the variables say
        _torch_quoted(),
    ):
        yield Path(scratch)


def _torch_quoted() -> Any:
    """Has inductor quote the one path that it does not: that of torch's libraries, in a folder with a space, say."""
    libraries = str(Path(torch.__file__).parent / "lib")
    if os.name != "posix" or shlex.quote(libraries) == libraries:
        return nullcontext()
    return mock.patch("torch.utils.cpp_extension.TORCH_LIB_PATH", shlex.quote(libraries))
