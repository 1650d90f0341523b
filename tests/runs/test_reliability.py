"""Bad luck, with real fits in processes of their own: killed, signalled, without disk or permission. See `soak`."""

import ctypes
import errno
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import bad_checkpoints
import bad_configs
import bad_data
import cases
import changed_configs
import fits
import malformed_results
import pytest
import resume
import same_seed

LAST = fits.FOLDER / "checkpoints/last.ckpt"
EAGER = fits.arguments(False)
NO_PICTURES = ["--pictures.every", "0"]  # so that checkpoints are what takes the room
LONG = fits.arguments(False, "--trainer.max_epochs", 2000)


def wait_for(condition: Callable[[], Any], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def output(folder: Path) -> str:
    return (folder / "output.txt").read_text()


def ended(folder: Path, args: list[str], prepare: Callable[[], None] | None = None) -> tuple[int, str]:
    """The exit code of a command and the last line it printed; it printed no traceback."""
    process = fits.start(folder, args, prepare)
    process.join()
    assert "Traceback" not in output(folder)
    return process.exitcode, (output(folder).splitlines() or [""])[-1]


# Resume is exact


@pytest.mark.slow
def test_fits_killed_at_random_end_as_if_undisturbed(tmp_path: Path) -> None:
    counts, faults = resume.soak(points=2, seed=5, base=tmp_path, modes=[False])
    assert not faults
    assert sum(n for what, n in counts.items() if what.startswith("killed")) == 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed fit leaves."""
    folder = tmp_path_factory.getbasetemp() / "whole"
    fits.fit(folder, EAGER)
    return fits.left(folder / fits.FOLDER)


@pytest.fixture
def checkpoint(whole: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its checkpoint."""
    return tmp_path_factory.getbasetemp() / "whole" / LAST


@pytest.mark.slow
@pytest.mark.parametrize("where", fits.INJECTIONS)
def test_a_checkpoint_is_complete_or_absent(where: str, tmp_path: Path, whole: dict[str, Any]) -> None:
    # The second pass's checkpoint; before it, config.yaml and the first one were synced and moved.
    count = 2 if where == "before the writing" else 3
    assert resume.kill_and_resume(tmp_path, False, 0, partial(fits.die_at, where, count)) == "resumed from a checkpoint"
    assert fits.difference(fits.left(tmp_path / fits.FOLDER), whole) is None
    assert not list(tmp_path.rglob("*.part"))


# Same seed


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_alone_and_beside_others(tmp_path: Path, whole: dict[str, Any]) -> None:
    flags = fits.arguments(False, "--seed_everything", 1337)
    together = same_seed.side_by_side(tmp_path / "together", False, 3, 1337)
    assert flags[-1] == "1337"
    assert [fits.difference(each, whole) for each in together] == [None] * 3
    (another,) = same_seed.side_by_side(tmp_path / "another", False, 1, 8)
    assert fits.difference(another["state_dict"], whole["state_dict"]) is not None


# Signals


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_fit_after_its_block_and_it_goes_on(
    number: signal.Signals, tmp_path: Path, whole: dict[str, Any]
) -> None:
    process = fits.start(tmp_path, EAGER)
    wait_for((tmp_path / LAST).exists)
    os.kill(process.pid, number)
    process.join(20)
    assert process.exitcode == 128 + number
    *_, notice, last = output(tmp_path).splitlines()
    assert notice.startswith("lecun-repro: stopping after the running block")
    assert last == f"lecun-repro: interrupted; go on with the same command and --ckpt_path {LAST}"
    assert not (tmp_path / fits.FOLDER / "results.json").exists()
    fits.fit(tmp_path, [*EAGER, "--ckpt_path", str(LAST)])
    assert fits.difference(fits.left(tmp_path / fits.FOLDER), whole) is None


def never_end_a_block() -> None:
    from lecun_repro.training import module

    module.eager_updates = lambda *given: (print("in a block", flush=True), time.sleep(60))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(number: signal.Signals, tmp_path: Path) -> None:
    process = fits.start(tmp_path, EAGER, never_end_a_block)
    wait_for(lambda: (tmp_path / "output.txt").exists() and "in a block" in output(tmp_path))
    os.kill(process.pid, number)
    wait_for(lambda: "stopping after" in output(tmp_path))
    assert process.is_alive()
    os.kill(process.pid, number)
    process.join(5)
    assert process.exitcode == 128 + number
    assert output(tmp_path).splitlines()[-1] == "lecun-repro: interrupted; nothing is kept, as no pass was whole"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_reproduce_stops_its_runs_and_goes_on_with_them(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/row.yaml").write_text(fits.ROW_5.read_text())
    sizes = ["--source", "digits", "--data.train_size", "100", "--data.test_size", "40", "--model.compile", "false"]
    command = ["reproduce", "--configs", "configs", "--seeds", "3", "--jobs", "2", *sizes]
    command += ["--trainer.max_epochs", "60"]
    logs = tmp_path / "lightning_logs"
    process = fits.start(tmp_path, command)
    wait_for(lambda: len(list(logs.rglob("last.ckpt"))) >= 2)
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == 128 + number
    assert "of 3 runs are done and kept, the same command goes on with the others" in output(tmp_path).splitlines()[-1]
    runs = {path.parent.parent for path in logs.rglob("last.ckpt")}
    assert len(runs) == 2, "none was started after the signal"
    assert not (logs / "results_digits").exists()
    for run in runs:
        kept = run / "checkpoints/last.ckpt", run / "fit.log"
        assert all(path.is_file() for path in kept)
        assert (run / "results.json").exists() or "go on with" in kept[1].read_text()


# Output


def in_lines() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # so that nothing waits for the end


def reader_left() -> None:
    in_lines()
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.close(reading)


def output_closed() -> None:
    in_lines()
    os.close(1)


def both_closed() -> None:
    output_closed()
    os.close(2)


def output_full() -> None:
    in_lines()
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


@pytest.mark.slow
@pytest.mark.parametrize("prepare", [reader_left, output_closed, both_closed, output_full])
def test_a_fit_whose_output_nobody_takes_ends_as_any(
    prepare: Callable[[], None], tmp_path: Path, whole: dict[str, Any]
) -> None:
    code, _ = ended(tmp_path, EAGER, prepare)
    assert code == 0
    assert fits.difference(fits.left(tmp_path / fits.FOLDER), whole) is None


@pytest.mark.slow
@pytest.mark.parametrize("prepare, code", [(reader_left, 1), (output_closed, 1), (output_full, 2)])
def test_predictions_that_nobody_takes_are_a_failure(
    prepare: Callable[[], None], code: int, tmp_path: Path, checkpoint: Path
) -> None:
    ended_with, line = ended(tmp_path, ["predict", "--ckpt_path", str(checkpoint)], prepare)
    assert ended_with == code
    assert line == ("" if code == 1 else f"lecun-repro: error: standard output: {os.strerror(errno.ENOSPC)}")


# Disk


def full_disk(size: int) -> None:
    """A disk of so many bytes as the working directory, for this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x44000, None):  # CLONE_NEWNS; MS_REC | MS_PRIVATE
        os._exit(77)
    options = f"size={size}".encode()
    if libc.mount(b"none", os.getcwd().encode(), b"tmpfs", 0, options):
        os._exit(77)
    os.chdir(os.getcwd())


def small_files(size: int) -> None:
    """No file may be larger than so many bytes."""
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# Room for nothing, for the configuration, for a part of the first checkpoint, for one checkpoint and not for two.
@pytest.mark.slow
@pytest.mark.parametrize("pictures", [NO_PICTURES, []], ids=["no pictures", "pictures"])
@pytest.mark.parametrize("size", [4096, 16_384, 100_000, 180_000])
def test_a_full_disk_is_one_message_and_keeps_what_was_whole(size: int, pictures: list[str], tmp_path: Path) -> None:
    code, line = ended(tmp_path, [*EAGER, *pictures], partial(full_disk, size))
    if code == 77:
        pytest.skip("a disk of one's own takes privileges")
    assert code == 2
    assert os.strerror(errno.ENOSPC) in line
    assert "; what was written before is whole; " in line
    assert pictures == [] or ("go on with the same command and --ckpt_path" in line) == (size == 180_000)


@pytest.mark.slow
def test_a_limit_on_files_is_one_message_and_keeps_what_was_whole(tmp_path: Path) -> None:
    code, line = ended(tmp_path, [*EAGER, *NO_PICTURES], partial(small_files, 50_000))
    assert (code, line) == (
        2,
        f"lecun-repro: error: {LAST}: {os.strerror(errno.EFBIG)}; what was written before is whole; "
        "nothing is kept, as no pass was whole",
    )
    assert not list(tmp_path.rglob("last.ckpt*"))


@pytest.fixture
def others_folder() -> Iterator[Path]:
    """A folder that another user can reach, and not write to. (Those of `tmp_path` are closed to all others.)"""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def as_nobody() -> None:
    from lecun_repro.__main__ import main

    main([*EAGER, "--trainer.logger", "false", "--trainer.max_epochs", "1"])  # imports what others may not read
    if os.geteuid() == 0:
        os.seteuid(65534)
    else:
        os.chmod(".", 0o555)


@pytest.mark.slow
def test_a_log_directory_that_may_not_be_written_is_named(others_folder: Path) -> None:
    code, line = ended(others_folder, EAGER, as_nobody)
    os.chmod(others_folder, 0o755)
    assert code == 2
    assert f"{fits.FOLDER}: {os.strerror(errno.EACCES)}" in line


# Damage


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused_or_the_same(tmp_path: Path) -> None:
    counts = bad_checkpoints.check(tmp_path, flips=100, cuts=20)
    assert not bad_checkpoints.faults(counts)
    assert counts["cut short: refused"] == 20
    assert counts["one bit flipped: refused"] > 50


@pytest.mark.slow
def test_bad_data_is_refused_or_the_same(real_data: Path) -> None:
    if not (real_data / "usps").is_dir():
        pytest.skip("the real zip-code digits are not there")
    files = [file for file in bad_data.FILES if file[2] in ("zip.test", "t10k-labels-idx1-ubyte")]
    counts, faults = bad_data.check(real_data, cuts=3, flips=12, files=files)
    assert not faults
    assert {result for _, result in counts} == {"refused", "the same digits"}
    assert counts["no permission", "refused"] == counts["truncated", "refused"] // 3 == 2


@pytest.mark.slow
def test_broken_configurations_are_taken_or_refused_in_one_line() -> None:
    counts, faults = cases.check(bad_configs.tried, 40, seed=2)
    assert not faults
    assert counts["refused"] > 30


@pytest.mark.slow
def test_changed_configurations_are_refused_and_harmless_ones_taken() -> None:
    counts, faults = cases.check(changed_configs.tried, 12, seed=2)
    assert not faults
    assert counts["refused"] > 3 and counts["taken"] > 1


def test_malformed_results_are_refused_or_taken_as_they_are() -> None:
    counts, faults = cases.check(malformed_results.tried, 100, seed=2)
    assert not faults
    assert counts["refused"] > 60


# Two fits


@pytest.mark.slow
def test_two_fits_never_share_a_folder(tmp_path: Path) -> None:
    open_version = [*EAGER, "--trainer.logger.init_args.version", "null"]
    both = [fits.start(tmp_path, open_version) for _ in range(3)]
    for process in both:
        process.join()
    runs = sorted((tmp_path / fits.FOLDER).parent.iterdir())
    assert [run.name for run in runs] == ["version_0", "version_1", "version_2"]
    left = [fits.left(run) for run in runs]
    assert fits.difference(left[0], left[1]) is None
    assert all(len(list(run.glob("events.*"))) == 1 for run in runs)


@pytest.mark.slow
def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    process = fits.start(tmp_path, LONG)
    wait_for((tmp_path / LAST).exists)
    second = fits.start(tmp_path, EAGER)
    second.join()
    assert second.exitcode == 2
    assert f"version: {fits.FOLDER}, where another fit is writing; allowed: a folder of its own" in output(tmp_path)
    assert process.is_alive()
    process.kill()
    process.join()
    assert "max_epochs: 2000" in (tmp_path / fits.FOLDER / "config.yaml").read_text()
