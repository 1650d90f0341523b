"""Compiled packages, of an update so small that building one takes a few seconds."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from lecun_repro.training import compile_cache as packages
from lecun_repro.training.compile_cache import CompileError, compiler, key, load_or_build
from lecun_repro.training.updates import Scan

SETTINGS = dict(packages.SETTINGS)  # as they are before anything is compiled
needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no working C++ compiler")


def small(factors: Tensor | None = None, n: int = 3) -> tuple[Scan, list[Tensor], tuple[Tensor, ...]]:
    """A sum that runs on: carry + factors * x."""
    factors = torch.tensor([2.0]) if factors is None else factors

    def update(carry: list[Tensor], xs: tuple[Tensor, ...]):
        total = carry[0] + factors * xs[0]
        return [total], total.sum()

    carry, xs = [torch.zeros(n)], (torch.ones(4, n),)
    return Scan(make_fx(update)(carry, (xs[0][0],))), carry, xs


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of packages."""
    monkeypatch.setenv("LECUN_REPRO_CACHE", str(tmp_path / "packages"))
    return tmp_path / "packages"


def assert_refused(reason: str) -> None:
    with pytest.raises(CompileError, match=reason) as caught:
        load_or_build(*small())
    assert "\n" not in str(caught.value)


# The name of a package


def test_the_key_is_the_same_for_the_same() -> None:
    assert key(*small(), "g++ 1") == key(*small(), "g++ 1")


def test_the_number_of_repetitions_is_free() -> None:
    scan, carry, (x,) = small()
    assert key(scan, carry, (x,), "g++ 1") == key(scan, carry, (x.repeat(5, 1),), "g++ 1")


