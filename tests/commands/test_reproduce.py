"""`reproduce`, with real fits in processes of their own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from lecun_repro.__main__ import main, quiet
from lecun_repro.cli.build import resolve
from lecun_repro.commands.reproduce import name_of, plan
from lecun_repro.report.collection import held, rules_digest
from lecun_repro.runs.fits import Fits, Outcome, Run, left_by, perform_one

CONFIGS = Path(__file__).parents[2] / "configs" / "article"
SHORT = ["--source", "digits", "--data.train_size", "60", "--data.test_size", "40", "--trainer.max_epochs", "2"]
SHORT += ["--model.compile", "false"]

pytestmark = pytest.mark.usefixtures("one_server")


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two rows in `configs/`."""
    quiet()
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs"
    folder.mkdir()
    for name in ("1_baseline.yaml", "5_dropout_relu.yaml"):
        (folder / name).write_text((CONFIGS / name).read_text())
    return folder


def results_of(folder: Path) -> list[dict]:
    return json.loads((folder / "configs.json").read_text())


def without_times(results: list[dict]) -> list[dict]:
    return [{k: v for k, v in r.items() if k not in ("fit_seconds", "us_per_update")} for r in results]


def planned(rows: Path, *flags: str) -> Run:
    """The run of row 1 with these flags."""
    file = rows / "1_baseline.yaml"
    (run,) = plan(file, resolve(str(file), [*flags]), [7], False, [*flags])
    return run


def test_a_run_has_a_short_name_unless_it_is_there_by_a_long_one(rows: Path) -> None:
    run = planned(rows, "--data.source", "digits")
    assert run.folder == Path(f"lightning_logs/1_baseline/seed_7_{run.config_hash[:8]}") and len(run.config_hash) == 16
    longer = run.folder.with_name(f"seed_7_{run.config_hash}")
    longer.mkdir(parents=True)
    again = planned(rows, "--data.source", "digits")
    assert again.folder == longer and longer.name in again.flags


def test_a_run_of_an_older_version_lacks_its_unseen_digits(rows: Path) -> None:
    for source, lacks in (("mnist", True), ("digits", False)):
        run = planned(rows, "--data.source", source)
        run.folder.mkdir(parents=True)
        for unseen, done in (({}, not lacks), ({"unseen": {}}, True)):
            record = {"config_hash": run.config_hash, **unseen}
            (run.folder / "results.json").write_text(json.dumps(record))
            assert left_by(run) == (record if done else None)


@pytest.mark.parametrize(
    "files, name",
    [
        (["configs/article/1_baseline.yaml", "configs/article/2_softmax.yaml"], "article"),
        (["../others/a.yaml"], "others"),
        (["my_row.yaml"], "my_row"),
        (["my_row.yaml", "other.yaml"], "my_step"),
        (["configs/article/1_baseline.yaml", "my_row.yaml"], "my_step"),
        (["configs/article/1_baseline.yaml", "mine/article/my_row.yaml"], "my_step"),
        (["../a.yaml", "../b.yaml"], Path("..").resolve().name),
    ],
)
def test_results_are_named_after_the_folder_of_the_yamls_and_those_of_several_after_their_own(
    files: list[str], name: str
) -> None:
    assert name_of([*map(Path, files)], "lightning_logs/my_step") == name


