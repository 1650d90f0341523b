"""Hostile and absurd checkpoints: refused in one line, in bounded time and memory, and nothing of them runs."""

import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lecun_repro.__main__ import main
from lecun_repro.errors import UserError
from lecun_repro.runs.checkpoints import load_checkpoint

pytestmark = pytest.mark.usefixtures("own_folder")

# Every command that takes a checkpoint, as it is called with one.
SHORT = ["--trainer.max_epochs=2", "--data.train_size=20", "--data.test_size=20", "--model.compile=false"]
FIT = ("fit", "--config", "quickstart", *SHORT)
EXPORT = ("export", "--to", "digits.html")
BAD = ("--ckpt_path", "bad.ckpt")
COMMANDS = [FIT, ("validate",), ("test",), ("predict",), EXPORT]

each_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that a fit wrote after the first of its two passes."""
    folder = tmp_path_factory.mktemp("fitted")
    main([*FIT, "--trainer.max_epochs=1", f"--trainer.logger.save_dir={folder}"])
    return folder / "quickstart/version_0/checkpoints/last.ckpt"


def changed(good: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Writes `bad.ckpt`, the good one with a change."""
    content = torch.load(good, weights_only=True)
    change(content)
    torch.save(content, "bad.ckpt")


def rewritten(good: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Writes `bad.ckpt`, an archive with the good one's entries, changed."""
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile("bad.ckpt", "w", compression) as bad:
        for name in archive.namelist():
            bad.writestr(name, change(name, archive.read(name)))


def first_weights(content: dict[str, Any]) -> str:
    return next(iter(content["state_dict"]))


# Archives


def test_a_good_one_is_taken(good: Path) -> None:
    assert load_checkpoint(good)["lecun_repro"]["format"] == 1
    rewritten(good, lambda name, body: body)
    assert load_checkpoint("bad.ckpt")["epoch"] == 0


@pytest.fixture(scope="module")
def bomb(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The good one, packed, with a tensor that unpacks to 256 MB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("packed"))
        rewritten(good, lambda name, body: bytes(2**28) if name.endswith("data/4") else body, zipfile.ZIP_DEFLATED)
        return Path("bad.ckpt").absolute()


@each_command
def test_a_zip_bomb_is_not_unpacked(command: tuple, bomb: Path, refused) -> None:
    assert bomb.stat().st_size < 2**20
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "a compressed archive" in refused(*command, "--ckpt_path", bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


def test_an_archive_may_not_claim_more_than_it_is(good: Path) -> None:
    body = bytearray(good.read_bytes())
    at = body.rindex(b"PK\x01\x02")  # the last entry of the directory
    body[at + 20 : at + 28] = (2**31).to_bytes(4, "little") * 2  # its sizes, packed and unpacked
    Path("bad.ckpt").write_bytes(body)
    with pytest.raises(UserError, match="claim to be larger than the file"):
        load_checkpoint("bad.ckpt")


@pytest.mark.parametrize("entry", ["data/4", "data.pkl", "/byteorder"])
def test_a_flipped_bit_is_found(entry: str, good: Path) -> None:
    with zipfile.ZipFile(good) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(entry)]
        offset = good.read_bytes().index(archive.read(name))
    body = bytearray(good.read_bytes())
    body[offset] ^= 1
    Path("bad.ckpt").write_bytes(body)
    with pytest.raises(UserError, match=f"the checksum of {name} is wrong"):
        load_checkpoint("bad.ckpt")


@pytest.mark.parametrize(
    "call, named",
    [
        (b"cbuiltins\nbytearray\n", "builtins.bytearray"),
        (b"ctorch\nTensor\n", "torch.Tensor"),
        (b"cos\nsystem\n", "os.system"),
    ],
)
def test_only_what_a_checkpoint_needs_is_called(call: bytes, named: str, good: Path) -> None:
    # A byte array or a tensor of 10 GB is one short line of a pickle.
    payload = b"\x80\x02}X\x01\x00\x00\x00a" + call + b"(\x8a\x05\x00\xe4\x0bT\x02tRs."
    rewritten(good, lambda name, body: payload if name.endswith("data.pkl") else body)
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="could run code"):
        load_checkpoint("bad.ckpt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15, named


@each_command
def test_what_is_no_checkpoint_at_all(command: tuple, good: Path, refused) -> None:
    whole = good.read_bytes()
    for name, content in (("text", b"not a checkpoint"), ("empty", b""), ("cut", whole[: len(whole) // 2])):
        Path(name).write_bytes(content)
        assert f"{name}, not a checkpoint" in refused(*command, "--ckpt_path", name)
    torch.save([1], "list")
    assert "not a checkpoint of lecun-repro" in refused(*command, "--ckpt_path", "list")
    for name, fault in (("nowhere.ckpt", "no such file"), ("best", "no such file"), (".", "a folder")):
        assert fault in refused(*command, "--ckpt_path", name)


# Contents


def many(content: dict[str, Any]) -> None:
    """Ten to the ninth entries, by lists within lists that are all the same."""
    value: Any = [0] * 10
    for _ in range(8):
        value = [value] * 10
    content["lecun_repro"]["config"]["data"]["draw"] = value


def endless(content: dict[str, Any]) -> None:
    content["lecun_repro"]["config"]["data"]["draw"] = content


def set_weights(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        name = first_weights(content)
        content["state_dict"][name] = change(content["state_dict"][name])

    return apply


def set_saved(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["lecun_repro"].__setitem__(key, value)


ABSURD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "weights of another shape": (set_weights(lambda w: w[:3].clone()), "size mismatch for network."),
    "weights that are NaN": (set_weights(lambda w: w.clone().fill_(float("nan"))), "holds NaN or an infinity"),
    "weights that are infinite": (set_weights(lambda w: w.clone().fill_(float("inf"))), "holds NaN or an infinity"),
    "weights that are a list": (set_weights(lambda w: w.tolist()), "received <class 'list'>"),
    "weights of 10^18 values": (set_weights(lambda w: torch.zeros(1).expand(10**9, 10**9)), "size mismatch"),
    "weights too many": (lambda c: c["state_dict"].update(more=torch.zeros(3)), "Unexpected key"),
    "no weights": (lambda c: c["state_dict"].clear(), "Missing key"),
    "a list of weights": (lambda c: c.update(state_dict=[1, 2]), "got <class 'list'>"),
    "ten to the ninth entries": (many, "holds more than"),
    "an entry that holds itself": (endless, "holds more than"),
    "another format": (set_saved("format", 0), "of format 0"),
    "no format": (set_saved("format", None), "of format None"),
    "a later format": (set_saved("format", 99), "of format 99"),
}


FORMATS = ("another format", "no format")


@pytest.mark.parametrize(
    "what, command",
    [*((what, EXPORT) for what in ABSURD), *((what, FIT) for what in ("weights that are NaN", *FORMATS))],
)
def test_absurd_contents_are_one_line(what: str, command: tuple, good: Path, refused) -> None:
    change, fault = ABSURD[what]
    changed(good, change)
    started = time.monotonic()
    line = refused(*command, *BAD)
    assert line.startswith("ckpt_path: bad.ckpt, ")
    assert fault in line
    assert time.monotonic() - started < 10


TRAINING: dict[str, Callable[[dict[str, Any]], Any]] = {
    "optimizer state of another shape": lambda c: c["optimizer_states"][0]["state"][0].update(exp_avg=torch.ones(3)),
    "optimizer state for other weights": lambda c: c["optimizer_states"][0]["state"].update({99: {"x": torch.ones(3)}}),
    "optimizer states that are text": lambda c: c.update(optimizer_states="none"),
    "an optimizer without groups": lambda c: c["optimizer_states"][0].pop("param_groups"),
    "no optimizer": lambda c: c.pop("optimizer_states"),
    "no schedule": lambda c: c.pop("lr_schedulers"),
    "a schedule that is a list": lambda c: c.update(lr_schedulers=[[1]]),
    "two schedules": lambda c: c["lr_schedulers"].append(c["lr_schedulers"][0]),
    "no optimizer's state": lambda c: c["optimizer_states"].clear(),
    "no progress": lambda c: c.pop("loops"),
    "progress that is a list": lambda c: c.update(loops=[1]),
    "progress of another kind": lambda c: c["loops"].update(fit_loop={"state_dict": 3}),
    "a curve that is text": lambda c: c["lecun_repro"].update(curve="up"),
    "a curve of text": lambda c: c["lecun_repro"].update(curve=["up"]),
    "updates that are text": lambda c: c["lecun_repro"].update(updates_done="many"),
    "results of another kind": lambda c: c["lecun_repro"].update(results={"train": {"n": 1}}),
    "no count of updates": lambda c: c["lecun_repro"].pop("updates_done"),
}


@pytest.mark.parametrize("what", TRAINING)
def test_absurd_training_state_is_one_line(what: str, good: Path, refused) -> None:
    changed(good, TRAINING[what])
    assert refused(*FIT, *BAD).startswith("ckpt_path: bad.ckpt, which does not fit: ")


# What a checkpoint may say of the command that takes it


def config_of(content: dict[str, Any]) -> dict[str, Any]:
    return content["lecun_repro"]["config"]


CLASSES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a network from elsewhere": (lambda c: config_of(c)["model"]["network"].update(class_path="traps.Trap"), "traps"),
    "a head from elsewhere": (lambda c: config_of(c)["model"].update(head={"class_path": "traps.Trap"}), "traps.Trap"),
    "a network by its name alone": (lambda c: config_of(c)["model"].update(network="traps.Trap"), "no network"),
    "a class among the data": (lambda c: config_of(c)["data"].update(root2={"class_path": "traps.Trap"}), "traps"),
    "a source from elsewhere": (lambda c: config_of(c)["data"].update(source="traps.Trap"), "traps"),
    "an augmentation from elsewhere": (
        lambda c: config_of(c)["data"].update(augment=[{"class_path": "traps.Trap"}]),
        "traps",
    ),
    "a class that is a list": (lambda c: config_of(c)["model"]["network"].update(class_path=["x"]), "the class"),
    "a head for a network": (
        lambda c: config_of(c)["model"]["network"].update(class_path="lecun_repro.heads.TanhMSE", init_args={}),
        "a class with weights to train",
    ),
    "no model": (lambda c: config_of(c).pop("model"), "names no configuration"),
    "a tensor for a model": (lambda c: config_of(c).update(model=torch.zeros(2)), "names no configuration"),
    "an optimizer for a network": (
        lambda c: config_of(c)["model"]["network"].update(class_path="torch.optim.SGD"),
        "names torch.optim.SGD as its network",
    ),
}


@pytest.mark.parametrize("command", [("predict",), EXPORT], ids=lambda command: command[0])
@pytest.mark.parametrize("what", CLASSES)
def test_a_checkpoint_names_no_class_from_elsewhere(what: str, command: tuple, good: Path, refused, own_module) -> None:
    own_module("traps", "from pathlib import Path\nPath('imported').touch()\n")
    change, fault = CLASSES[what]
    changed(good, change)
    assert fault in refused(*command, *BAD)


def test_a_class_of_the_users_own_is_named_by_the_user(
    good: Path, capfd: pytest.CaptureFixture[str], refused, own_module
) -> None:
    own_module("mine_to_name", "from lecun_repro import ConvNet1989\nclass Mine(ConvNet1989):\n    pass\n")
    changed(good, lambda c: config_of(c)["model"]["network"].update(class_path="mine_to_name.Mine"))
    told = "names the class mine_to_name.Mine, which would be imported; if you trust it, --"
    assert told in refused("test", *BAD)
    main(["test", "--ckpt_path", "bad.ckpt", "--model.network", "mine_to_name.Mine"])
    assert capfd.readouterr().out.count("eval: split") == 2


def test_a_checkpoint_chooses_no_file(good: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def everywhere(content: dict[str, Any]) -> None:
        config_of(content).update(output=str(tmp_path / "written.csv"), ckpt_path="/dev/null", threads=999)
        config_of(content)["trainer"] = {"callbacks": [{"class_path": "ModelCheckpoint"}], "default_root_dir": "/"}
        config_of(content)["data"]["root"] = str(tmp_path / "root")
        content["lecun_repro"]["row"] = "../../row"

    changed(good, everywhere)
    before = sorted(tmp_path.rglob("*"))
    capfd.readouterr()
    main(["predict", "--ckpt_path", "bad.ckpt"])
    assert capfd.readouterr().out.startswith("index,digit")
    main(["test", "--ckpt_path", "bad.ckpt"])
    assert sorted(tmp_path.rglob("*")) == before


# Payloads


class Payload:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("payload-has-run"),)


@each_command
@pytest.mark.parametrize("how", ["torch", "inside", "pickle", "legacy", "entry"])
def test_a_payload_never_runs(how: str, command: tuple, good: Path, refused) -> None:
    content = torch.load(good, weights_only=True)
    if how == "pickle":
        Path("bad.ckpt").write_bytes(pickle.dumps(Payload()))
    elif how == "entry":  # as the archive's data.pkl, in a newer protocol
        rewritten(good, lambda name, body: pickle.dumps(Payload(), 4) if name.endswith("data.pkl") else body)
    elif how == "legacy":
        torch.save({**content, "callbacks": Payload()}, "bad.ckpt", _use_new_zipfile_serialization=False)
    else:
        torch.save({**(content if how == "inside" else {}), "callbacks": Payload()}, "bad.ckpt")
    assert "not a checkpoint" in refused(*command, *BAD)
    assert not Path("payload-has-run").exists()


@each_command
@pytest.mark.parametrize("flag", ["--weights_only=false", "--trainer.weights_only=false", "--weights_only"])
def test_no_flag_turns_safe_loading_off(flag: str, command: tuple, refused) -> None:
    torch.save({"callbacks": Payload()}, "bad.ckpt")
    refused(*command, flag, *BAD)
    assert not Path("payload-has-run").exists()


@each_command
@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.ckpt", "https:/x", "s3://b/a.ckpt", "file:///tmp/a.ckpt"])
def test_a_checkpoint_is_a_local_file(address: str, command: tuple, refused) -> None:
    assert "addresses are refused" in refused(*command, "--ckpt_path", address)
