"""The one writer: a file is there as a whole or not at all, and nothing but files is replaced."""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import lecun_repro
from lecun_repro.files import may_be_written, sweep, write_atomically


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("content", ["a\udcff", b"a\xff", memoryview(b"a\xff")])
def test_contents_keep_their_bytes(content: str | bytes | memoryview, tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == b"a\xff"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.usefixtures("umask")
def test_a_new_file_has_the_umasks_permissions_and_a_replaced_one_its_own(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", "1")
    assert mode(tmp_path / "file") == 0o640
    (tmp_path / "file").chmod(0o604)
    write_atomically(tmp_path / "file", "2")
    assert mode(tmp_path / "file") == 0o604
    assert (tmp_path / "file").read_text() == "2"


def make(kind: str, path: Path) -> None:
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.with_name("another").write_text("of somebody")
            path.symlink_to("another")
        case "link to nowhere":
            path.symlink_to("nowhere")


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "link to nowhere"])
def test_what_is_no_regular_file_is_left_as_it_is(kind: str, tmp_path: Path) -> None:
    make(kind, path := tmp_path / "x")
    before = os.lstat(path), sorted(tmp_path.iterdir())
    assert not may_be_written(path)
    with pytest.raises(OSError, match=rf"not a regular file: '{path}'"):
        write_atomically(path, "content")
    after = os.lstat(path), sorted(tmp_path.iterdir())
    assert (after[0].st_ino, after[0].st_mode, after[1]) == (before[0].st_ino, before[0].st_mode, before[1])
    assert not (tmp_path / "another").exists() or (tmp_path / "another").read_text() == "of somebody"


def test_a_device_is_left_as_it_is() -> None:
    with pytest.raises(OSError, match="not a regular file: '/dev/null'"):
        write_atomically(Path("/dev/null"), "content")
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)


def test_no_link_is_followed_that_somebody_puts_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of somebody")
    (tmp_path / "file.part").symlink_to(victim)  # the name that parts once had
    write_atomically(tmp_path / "file", "content")
    monkeypatch.setattr(secrets, "token_hex", lambda size: "foreseen")
    (tmp_path / ".foreseen.part").symlink_to(victim)
    with pytest.raises(FileExistsError, match="/file'"):
        write_atomically(tmp_path / "file", "other content")
    assert victim.read_text() == "of somebody"
    assert (tmp_path / "file").read_text() == "content"
    assert (tmp_path / ".foreseen.part").is_symlink()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_fails_leaves_nothing_and_names_the_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("before")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/file'"):
        write_atomically(tmp_path / "file", "content")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "before"


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    write_atomically(path := tmp_path / ("n" * 255), "content")
    assert path.read_text() == "content"


def test_sweeping_takes_what_killed_writers_left_alone(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    kept = {tmp_path / "inside", tmp_path / "a.part", tmp_path / ".a.part"}
    for path in (*kept, tmp_path / f".{'0a' * 8}.part", tmp_path / f"inside/.{'f' * 16}.part"):
        path.touch()
    sweep(tmp_path)
    assert set(tmp_path.rglob("*")) == kept


def test_the_package_writes_files_in_no_other_way() -> None:
    other = re.compile(  # but for what goes to memory
        r"""\.write_text\(|\.write_bytes\(|open\([^)\n]*["'][wax]|\.savefig\((?!\w+ := io)|np\.save\((?!\w+ := io)"""
    )
    found = {
        f"{path.name}: {line.strip()}"
        for path in Path(lecun_repro.__file__).parent.rglob("*.py")
        for line in path.read_text().splitlines()
        if other.search(line)
    }
    a_pipe = 'forks.py: self.stdin = open(nothing, "wb", 0)  # noqa: SIM115'
    assert found == {'files.py: with open(descriptor, "wb") as file:', a_pipe}