@pytest.mark.slow
def test_rows_by_seeds_are_run_once(rows: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["reproduce", "--configs", "configs", "--seeds", "[1337,7]", "--jobs", "2", *SHORT]
    out = Path("lightning_logs/results_digits")  # not `results`, which is MNIST's
    out.mkdir(parents=True)
    (out / "rules.toml").write_text("level = 0.05")
    main(command)
    results = results_of(out)
    assert [(r["row"], r["seed"]) for r in results] == [
        ("1_baseline", 7), ("1_baseline", 1337), ("5_dropout_relu", 7), ("5_dropout_relu", 1337)
    ]  # fmt: skip
    assert all(r["passes"] == 2 and r["updates"] == 120 and r["source"] == "digits" for r in results)
    assert {r["rules"] for r in results} == {rules_digest(out / "configs.json")}
    assert results[0]["test"] != results[1]["test"], "another seed starts from other weights"
    assert "| `1_baseline` | 2 |" in (out / "configs.md").read_text()

    # The same again: nothing is run. One row edited: its old results are not dropped but where that is asked for.
    times = {p: p.stat().st_mtime_ns for p in Path("lightning_logs").rglob("results.json")}
    main(command)
    assert times == {p: p.stat().st_mtime_ns for p in Path("lightning_logs").rglob("results.json")}
    (rows / "1_baseline.yaml").write_text((rows / "1_baseline.yaml").read_text().replace("lr: 0.03", "lr: 0.02"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "configs.json, which has results of other configurations of these rows (1_baseline, seeds 7, 1337)" in line
    assert "--replace true" in line
    assert results_of(out) == results
    assert times == {p: p.stat().st_mtime_ns for p in Path("lightning_logs").rglob("results.json")}
    main([*command, "--replace", "true"])
    assert len(list(Path("lightning_logs").rglob("results.json"))) == len(times) + 2
    edited = results_of(out)
    assert [r["config_hash"] for r in edited[2:]] == [r["config_hash"] for r in results[2:]]
    assert {r["config_hash"] for r in edited[:2]}.isdisjoint(r["config_hash"] for r in results[:2])


@pytest.mark.slow
@pytest.mark.parametrize("inherits", [True, False], ids=["pipe", "no pipe, as on Windows"])
def test_the_bar_counts_updates_whatever_a_fit_prints(
    inherits: bool, rows: Path, own_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lecun_repro.runs.fits.INHERITS", inherits)
    fits = Fits()
    run = planned(rows, *SHORT[2:], "--data.source", "digits", "--trainer.check_val_every_n_epoch", "2")
    done: list[int] = []
    told: list[tuple[int, float]] = []
    with own_server[1]() if inherits else nullcontext() as fits.server:
        record = perform_one(run, done.append, fits, goes_on=lambda *pass_: not told.append(pass_)).record
    assert sum(done) == run.passes * run.updates_per_pass == 120
    assert (len(done) > 1) == inherits
    assert told == ([(2, record["test"]["error"])] if inherits else [])


@pytest.mark.slow
def test_a_fit_that_is_not_to_go_on_ends_and_can_be_gone_on_with(rows: Path, own_server) -> None:
    run = planned(rows, *SHORT[2:], "--data.source", "digits", "--trainer.max_epochs", "20")
    told: list[int] = []
    again: list[int] = []
    fits = Fits()
    with own_server[1]() as fits.server:
        outcome = perform_one(run, fits=fits, goes_on=lambda pass_, error: told.append(pass_) or pass_ < 3)
        assert outcome.record is None and outcome.reason.startswith("exit code 143") and told == [1, 2, 3]
        perform_one(run, fits=fits, goes_on=lambda pass_, error: again.append(pass_) or pass_ < 19)
    assert again == [*range(1, 20)], "a fit that goes on tells its earlier passes again"


@pytest.mark.slow
def test_a_failed_run_takes_no_other_with_it(rows: Path, capsys: pytest.CaptureFixture) -> None:
    # A rate at which nothing can be learnt is no fault; a folder where the log should be is one.
    (rows / "1_baseline.yaml").write_text(
        (rows / "1_baseline.yaml").read_text().replace("save_dir: lightning_logs", "save_dir: blocked")
    )
    Path("blocked").touch()
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", "--configs", "configs", "--seeds", "1", *SHORT])
    assert stop.value.code == 1
    assert "failed: 1_baseline, seed 1337" in capsys.readouterr().err
    assert [r["row"] for r in results_of(Path("lightning_logs/results_digits"))] == ["5_dropout_relu"]


@pytest.mark.slow
def test_no_module_of_the_working_directory_takes_a_run_over(
    rows: Path, own_server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lecun_repro.runs.fits.fork_server", own_server[0])  # which imports in this very folder
    Path("tqdm.py").write_text("open('taken over', 'w')\nfrom nowhere import tqdm\n")
    Path("ones_own.py").write_text("from lecun_repro import ConvNet1989\n\n\nclass Own(ConvNet1989):\n    pass\n")
    monkeypatch.syspath_prepend(str(rows.parent))
    command = ["reproduce", "--configs", "configs/1_baseline.yaml", "--seeds", "1", *SHORT]
    main([*command, "--model.network", "ones_own.Own"])
    assert not Path("taken over").exists()
    assert len(results_of(Path("lightning_logs/results_digits"))) == 1


def test_what_a_failed_run_says_gives_a_terminal_no_orders(
    rows: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (rows / "1_baseline.yaml").rename(rows / "1_\x1b[31m.yaml")
    monkeypatch.setattr("lecun_repro.runs.fits._perform_one", lambda run, *rest: Outcome(run, None, "\x1b]0;title\x07"))
    with pytest.raises(SystemExit):
        main(["reproduce", "--configs", "configs", "--seeds", "1", *SHORT])
    lines = capsys.readouterr().err.splitlines()
    assert r"failed: 1_\x1b[31m, seed 1337: \x1b]0;title\x07" in lines
    assert all(line.isprintable() for line in lines)


@pytest.mark.slow
def test_draws_may_vary_with_the_seed(rows: Path) -> None:
    flags = ["--seeds", "2", "--vary_draw", "true", "--out", "here"]
    main(["reproduce", "--configs", "configs/1_baseline.yaml", *flags, *SHORT])
    assert [r["draw"] for r in json.loads(Path("here/configs_draws.json").read_text())] == [1337, 1338]


def children_of(folder: Path) -> list[int]:
    """Processes whose working directory is `folder`, ourselves excepted."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) != os.getpid() and Path(os.readlink(process / "cwd")) == folder:
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.fixture
def killed_child_processes(rows: Path) -> Iterator[None]:
    yield
    for process in children_of(rows.parent):
        os.kill(process, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")
@pytest.mark.usefixtures("killed_child_processes")
def test_killed_and_started_again_it_ends_with_the_same_table(rows: Path) -> None:
    short = ["--source", "digits", "--trainer.max_epochs", "4", "--data.train_size", "400", "--model.compile", "false"]
    arguments = ["reproduce", "--configs", "configs", "--seeds", "1", "--jobs", "2", *short]
    command = [sys.executable, "-m", "lecun_repro", *arguments]
    # Killed as soon as there is something to go on from, and again after that.
    for checkpoints in (1, 2):
        process = subprocess.Popen(command, cwd=rows.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 100
        while len(list(rows.parent.rglob("last.ckpt"))) < checkpoints and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while children_of(rows.parent):
            assert time.monotonic() < deadline, "a child outlives reproduce"
            time.sleep(0.05)
    main(arguments)
    disturbed = results_of(Path("lightning_logs/results_digits"))

    undisturbed = rows.parent / "undisturbed"
    undisturbed.mkdir()
    os.chdir(undisturbed)
    main(["reproduce", "--configs", "../configs", *arguments[3:]])
    assert without_times(disturbed) == without_times(results_of(Path("lightning_logs/results_digits")))


def listening(process: str) -> set[str]:
    """The addresses, as the kernel writes them, at which a process and those it has started wait for connections."""
    tables = [Path(f"/proc/net/{kind}").read_text().splitlines()[1:] for kind in ("tcp", "tcp6")]
    fields = [line.split() for table in tables for line in table]
    by_socket = {f"socket:[{of[9]}]": of[1].partition(":")[0] for of in fields if of[3] == "0A"}
    addresses: set[str] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[1] == process:
                addresses |= listening(stat.parent.name)
    for descriptor in Path(f"/proc/{process}/fd").glob("*"):
        with contextlib.suppress(OSError, KeyError):
            addresses.add(by_socket[os.readlink(descriptor)])
    return addresses


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
def test_the_same_runs_on_a_ray_cluster(rows: Path) -> None:
    ray = pytest.importorskip("ray", reason="needs the cluster extra")
    try:
        main(["reproduce", "--configs", "configs", "--seeds", "1", "--jobs", "2", "--backend", "ray", *SHORT])
        addresses = listening(str(os.getpid()))
        assert addresses, "Ray listens somewhere"
        assert addresses <= LOOPBACK
    finally:
        ray.shutdown()
    on_ray = results_of(Path("lightning_logs/results_digits"))
    (rows.parent / "here").mkdir()
    os.chdir(rows.parent / "here")
    main(["reproduce", "--configs", "../configs", "--seeds", "1", *SHORT])
    assert without_times(on_ray) == without_times(results_of(Path("lightning_logs/results_digits")))


@pytest.mark.slow
def test_rows_that_were_not_run_keep_their_results_whatever_is_replaced(rows: Path) -> None:
    command = ["reproduce", "--configs", "configs", "--seeds", "1", *SHORT]
    main(command)
    before = results_of(Path("lightning_logs/results_digits"))
    for name in ("1_baseline.yaml", "5_dropout_relu.yaml"):
        text = (rows / name).read_text().replace("activation: relu", "activation: tanh").replace("lr: 0.03", "lr: 0.02")
        blocked = text.replace("save_dir: lightning_logs", "save_dir: blocked") if name[0] == "1" else text
        (rows / name).write_text(blocked)
    Path("blocked").touch()
    with pytest.raises(SystemExit):
        main([*command, "--replace", "true"])
    after = results_of(Path("lightning_logs/results_digits"))
    assert after[0] == before[0]
    assert after[1]["config_hash"] != before[1]["config_hash"]


@pytest.mark.slow
def test_error_bars_on_digits_held_out(rows: Path) -> None:
    main(["reproduce", "--configs", "configs", "--seeds", "2", "--data.holdout", "20", *SHORT])
    out = Path("lightning_logs/results_digits")
    assert [(r["train"]["n"], r["holdout"]["n"]) for r in results_of(out)] == [(40, 20)] * 4
    text = (out / "configs.md").read_text()
    assert "| `1_baseline` | 2 | 20 holdout |" in text
    assert "reproduced" not in text


@pytest.mark.slow
def test_an_edited_network_runs_anew(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), *sys.path]))
    source = "from lecun_repro import ConvNet1989\nclass Edited(ConvNet1989):\n    a = 1\n"
    Path("network_to_edit.py").write_text(source)
    command = ["reproduce", "--configs", "configs/1_baseline.yaml", "--seeds", "1", *SHORT]
    command += ["--model.network", "network_to_edit.Edited"]
    main(command)
    (before,) = results_of(Path("lightning_logs/results_digits"))
    Path("network_to_edit.py").write_text(
        source.replace("1989", "1989 as Convolutional", 1).replace("(ConvNet1989", "(Convolutional")
    )
    main([*command, "--replace", "true"])
    (after,) = results_of(Path("lightning_logs/results_digits"))
    assert after["config_hash"] != before["config_hash"]
    assert len(list(Path("lightning_logs").rglob("results.json"))) == 2


def test_the_file_of_results_is_held_before_the_runs(rows: Path, refused) -> None:
    with held(Path("here/configs.json")):
        line = refused("reproduce", "--configs", "configs", "--out", "here", *SHORT)
    assert "out: here/configs.json, to which another reproduce is adding its results" in line


@pytest.mark.parametrize(
    "arguments, told",
    [
        ("--seeds 0", "seeds"),
        ("--configs nowhere", "nowhere"),
        ("--jobs -1", "jobs"),
        ("--backend cloud", "backend"),
        ("--data.shift 2", "data.shift"),
        ("--sedes 2", "sedes"),
        # A row is no way out of the log folder.
        ("--configs odd/...yaml", "configs: odd/...yaml, which names its row"),
        ("--configs odd/..yaml", "configs: odd/..yaml, which names its row"),
        (
            "--configs [configs/1_baseline.yaml,odd/1_baseline.yaml]",
            "configs: configs/1_baseline.yaml and odd/1_baseline.yaml, which are both row 1_baseline",
        ),
        ("--out here", "here/configs.json, record 1: train is missing"),
    ],
)
def test_bad_input_is_one_line_before_the_runs(rows: Path, refused, arguments: str, told: str) -> None:
    Path("odd").mkdir()
    for name in ("...yaml", "..yaml", "1_baseline.yaml"):
        shutil.copy(rows / "1_baseline.yaml", Path("odd", name))
    Path("here").mkdir()
    Path("here/configs.json").write_text('[{"row": 3}]')
    assert told in refused("reproduce", "--configs", "configs", *SHORT, *arguments.split())
    assert Path("here/configs.json").read_text() == '[{"row": 3}]'


def test_help(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "reproduce" in out
    assert "report" in out
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    assert "--seeds" in capsys.readouterr().out
