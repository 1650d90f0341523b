"""The help: every argument of data and model, with a sentence, its type and its default."""

import inspect
import re
import sys
from collections.abc import Callable

import pytest

import lecun_repro
from lecun_repro.__main__ import main
from lecun_repro.cli.help import BASES, SUBCOMMANDS

Shown = Callable[..., str]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    """What a command prints that shows something and ends."""

    def run(*args: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(args))
        assert ended.value.code in (0, None)
        return capsys.readouterr().out

    return run


def sentence(text: str, flag: str) -> str:
    """What follows a flag in the help, up to the next flag."""
    found = re.search(rf"^  {re.escape(flag)}[ ,](.*?)(?=^  -|^\S|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"{flag} is not in the help"
    return " ".join(found[1].split())


def test_every_argument_has_a_sentence_a_type_and_a_default(shown: Shown) -> None:
    text = shown("fit", "--help")
    names = inspect.signature(lecun_repro.DigitsDataModule).parameters.keys() - {"seed", "images"}
    flags = [f"--data.{name}" for name in sorted(names)]
    flags += ["--model.network", "--model.head", "--model.compile", "--optimizer", "--lr_scheduler"]
    flags += ["--seed_everything", "--threads", "--ckpt_path"]
    for kind in (getattr(lecun_repro, name) for name in lecun_repro.CLASSES):
        for key, base in BASES.items():
            if issubclass(kind, base) and kind is not base:
                named = [n for n, p in inspect.signature(kind).parameters.items() if p.kind is not p.VAR_KEYWORD]
                # One without arguments has torch's own.
                flags += [f"--{key}.{name}" for name in named if name != "args"]
    assert len(flags) > 20
    for flag in flags:
        words = sentence(text, flag)
        assert len(words.split("(type:")[0].split()) > 5, flag
        assert "(type:" in words or "(required, type:" in words, flag
        assert "default:" in words or "required" in words, flag


def test_what_people_set_comes_before_the_trainer(shown: Shown) -> None:
    text = shown("fit", "--help")
    set_first = ("--model.network ", "--data.source ", "--optimizer ", "--trainer.max_epochs")
    places = [text.index(flag) for flag in set_first]
    assert places == sorted(places)
    assert len(text[: text.index("--model.network ")].splitlines()) < 30  # no page of usage first


def test_the_subcommands_are_listed_in_our_words(shown: Shown) -> None:
    text = " ".join(shown("--help").split())
    assert all(f" {name} {line}" in text for name, line in SUBCOMMANDS.items())
    assert "--print_config" not in text


def test_version(shown: Shown) -> None:
    assert re.match(r"lecun-repro \d", shown("--version"))


def test_help_of_a_class_by_its_short_name(shown: Shown) -> None:
    assert "CrossEntropy" in shown("fit", "--model.head.help", "CrossEntropy")
    text = " ".join(shown("fit", "--model.network.help", "ConvNet1989").split("Help for")[1].split())
    assert "ConvNet1989" in text
    for argument in ("activation", "dropout", "output_bias", "table", "seed"):
        assert re.search(rf"--model\.network\.{argument} \S+ (--\S+ \S+ )?\w+", text.replace(",", "")), argument


@pytest.mark.parametrize("subcommand", [name for name in SUBCOMMANDS if name != "fit"])
def test_what_evaluates_has_no_flags_of_training_in_its_help(subcommand: str, shown: Shown) -> None:
    text = shown(subcommand, "--help")
    assert len(text.splitlines()) < 140
    of_training = ("--optimizer", "--lr_scheduler", "--pictures", "--trainer.max_epochs", "Arguments of")
    assert not [part for part in (*of_training, "weights_only") if part in text]
    assert ("--output" in text) == (subcommand == "predict")
    needed = ["--ckpt_path", "--data.source", "--data.holdout", "--data.root", "--threads"]
    needed += ["--model.network", "--model.head", *(["--data.images", "--output"] if subcommand == "predict" else [])]
    for flag in needed:
        assert len(sentence(text, flag).split("(type:")[0].split()) > 5, flag
    assert text.index("--ckpt_path CKPT_PATH") < text.index("--model.network") and text.endswith("have no effect.\n")


@pytest.mark.slow
def test_a_shell_s_completion_knows_every_command_and_its_flags(shown: Shown) -> None:
    pytest.importorskip("shtab")
    script = shown("--print_completion", "shtab-bash")
    for flag in ("--trainer.max_epochs", "--data.images", "--seeds", "--trust", "configs"):
        assert re.search(rf"[ (']{re.escape(flag)}[ )']", script), flag


def test_without_shtab_completion_is_one_line(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    told = "--print_completion needs shtab, which is not installed: pip install shtab"
    assert refused("--print_completion", "shtab-zsh") == told


def test_what_is_refused_anyway_is_left_out(shown: Shown) -> None:
    of_fit, of_predict = shown("fit", "--help"), shown("predict", "--help")
    for name in ("num_nodes", "accumulate_grad_batches", "sync_batchnorm", "val_check_interval", "barebones"):
        assert f"--trainer.{name}" not in of_fit + of_predict
    assert "64-true" in sentence(of_fit, "--trainer.precision")
    assert "--data.images" in of_predict
    assert not [flag for flag in ("--data.images", "--output", "weights_only") if flag in of_fit]
