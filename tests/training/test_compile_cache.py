"""Compiled packages, of an update so small that building one takes a few seconds."""

import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_updates import needs_compiler
from torch._inductor import config as inductor_config
from torch._inductor.cpu_vec_isa import VecISA, pick_vec_isa

from lecun_repro.training import compile_cache as packages
from lecun_repro.training import private_files
from lecun_repro.training.compile_cache import CompileError, compiler, key, load_or_build

SOAK = str(Path(__file__).parents[1] / "soak")
sys.path.insert(0, SOAK)

import damaged_packages  # noqa: E402
from damaged_packages import small  # noqa: E402

SETTINGS = dict(packages.SETTINGS)  # as they are before anything is compiled


@pytest.fixture(scope="session")
def probed(compile_cache: Path) -> Path:
    """A cache that knows this machine's vector instructions, which take ten seconds to find out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECUN_REPRO_CACHE", str(compile_cache))
        compile_cache.mkdir(mode=0o700, exist_ok=True)
        with packages._scratch(compile_cache), packages._probes_kept(compile_cache, str(compiler())):
            packages._vector_instructions()
    return compile_cache


@pytest.fixture
def cache(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without packages, whose path has a space; only tests that compile have it know the machine's vectors."""
    folder = tmp_path / "some packages"
    monkeypatch.setenv("LECUN_REPRO_CACHE", str(folder))
    folder.mkdir(mode=0o700)
    if request.node.get_closest_marker("slow"):
        for mark in request.getfixturevalue("probed").glob("probed-*"):
            shutil.copy(mark, folder)
    else:
        monkeypatch.setattr(packages, "_vector_instructions", lambda: "256 bits")
    return folder


def kept(cache: Path) -> list[str]:
    """Kinds of what lies in a cache, the marks of inductor's probes aside."""
    return [path.suffix or path.name for path in cache.iterdir() if not path.name.startswith("probed-")]