def test_the_key_changes_with_all_that_a_package_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    scan, carry, xs = small()
    keys = [
        key(scan, carry, xs, "g++ 1"),
        key(scan, carry, xs, "g++ 2"),
        key(*small(factors=torch.tensor([3.0])), "g++ 1"),  # a constant of the graph
        key(*small(n=4), "g++ 1"),
        key(scan, [carry[0].double()], xs, "g++ 1"),
        key(scan, carry, (xs[0].double(),), "g++ 1"),
        key(scan, [torch.zeros(6)[::2]], xs, "g++ 1"),  # its strides
    ]
    for module, name, value in (
        (torch, "__version__", "2.13.99"),
        (packages, "SETTINGS", packages.SETTINGS | {"cpp_wrapper": False}),
        (packages, "_processor", lambda: "another processor"),
        (torch.backends.cpu, "get_cpu_capability", lambda: "another"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            keys.append(key(scan, carry, xs, "g++ 1"))
    assert len(set(keys)) == len(keys)


def test_the_folder_is_the_variables_or_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECUN_REPRO_CACHE", "/given")
    assert packages.folder() == Path("/given")
    monkeypatch.delenv("LECUN_REPRO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert packages.folder() == Path("/xdg/lecun-repro")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert packages.folder() == Path("/home/someone/.cache/lecun-repro")


# Building


@needs_compiler
def test_a_package_computes_what_its_graph_does_and_is_used_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, carry, xs = small()
    carry_out, losses = load_or_build(scan, carry, xs)(carry, xs)
    torch.testing.assert_close((carry_out[0], losses), (torch.full((3,), 8.0), 6.0 * torch.arange(1, 5)))
    [package] = cache.iterdir()
    assert package.suffix == ".pt2"
    assert packages.SETTINGS == SETTINGS  # or the next key would be another

    monkeypatch.setattr(packages, "build", lambda *arguments: pytest.fail("built again"))
    longer = (torch.ones(9, 3),)
    assert load_or_build(scan, carry, longer)(carry, longer)[1].shape == (9,)
    one = (torch.ones(1, 3),)
    assert load_or_build(scan, carry, one)(carry, one)[1].shape == (1,)


BUILD = """
import sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_compile_cache import load_or_build, small
scan, carry, xs = small(n=5)  # another than in this process, to be built in full
sys.stdin.readline()  # both are ready
print(load_or_build(scan, carry, xs)(carry, xs)[1].tolist())
"""


def start(cache: Path, **environment: str) -> subprocess.Popen:
    """A process that builds the small package once it is told to."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", BUILD.format(tests=str(Path(__file__).parent))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "LECUN_REPRO_CACHE": str(cache), **environment},
    )  # fmt: skip


@needs_compiler
def test_two_processes_that_build_the_same_do_not_disturb_each_other(cache: Path) -> None:
    # They share inductor's own folder as well, as two runs of one user do.
    processes = [start(cache) for _ in range(2)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert out == "[10.0, 20.0, 30.0, 40.0]\n", err
    assert [path.suffix for path in cache.iterdir()] == [".pt2"]


FULL = """
import ctypes, os, sys
folder, libc = {folder!r}, ctypes.CDLL(None)
private = libc.unshare(0x00020000) == 0 and libc.mount(b"none", b"/", None, 0x44000, None) == 0
if not private or libc.mount(b"none", folder.encode(), b"tmpfs", 0, b"size=4096"):
    sys.exit(77)
open(folder + "/fill", "wb").write(bytes(4096))
os.environ["TMPDIR"] = folder
"""


@needs_compiler
def test_neither_building_nor_loading_needs_room_for_temporary_files(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    script = FULL.format(folder=str(tmp_path / "full")) + BUILD.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-W", "ignore", "-c", script.replace("n=5", "n=6")]
    environment = os.environ | {"LECUN_REPRO_CACHE": str(cache)}
    done = subprocess.run(command, input="\n", capture_output=True, text=True, env=environment, timeout=300)
    if done.returncode == 77:
        pytest.skip("a disk of one's own takes privileges")
    assert done.stdout == "[12.0, 24.0, 36.0, 48.0]\n", done.stderr
    assert [path.suffix for path in cache.iterdir()] == [".pt2"]  # what was unpacked is gone


@needs_compiler
def test_a_compiler_that_fails_leaves_one_line_and_no_file(cache: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken-g++"
    real = shutil.which(os.environ.get("CXX", "g++"))
    # It tells its version and what it can do, but compiles nothing.
    broken.write_text(f'#!/bin/sh\ncase "$*" in *--version*) exec {real} "$@";; esac\necho no such luck >&2\nexit 1\n')
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    process = start(cache, CXX=str(broken), TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "inductor"))
    out, err = process.communicate("\n", timeout=300)
    assert not out
    assert err.splitlines()[-1].startswith("lecun_repro.training.compile_cache.CompileError: ")
    assert list(cache.iterdir()) == []


# What cannot be built


def test_without_a_compiler(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    assert compiler() is None
    assert_refused("there is no working C\\+\\+ compiler")
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler() is None
    assert_refused("there is no working C\\+\\+ compiler")
    assert not cache.exists()


def test_a_compiler_that_does_not_start_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "g++"
    for content in ("#!/bin/sh\nexit 3\n", "#!/no/such/shell\n", "#!/bin/sh\n"):
        fake.write_text(content)
        fake.chmod(0o755)
        monkeypatch.setenv("CXX", str(fake))
        assert compiler() is None


@pytest.fixture
def some_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "compiler", lambda: "g++ 1")


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, some_compiler) -> None:
    (tmp_path / "file").write_text("in the way")  # of which even root cannot make a folder
    monkeypatch.setenv("LECUN_REPRO_CACHE", str(tmp_path / "file" / "packages"))
    assert_refused("Error: .*file")


@pytest.mark.parametrize("fault", [RuntimeError("first\nsecond"), OSError(28, "No space left on device"), KeyError()])
def test_a_build_that_fails_leaves_one_line_and_no_file(
    fault: Exception, cache: Path, monkeypatch: pytest.MonkeyPatch, some_compiler
) -> None:
    def half(program: object, package_path: str, inductor_configs: dict) -> None:
        Path(package_path).write_bytes(b"half of a package")
        raise fault

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", half)
    assert_refused(type(fault).__name__)
    assert list(cache.iterdir()) == []


def test_a_damaged_package_is_refused(cache: Path, some_compiler) -> None:
    cache.mkdir()
    (cache / f"{key(*small(), 'g++ 1')}.pt2").write_bytes(b"not a package")
    assert_refused("Error: ")
