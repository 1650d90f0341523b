"""The help: every argument of data and model, with a sentence, its type and its default."""

import inspect
import re
import sys

import pytest

import lecun_repro
from lecun_repro.__main__ import main
from lecun_repro.cli.help import BASES, SUBCOMMANDS


def help_of(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*args, "--help"])
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


def sentence(text: str, flag: str) -> str:
    """What follows a flag in the help, up to the next flag."""
    found = re.search(rf"^  {re.escape(flag)}[ ,](.*?)(?=^  -|^\S|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"{flag} is not in the help"
    return " ".join(found[1].split())


def test_every_argument_has_a_sentence_a_type_and_a_default(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, "fit")
    names = inspect.signature(lecun_repro.DigitsDataModule).parameters.keys() - {"seed", "images"}
    flags = [f"--data.{name}" for name in sorted(names)]
    flags += [
        "--model.network",
        "--model.head",
        "--model.compile",
        "--optimizer",
        "--lr_scheduler",
        "--seed_everything",
    ]
    flags += ["--threads", "--ckpt_path"]
    for kind in (getattr(lecun_repro, name) for name in lecun_repro.CLASSES):
        for key, base in BASES.items():
            if issubclass(kind, base) and kind is not base:
                named = [n for n, p in inspect.signature(kind).parameters.items() if p.kind is not p.VAR_KEYWORD]
                flags += [
                    f"--{key}.{name}" for name in named if name != "args"
                ]  # one without arguments has torch's own
    assert len(flags) > 20
    for flag in flags:
        words = sentence(text, flag)
        assert len(words.split("(type:")[0].split()) > 5, flag
        assert "(type:" in words or "(required, type:" in words, flag
        assert "default:" in words or "required" in words, flag


def test_what_people_set_comes_before_the_trainer(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, "fit")
    places = [
        text.index(each) for each in ("--model.network ", "--data.source ", "--optimizer ", "--trainer.max_epochs")
    ]
    assert places == sorted(places)
    assert len(text[: text.index("--model.network ")].splitlines()) < 30  # no page of usage first


def test_the_subcommands_are_listed_in_our_words(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(capsys).split())
    assert all(line in text for line in SUBCOMMANDS.values())
    assert "--print_config" not in text


@pytest.mark.parametrize("subcommand", [name for name in SUBCOMMANDS if name != "fit"])
def test_what_evaluates_has_no_flags_of_training_in_its_help(
    subcommand: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(capsys, subcommand)
    assert len(text.splitlines()) < 140
    of_training = ("--optimizer", "--lr_scheduler", "--pictures", "--trainer.max_epochs", "Arguments of")
    assert not [part for part in of_training if part in text]
    needed = ["--ckpt_path", "--data.source", "--data.root", "--threads"]
    for flag in [*needed, *(["--data.images", "--output"] if subcommand == "predict" else [])]:
        assert len(sentence(text, flag).split("(type:")[0].split()) > 5, flag
    assert text.index("--ckpt_path CKPT_PATH") < text.index("--model.network") and text.endswith("have no effect.\n")


@pytest.mark.slow
def test_a_shell_s_completion_knows_every_command_and_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as end:
        main(["--print_completion", "shtab-bash"])
    assert end.value.code == 0
    script = capsys.readouterr().out
    for flag in ("--trainer.max_epochs", "--data.images", "--seeds", "--trust", "configs"):
        assert re.search(rf"[ (']{re.escape(flag)}[ )']", script), flag


def test_without_shtab_completion_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit):
        main(["--print_completion", "shtab-zsh"])
    told = "--print_completion needs shtab, which is not installed: pip install shtab\n"
    assert capsys.readouterr().err.endswith(told)


def test_what_is_refused_anyway_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    of_fit, of_predict = help_of(capsys, "fit"), help_of(capsys, "predict")
    for name in ("num_nodes", "accumulate_grad_batches", "sync_batchnorm", "val_check_interval", "barebones"):
        assert f"--trainer.{name}" not in of_fit + of_predict
    assert "64-true" in sentence(of_fit, "--trainer.precision")
    assert "--data.images" in of_predict
    assert "--data.images" not in of_fit