@pytest.fixture
def handed_out(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """No compiler: what is built and what is loaded are plain bytes. Those that were loaded."""
    loaded: list[bytes] = []
    monkeypatch.setattr(packages, "compiler", lambda: "g++ 1")
    monkeypatch.setattr(packages, "build", lambda *arguments: b"a package")
    monkeypatch.setattr(packages, "load", lambda package, *arguments: loaded.append(package))
    return loaded


def assert_refused(reason: str) -> None:
    with pytest.raises(CompileError, match=reason) as caught:
        load_or_build(*small())
    assert "\n" not in str(caught.value)


# What a processor can do


class Vectors(VecISA):
    """Some vector instructions."""

    def __init__(self, name: str) -> None:
        self._arch_flags = name


def test_vectors_are_probed_from_the_widest_until_one_passes_and_not_again(cache: Path, monkeypatch) -> None:
    made: list[tuple[str, str]] = []

    def check_build(isa: Vectors, code: str) -> bool:
        made.append((isa.build_arch_flags(), code))
        return isa.build_arch_flags() != "tiles"

    monkeypatch.setattr(VecISA, "check_build", check_build)
    names = ("tiles", "wide", "narrow")
    for _ in range(2):
        with packages._probes_kept(cache, "g++ 1"):
            assert [Vectors(name).check_build("sum") for name in names] == [False, True, True]
            assert Vectors("wide").check_build("dot")
    assert made == [("tiles", "sum"), ("wide", "sum"), ("wide", "dot"), ("tiles", "sum")]


# The name of a package


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
        (torch, "get_num_threads", lambda: 99),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            keys.append(key(scan, carry, xs, "g++ 1"))
    with inductor_config.patch("cpp.enable_unsafe_math_opt_flag", True):
        keys.append(key(scan, carry, xs, "g++ 1"))
    assert len(set(keys)) == len(keys)


def test_the_key_is_not_changed_by_what_a_package_does_not_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    scan, carry, (x,) = small()
    before = key(scan, carry, (x,), "g++ 1")
    assert key(scan, carry, (x.repeat(5, 1),), "g++ 1") == before  # the number of repetitions is free
    for name in ("HOME", "TMPDIR", "TORCHINDUCTOR_CACHE_DIR", "LECUN_REPRO_CACHE"):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setattr(platform, "platform", lambda: "another kernel")
    with inductor_config.patch("aot_inductor.metadata", {"what": "a build notes"}):
        assert key(*small(), "g++ 1") == before


def test_where_there_is_no_proc_the_processor_is_what_torch_knows_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", absent)
    assert platform.machine() in packages._processor()


def test_the_folder_is_the_variables_or_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECUN_REPRO_CACHE", "/given")
    assert packages.folder() == Path("/given")
    monkeypatch.delenv("LECUN_REPRO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert packages.folder() == Path("/xdg/lecun-repro")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert packages.folder() == Path("/home/someone/.cache/lecun-repro")
    monkeypatch.delenv("HOME")
    pwd = pytest.importorskip("pwd")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # nor does the system know one
    with pytest.raises(CompileError, match=r"there is no home folder.*LECUN_REPRO_CACHE"):
        packages.folder()


# Building


@pytest.mark.slow
@needs_compiler
def test_a_package_computes_what_its_graph_does_and_is_used_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, carry, xs = small()
    run = load_or_build(scan, carry, xs)
    carry_out, losses = run(carry, xs)
    run([torch.full((3,), 100.0)], (torch.full((7, 3), 9.0),))  # in the memory that the first call has used
    torch.testing.assert_close((carry_out[0], losses), (torch.full((3,), 8.0), 6.0 * torch.arange(1, 5)))
    assert kept(cache) == [".pt2"]
    assert packages.SETTINGS == SETTINGS  # or the next key would be another

    monkeypatch.setattr(packages, "build", lambda *arguments: pytest.fail("built again"))
    longer = (torch.ones(9, 3),)
    assert load_or_build(scan, carry, longer)(carry, longer)[1].shape == (9,)
    one = (torch.ones(1, 3),)
    assert load_or_build(scan, carry, one)(carry, one)[1].shape == (1,)


BUILD = """
import sys
sys.path.insert(0, {soak!r})
import torch
torch.set_num_threads(1)
from damaged_packages import small
from lecun_repro.training.compile_cache import load_or_build
scan, carry, xs = small(n=5)  # another than in this process, to be built in full
sys.stdin.readline()  # both are ready
print(load_or_build(scan, carry, xs)(carry, xs)[1].tolist())
from torch._inductor.cpu_vec_isa import pick_vec_isa
print(pick_vec_isa())
"""


def start(cache: Path, **environment: str) -> subprocess.Popen:
    """A process that builds the small package once it is told to."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", BUILD.format(soak=SOAK)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "LECUN_REPRO_CACHE": str(cache), **environment},
    )  # fmt: skip


def test_two_that_build_the_same_do_not_disturb_each_other(
    cache: Path, handed_out: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    built_in: list[str | None] = []

    def build(*arguments: object) -> bytes:
        built_in.append(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        if len(built_in) == 1:  # in the midst of which another begins and ends
            load_or_build(*small())
        return b"a package"

    monkeypatch.setattr(packages, "build", build)
    load_or_build(*small())
    assert len(set(built_in)) == 2
    assert len(handed_out) == 2 and kept(cache) == [".pt2"]


FULL = """
import ctypes, os, sys
folder, libc = {folder!r}, ctypes.CDLL(None)
private = libc.unshare(0x00020000) == 0 and libc.mount(b"none", b"/", None, 0x44000, None) == 0
if not private or libc.mount(b"none", folder.encode(), b"tmpfs", 0, b"size=4096"):
    sys.exit(77)
open(folder + "/fill", "wb").write(bytes(4096))
os.environ["TMPDIR"] = folder
"""


@pytest.mark.slow
@needs_compiler
def test_neither_building_nor_loading_needs_room_for_temporary_files(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    cache = cache.rename(tmp_path / "packages")  # with a space, the system's folder would be needed
    script = FULL.format(folder=str(tmp_path / "full")) + BUILD.format(soak=SOAK)
    command = [sys.executable, "-W", "ignore", "-c", script.replace("n=5", "n=6")]
    environment = os.environ | {"LECUN_REPRO_CACHE": str(cache)}
    done = subprocess.run(command, input="\n", capture_output=True, text=True, env=environment, timeout=300)
    if done.returncode == 77:
        pytest.skip("a disk of one's own takes privileges")
    assert "\n[12.0, 24.0, 36.0, 48.0]\n" in done.stdout, done.stderr
    assert kept(cache) == [".pt2"]  # what was unpacked is gone


@pytest.mark.slow
@needs_compiler
def test_a_compiler_that_fails_leaves_one_line_and_no_file(cache: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken-g++"
    real = shutil.which(os.environ.get("CXX", "g++"))
    # It tells its version and what it can do, but compiles nothing.
    broken.write_text(f'#!/bin/sh\ncase "$*" in *--version*) exec {real} "$@";; esac\necho no such luck >&2\nexit 1\n')
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    process = start(cache, CXX=str(broken))
    out, err = process.communicate("\n", timeout=300)
    assert re.fullmatch("compiling the updates, .*\n", out)
    assert err.splitlines()[-1].startswith("lecun_repro.training.compile_cache.CompileError: ")
    assert kept(cache) == []


# What cannot be built


def test_without_a_compiler(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    assert compiler() is None
    assert_refused("there is no working C\\+\\+ compiler")
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler() is None
    assert_refused("there is no working C\\+\\+ compiler")
    assert kept(cache) == []


@pytest.mark.parametrize("system, name", [("linux", "g++"), ("darwin", "clang++"), ("win32", "cl")])
def test_each_system_has_its_compiler(system: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(packages.sys, "platform", system)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler() is None
    fake = tmp_path / name
    fake.write_text(f"#!/bin/sh\necho {name} 1\n")
    fake.chmod(0o755)
    assert compiler() == f"{name} 1"


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
    assert kept(cache) == []


def test_a_folder_that_is_only_to_be_read_is_not_built_for(cache: Path, handed_out: list, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != cache)
    assert_refused(f"^{cache} cannot be written")


# What killed builds leave


KILLER = """#!/bin/sh
[ -e {armed} ] || exec {real} "$@"
case "$*" in *--version*|*-v) exec {real} "$@";; esac
while [ $# -gt 1 ]; do [ "$1" = -o ] && : > "$2"; shift; done
kill -9 $PPID
"""


@needs_compiler
@pytest.mark.slow
def test_a_build_killed_in_its_probe_of_vector_instructions_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    # By a torch that lies in a folder with a space, which is none of the faults either.
    (tmp_path / "with space").symlink_to(Path(torch.__file__).parents[1])
    path = f"{tmp_path / 'with space'}:{os.environ.get('PYTHONPATH', '')}"
    cache = cache.rename(tmp_path / "packages")
    for mark in cache.iterdir():
        mark.unlink()
    killer, armed = tmp_path / "killer", tmp_path / "armed"
    killer.write_text(KILLER.format(real=shutil.which(os.environ.get("CXX", "g++")), armed=armed))
    killer.chmod(0o755)
    armed.touch()
    process = start(cache, CXX=str(killer), PYTHONPATH=path)
    process.communicate("\n", timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert len(kept(cache)) == 1  # what it was building in

    armed.unlink()
    process = start(cache, CXX=str(killer), PYTHONPATH=path)
    out, err = process.communicate("\n", timeout=300)
    assert out.endswith(f"\n[10.0, 20.0, 30.0, 40.0]\n{pick_vec_isa()}\n"), err
    assert kept(cache) == [".pt2"]


def test_folders_of_the_dead_and_of_days_ago_are_swept(cache: Path, handed_out: list[bytes]) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours = private_files.temporary_prefix()
    stale = [ours.replace(str(os.getpid()), str(dead.pid)) + "a", ours + "old", ".building-as_they_were_named"]
    used = [ours + "b", f".building-another_machine-{dead.pid}-c", ".building-new"]
    for name in stale + used:
        (cache / name / "inductor").mkdir(parents=True)
    for name in stale[1:]:
        os.utime(cache / name, times=(0, 0))
    private_files.sweep(cache)
    assert sorted(kept(cache)) == sorted(used)


def test_that_it_compiles_is_told_once(cache: Path, handed_out: list[bytes], capsys: pytest.CaptureFixture) -> None:
    load_or_build(*small())
    assert capsys.readouterr().out == (
        f"compiling the updates, some 20 s on an idle core; kept in {cache} for fits alike\n"
    )
    load_or_build(*small())
    assert capsys.readouterr().out == ""


# Trust


def test_a_package_is_private_and_verified(cache: Path, handed_out: list[bytes], capfd) -> None:
    shutil.rmtree(cache)
    before = os.umask(0)
    try:
        load_or_build(*small())
    finally:
        os.umask(before)
    (path,) = cache.glob("*.pt2")
    assert (stat.S_IMODE(cache.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)
    content = path.read_bytes()
    damaged = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(len(content))]
    damaged += [content[:at] for at in range(len(content))]
    damaged += [content + b"\0", b"a package", private_files._digest(path.with_name("another.pt2"), b"a package")]
    for each in damaged:
        path.write_bytes(each)
        load_or_build(*small())
        assert path.read_bytes() == content
    assert set(handed_out) == {b"a package"}
    assert capfd.readouterr().err == f"{path} is damaged, or of another format: built again\n" * len(damaged)


def test_what_others_may_write_or_own_is_not_used(cache: Path, handed_out: list[bytes], monkeypatch) -> None:
    load_or_build(*small())
    (path,) = cache.glob("*.pt2")
    for file, mode in ((cache, 0o700), (path, 0o600)):
        for others in (0o020, 0o002):
            file.chmod(mode | others)
            assert_refused(f"^{file} may be written by others, .* chmod")
        file.chmod(mode)
    link = cache.with_name("link")
    link.symlink_to(cache)
    monkeypatch.setenv("LECUN_REPRO_CACHE", str(link))
    load_or_build(*small())
    cache.chmod(0o770)
    assert_refused(f"^{cache} may be written by others")
    cache.chmod(0o700)

    kept_elsewhere = path.rename(cache.with_name("elsewhere.pt2"))
    path.symlink_to(kept_elsewhere)
    assert_refused("is no regular file")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert_refused(f"^{link} belongs to another user")
    monkeypatch.delattr(os, "geteuid")  # Windows
    private_files.check_private(link)
    assert len(handed_out) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("planted", ["folder", "link", "file"])
def test_what_another_user_has_planted_is_not_used(planted: str, cache: Path, handed_out: list[bytes]) -> None:
    load_or_build(*small())
    (path,) = cache.glob("*.pt2")
    if planted == "link":
        cache.symlink_to(cache.rename(cache.with_name("target")))
    file = path if planted == "file" else cache
    os.chown(file, 12345, 12345, follow_symlinks=False)
    assert_refused(f"^{file} belongs to another user")
    assert len(handed_out) == 1


@needs_compiler
@pytest.mark.slow
def test_damaged_packages_do_not_change_a_number(cache: Path) -> None:
    counts, faults = damaged_packages.check(cache, flips=5, cuts=2, compiled=0)
    assert not faults
    assert sum(counts.values()) == 10
