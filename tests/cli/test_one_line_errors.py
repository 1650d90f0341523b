"""Every bad key or value is one line that names the key, what was given and what is allowed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from lightning_utilities.core.imports import RequirementCache

from lecun_repro.__main__ import main

pytestmark = pytest.mark.usefixtures("own_folder")

FIT = ["fit", "--config", "quickstart", "--trainer.max_epochs=1", "--data.train_size=20", "--model.compile=false"]


@pytest.fixture
def check(refused: Callable[..., str]) -> Callable[..., None]:
    """Takes a command line that is refused, and what its line says: the key, what was given and what is allowed."""

    def of_line(args: Sequence[object], key: str, given: str, allowed: str) -> None:
        line = refused(*args)
        for noise in ("Traceback", "usage:", "jsonargparse", "<class", "typing."):
            assert noise not in line
        assert line.startswith(f"{key}: ")
        before, separator, after = line.removeprefix(f"{key}: ").partition("; allowed: ")
        assert separator
        assert given in before
        assert allowed in after

    return of_line


# One line each: flags after the quickstart's configuration; the key, what was given, what is allowed.
FLAGS = [
    ("--foo=3", "foo", "unknown key", "data."),
    ("--trainer.max_epoch=3", "trainer.max_epoch", "unknown key", "trainer.max_epochs"),
    ("--data.batchsize=1", "data.batchsize", "unknown key", "data.batch_size"),
    ("--model.networks.dropout=0", "model.networks.dropout", "unknown key", "model.network.init_args.dropout"),
    ("--network=ConvNet1989", "network", "unknown key", "model.network"),
    ("--model.network.activatoin=tanh", "model.network.init_args.activatoin", "unknown", "init_args.activation"),
    ("--optimizer.lrr=1", "optimizer.init_args.lrr", "unknown key", "optimizer.init_args.lr"),
    ("--optimizer.init_args.lrr 1", "optimizer.init_args.lrr", "unknown key", "optimizer.init_args.lr"),
    ("--lr_scheduler.end=1", "lr_scheduler.init_args.end", "unknown key", "lr_scheduler.init_args.end_factor"),
    ("--trainer.logger.dir=x", "trainer.logger.init_args.dir", "unknown key", "trainer.logger.init_args.save_dir"),
    ("--model.network.activation=rleu", "model.network.init_args.activation", "rleu", "tanh, relu, gelu, silu"),
    ("--model.network.dropout=1.5", "model.network.init_args.dropout", "1.5", "a number >=0 and <1"),
    ("--model.network.dropout=-0.1", "model.network.init_args.dropout", "-0.1", "a number >=0 and <1"),
    ("--model.network.table=[[1,2]]", "model.network.init_args.table", "rows of [2]", "12 rows of one length"),
    ("--model.network.table=round", "model.network.init_args.table", "round", "article, cyclic, full, random:SEED"),
    ("--model.network.init=x", "model.network.init_args.init", "x", "article, paper"),
    ("--model.head=CrossEntropy --model.head.smoothing=1", "model.head.init_args.smoothing", "1.0", "0 to below 1"),
    ("--data.frame=paper", "data.frame", "paper", "article, the only one of digits"),
    ("--data.frame=tight", "data.frame", "tight", "article, paper, normalised"),
    ("--data.augment=[Distortion]", "data.augment", "[Distortion]", "a subclass of Augmentation"),
    ("--data.augment=[Elastic] --data.augment.grid=1", "data.augment[0].init_args.grid", "1", "from 2 to 16"),
    ("--data.augment=[Affine] --data.augment.turn=1", "data.augment.init_args.turn", "unknown key", "rotation"),
    ("--model.head=TanhMSE --model.head.target=2", "model.head.init_args.target", "2.0", "a number above 0"),
    ("--optimizer=StochasticDiagonalLM --optimizer.mu=0", "optimizer.init_args.mu", "0", "a finite number above 0"),
    ("--optimizer=StochasticDiagonalLM --optimizer.lr=-1", "optimizer.init_args.lr", "-1", "a finite number from 0"),
    ("--optimizer=StochasticDiagonalLM --optimizer.sample=0", "optimizer.init_args.sample", "0", "an integer from 1"),
    ("--data.shift=2", "data.shift", "2", "roll, pad or null"),
    ("--data.batch_size=0", "data.batch_size", "0", "an integer >0 or full"),
    ("--data.batch_size=21", "data.batch_size", "21", "1 to 20"),
    ("--data.batch_size=1.5", "data.batch_size", "1.5", "an integer >0 or full"),
    ("--data.source=mnits", "data.source", "mnits", "digits, mnist, usps"),
    ("--data.draw=5000000000", "data.draw", "5000000000", "from 0 to 4294967295"),
    ("--data.draw=artcle", "data.draw", "artcle", "article, full or an integer"),
    ("--data.holdout=-1", "data.holdout", "-1", "an integer >=0"),
    ("--data.holdout=20", "data.holdout", "20", "0 to 19"),
    ("--data.fold=6/5", "data.fold", "6/5", "k/n such as 2/5, the second of five parts, with n from 2 to 20"),
    ("--data.train_size=50000", "data.train_size", "50000", "1 to 1297, all that digits has"),
    ("--data.test_size=501", "data.test_size", "501", "1 to 500"),
    ("--data.seed=3", "data.seed", "given by itself", "seed_everything in its place"),
    ("--optimizer.lr=-1", "optimizer.init_args.lr", "-1.0", "a finite number from 0"),
    ("--optimizer.lr=.nan", "optimizer.init_args.lr", "NaN", "a finite number from 0"),
    ("--optimizer.lr=abc", "optimizer.init_args.lr", "abc", "a number"),
    ("--optimizer.lr=[1,2]", "optimizer.init_args.lr", "[1, 2]", "a number"),
    ("--optimizer.betas=2", "optimizer.init_args.betas", "2", "[a number, a number]"),
    ("--optimizer.betas=[2,0.9]", "optimizer.init_args.betas", "[2.0, 0.9]", "from 0 to below 1"),
    ("--optimizer=SGD --optimizer.momentum=-1", "optimizer.init_args.momentum", "-1.0", "from 0"),
    ("--optimizer=SGD --optimizer.nesterov=true", "optimizer.init_args.nesterov", "true", "a momentum above 0"),
    ("--optimizer=SDG", "optimizer", "SDG", "SGD"),
    ("--optimizer=os.getcwd", "optimizer", "os.getcwd", "a subclass of Optimizer"),
    ("--optimizer=nowhere.Nothing", "optimizer", "nowhere.Nothing", "a subclass of Optimizer"),
    ("--model.network=nowhere.Nothing", "model.network", "nowhere.Nothing", "; there is no module nowhere here"),
    ("--optimizer.class_path=os.getcwd", "optimizer.class_path", "os.getcwd", "a subclass of Optimizer"),
    ("--optimizer=LBFGS --lr_scheduler=null", "optimizer.class_path", "LBFGS", "by step() alone"),
    ("--optimizer=Muon", "optimizer.class_path", "Muon", "can be built"),
    ("--optimizer=SparseAdam", "optimizer.class_path", "torch.optim.SparseAdam", "by step() alone"),
    ("--model.compile=maybe", "model.compile", "maybe", "auto or true or false"),
    ("--model.network=TanhMSE", "model.network.class_path", "TanhMSE", "a class with weights"),
    ("--model.network=lecun_repro.heads.TanhMSE", "model.network.class_path", "TanhMSE", "a class with weights"),
    ("--model.head=Head", "model.head.class_path", "Head", "a subclass of Head"),
    ("--model.head=Softmax", "model.head", "Softmax", "CrossEntropy"),
    ("--lr_scheduler=StepLR", "lr_scheduler.init_args.step_size", "missing", "a value, which StepLR requires"),
    ("--lr_scheduler=LambdaLR --lr_scheduler.lr_lambda=os._exit", "lr_scheduler.init_args.lr_lambda", "posix._exit",
     "a Python function of one's own"),
    ("--lr_scheduler=LambdaLR --lr_scheduler.lr_lambda=builtins.eval", "lr_scheduler.init_args.lr_lambda",
     "builtins.eval", "a Python function of one's own"),
    ("--lr_scheduler=LambdaLR --lr_scheduler.lr_lambda=math.sqrt", "lr_scheduler.init_args.lr_lambda", "math.sqrt",
     "a Python function of one's own"),
    ("--lr_scheduler=SGD", "lr_scheduler", "SGD", "a subclass of LRScheduler"),
    ("--lr_scheduler", "lr_scheduler", "no value", "an LRScheduler or a ReduceLROnPlateau"),
    ("--lr_scheduler.start_factor=-1", "lr_scheduler.init_args.start_factor", "-1.0", "above 0"),
    (
        "--lr_scheduler=OneCycleLR --lr_scheduler.max_lr=1 --lr_scheduler.total_steps=2 --trainer.max_epochs=5",
        "lr_scheduler.init_args", "ends after 2 of 5 passes", "as many steps as passes",
    ),
    ("--trainer.max_epochs=-5", "trainer.max_epochs", "-5", "from 1"),
    ("--trainer.max_epochs=0", "trainer.max_epochs", "0", "from 1"),
    ("--trainer.max_epochs=null", "trainer.max_epochs", "missing", "from 1"),
    ("--trainer.max_epochs=abc", "trainer.max_epochs", "abc", "an integer or null"),
    ("--trainer.max_epochs=[1]", "trainer.max_epochs", "[1]", "an integer or null"),
    ("--trainer.max_epochs", "trainer.max_epochs", "no value", "an integer or null"),
    ("--data own.Own", "data", "own.Own", "or one as --data.KEY VALUE"),
    ("--model.network.activation", "model.network.activation", "no value", "--model.network.activation VALUE"),
    ("--trainer.check_val_every_n_epoch=3", "trainer.check_val_every_n_epoch", "3", "a divisor of trainer.max_epochs"),
    (
        "--trainer.check_val_every_n_epoch=2 --trainer.max_epochs=4 --trainer.max_steps=9",
        "trainer.check_val_every_n_epoch", "2", "without trainer.max_steps",
    ),
    ("--model.network.maps=8", "model.network.init_args.maps", "8", "a multiple of 3"),
    ("--trainer.max_steps=0", "trainer.max_steps", "0", "from 1"),
    ("--trainer.gradient_clip_val=-1", "trainer.gradient_clip_val", "-1", "a finite number from 0"),
    ("--trainer.gradient_clip_algorithm=x", "trainer.gradient_clip_algorithm", "x", "norm, value"),
    ("--model.lr_interval=batch", "model.lr_interval", "batch", "epoch, step"),
    ("--model.average=mean", "model.average", "mean", "ema, swa"),
    ("--model.average=ema --model.average_decay=1", "model.average_decay", "1", "from 0 to below 1"),
    ("--model.param_groups={'(':{}}", "model.param_groups", "(", "regular expressions"),
    ("--trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches", "2", "not supported because"),
    ("--trainer.precision=16", "trainer.precision", "16", "not supported because"),
    ("--trainer.precision=8", "trainer.precision", "8", "32-true"),
    ("--trainer.devices=2", "trainer.devices", "2", "not supported because"),
    ("--trainer.devices=[0,1]", "trainer.devices", "[0, 1]", "not supported because"),
    ("--trainer.strategy=ddp", "trainer.strategy", "ddp", "not supported because"),
    ("--trainer.num_nodes=2", "trainer.num_nodes", "2", "not supported because"),
    ("--trainer.barebones=true", "trainer.barebones", "true", "not supported because"),
    ("--trainer.accelerator=foo", "trainer.accelerator", "foo", "Available names are"),
    ("--trainer.limit_train_batches=0.0001", "trainer.limit_train_batches", "0.0001", "at least one"),
    ("--trainer.limit_val_batches=-3", "trainer.limit_val_batches", "-3", "[0.0, 1.0]"),
    ("--trainer.overfit_batches=0.5", "trainer.overfit_batches", "0.5", "a whole number"),
    ("--seed_everything=-3", "seed_everything", "-3", "from 0 to 4294967295"),
    ("--seed_everything=true", "seed_everything", "true", "from 0 to 4294967295"),
    ("--seed_everything=4294967296", "seed_everything", "4294967296", "from 0 to 4294967295"),
    ("--threads=0", "threads", "0", "an integer >0"),
    ("--threads=" + "9" * 30, "threads", "9" * 30, "1 to 1024"),
    ("--data.train_size=" + "9" * 400, "data.train_size", "9999", "1 to 1297"),
    ("--data.train_size=.nan", "data.train_size", ".nan", "an integer"),
    ("--data.train_size=-.inf", "data.train_size", "-.inf", "an integer"),
    ("--model.network.output_bias=.nan", "model.network.init_args.output_bias", "NaN", "a finite number"),
    ("--trainer.min_epochs=5", "trainer.min_epochs", "5", "0 to trainer.max_epochs"),
    ("--trainer.min_epochs=-1", "trainer.min_epochs", "-1", "0 to trainer.max_epochs"),
    ("--trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch", "0", "a number of passes from 1"),
    ("--trainer.val_check_interval=5", "trainer.val_check_interval", "5", "1.0; others are not supported"),
    ("--trainer.limit_val_batches=0", "trainer.limit_val_batches", "0", "a number above 0"),
    ("--trainer.limit_train_batches=0", "trainer.limit_train_batches", "0", "above 0"),
    ("--trainer.num_sanity_val_steps=-3", "trainer.num_sanity_val_steps", "-3", "from -1"),
    ("--trainer.log_every_n_steps=-3", "trainer.log_every_n_steps", "-3", "from 0"),
    ("--trainer.accelerator=tpu", "trainer.accelerator", "tpu", "torch_xla"),
    ("--trainer.callbacks+=3", "trainer.callbacks", "3", "Callback"),
    ("--trainer.callbacks=EMAWeightAveraging", "trainer.callbacks", "EMAWeightAveraging", "model.average: ema"),
    ("--trainer.callbacks=Timer --trainer.callbacks.duration=soon", "trainer.callbacks", "Timer", "DD:HH:MM:SS"),
    (
        "--trainer.callbacks=EarlyStopping --trainer.callbacks.monitor=val_loss",
        "trainer.callbacks.monitor", "val_loss of EarlyStopping", "loss/train, error/train, misses/train, loss/test",
    ),
    ("--optimizer=", "optimizer", "", "Optimizer"),
    ("--config=", "config", "a directory", "a YAML file"),
    ("--config=" + "x" * 5000, "config", "xxx", "a YAML file"),
    ("--ckpt_path=" + "x" * 5000, "ckpt_path", "xxx", "a local checkpoint"),
    ("--ckpt_path=file:///etc/passwd", "ckpt_path", "file:///etc/passwd", "addresses are refused"),
    ("--ckpt_path=s3://bucket/last.ckpt", "ckpt_path", "s3://bucket/last.ckpt", "addresses are refused"),
    ("extra", "command line", "extra", "--key value"),
    ("--output=x.csv", "output", "unknown key", ""),
    ("--weights_only=false", "weights_only", "unknown key", ""),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("flags, key, given, allowed", FLAGS, ids=[case[0] for case in FLAGS])
def test_flags(flags: str, key: str, given: str, allowed: str, check) -> None:
    check([*FIT, *flags.split()], key, given, allowed)


def test_a_logger_whose_package_is_missing(check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.pytorch.loggers.wandb._WANDB_AVAILABLE", RequirementCache("wandb>999"))
    check([*FIT, "--trainer.logger=WandbLogger"], "trainer.logger", "WandbLogger", "pip install")


# YAML laid over the quickstart's.
YAML = [
    ("foo: 3", "foo", "unknown key", "data."),
    ("trainer: {max_epoch: 3}", "trainer.max_epoch", "unknown key", "trainer.max_epochs"),
    ("data: {batchsize: 3}", "data.batchsize", "unknown key", "data.batch_size"),
    ("model: {net: 3}", "model.net", "unknown key", "model.network"),
    ("model: {network: {class: ConvNet1989}}", "model.network.class", "unknown key", "model.network.class_path"),
    ("model: {network: {class_path: ConvNet1989, init_args: {drop: 0}}}", "model.network.init_args.drop", "unknown",
     "model.network.init_args.dropout"),
    ("model: {network: {class_path: ConvNet1989, init_args: {dropout: 1.5}}}", "model.network.init_args.dropout", "1.5",
     "<1"),
    ("model: {network: {class_path: os.getcwd}}", "model.network.class_path", "os.getcwd", "a subclass of Network"),
    ("optimizer: {class_path: AdamW, init_args: {lrate: 1}}", "optimizer.init_args.lrate", "unknown", "init_args.lr"),
    ("optimizer: {class_path: torch.optim.AdamV}", "optimizer.class_path", "AdamV", "Adam"),
    ("optimizer: {class_path: AdamW, init_args: {lr: {class_path: os.getcwd}}}", "optimizer.init_args.lr", "os.getcwd",
     "a number"),
    ("optimizer: {class_path: AdamW, init_args: 3}", "optimizer.init_args", "3", "a mapping"),
    ("optimizer: {class_path: AdamW, init_args: {}, lr: 3}", "optimizer.lr", "unknown key", "optimizer.init_args"),
    ("optimizer: {class_path: AdamW, dict_kwargs: {foo: 3}}", "optimizer.dict_kwargs.foo", "3", "AdamW takes"),
    ("optimizer: [1, 2]", "optimizer", "[1, 2]", "Optimizer"),
    ("optimizer: 3", "optimizer", "3", "Optimizer"),
    ("lr_scheduler: {class_path: LinearLR, init_args: {totl: 3}}", "lr_scheduler.init_args.totl", "unknown", "total"),
    ("lr_scheduler: {class_path: ExponentialLR}", "lr_scheduler.init_args.gamma", "missing", "ExponentialLR"),
    ("lr_scheduler: {class_path: SequentialLR, init_args: {milestones: [1], schedulers: [os._exit, os._exit]}}",
     "lr_scheduler.init_args.schedulers[0]", "_exit", "a Python function of one's own"),
    ("lr_scheduler: {class_path: SequentialLR, init_args: {milestones: [1], schedulers: [{class_path: os.getcwd}]}}",
     "lr_scheduler.init_args.schedulers[0].class_path", "getcwd", "a class, as a function would be called"),
    ("lr_scheduler: {class_path: SequentialLR, init_args: {milestones: [1], schedulers: [{class_path: LinearLR}]}}",
     "lr_scheduler.class_path", "SequentialLR", "expects number of schedulers"),
    ("trainer: {logger: {class_path: TensorBoardLogger, init_args: {save_dir: x, nam: y}}}",
     "trainer.logger.init_args.nam", "unknown key", "trainer.logger.init_args.name"),
    ("trainer: {callbacks: [{class_path: os.getcwd}]}", "trainer.callbacks[0].class_path", "os.getcwd", "Callback"),
    ("trainer: 3", "trainer", "3", "a mapping"),
    ("trainer: {max_epochs: ten}", "trainer.max_epochs", "ten", "an integer or null"),
    ("trainer: {max_epochs: [1]}", "trainer.max_epochs", "[1]", "an integer or null"),
    ("data: {shift: 2}", "data.shift", "2", "roll, pad or null"),
    ("data: {batch_size: true}", "data.batch_size", "true", "an integer >0 or full"),
    ("data: [1, 2]", "data", "[1, 2]", "a mapping"),
    ("model: {seed: 3}", "model.seed", "3", "seed_everything in its place"),
    ("3: 4", "3", "unknown key", ""),
    ("trainer: {3: 4}", "3", "unknown key", ""),
    ("trainer: {'': 4}", "config", "a key that is no plain value", "plain values"),
]  # fmt: skip


@pytest.mark.parametrize("text, key, given, allowed", YAML, ids=[case[0] for case in YAML])
def test_yaml(text: str, key: str, given: str, allowed: str, check) -> None:
    Path("bad.yaml").write_text(text)
    check(["fit", "--config", "quickstart", "--config", "bad.yaml"], key, given, allowed)


FILES = [
    (b"", "bad.yaml: empty", "quickstart"),
    (b"# nothing\n", "bad.yaml: empty", "quickstart"),
    (b"- 1\n- 2\n", "bad.yaml: a list", "mapping"),
    (b"text", "bad.yaml: text", "mapping"),
    (b"trainer:\n\tmax_epochs: 3\n", "bad.yaml line 2: ", "indented by spaces"),
    (b"trainer:\n  max_epochs: 3\n data: 3\n", "bad.yaml line 3: ", "YAML"),
    (b"trainer: {max_epochs: 3\n", "bad.yaml line 2: ", "YAML"),
    (b"trainer:\n  max_epochs: 3\n  max_epochs: 4\n", "bad.yaml line 3: key max_epochs is there twice", "YAML"),
    (b"a: 1\nb: \xff\xfe\n", "bad.yaml line 2: not UTF-8", "UTF-8"),
    (b"a: !!python/object/apply:os.system ['touch ran']\n", "bad.yaml line 1: could not determine", "plain values"),
    (b"a: !!python/name:os.system\n", "bad.yaml line 1: could not determine", "plain values"),
    (b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c]\n"
     b"e: &e [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\nf: [*e,*e]\n", "bad.yaml: nested too deeply", "10,000"),
    (b"a: &a [*a]\n", "bad.yaml: nested too deeply", "10,000"),
    (b"a: " + b"[" * 60 + b"]" * 60, "bad.yaml: nested too deeply", "10,000"),
    (b"a: " + b"[" * 900 + b"]" * 900, "bad.yaml: nested too deeply", "10,000"),
    (b"a: " + b"{a: " * 900 + b"}" * 900, "bad.yaml: nested too deeply", "10,000"),
    (b"[1, 2]: 3\n", "bad.yaml line 1: a key that is no plain value", "plain values"),
    (b"? {a: 1}\n: 3\n", "bad.yaml line 1: a key that is no plain value", "plain values"),
    (b"a: 1\n---\nb: 2\n", "bad.yaml line 2: ", "YAML"),
    (b"a: \x00\n", "bad.yaml", "YAML"),
    (bytes(range(256)), "bad.yaml line ", "UTF-8"),
    ("trainer: {max_epochs: 1}".encode("utf-16"), "bad.yaml line 1: not UTF-8", "UTF-8"),
    (b"a: " + b"9" * 5000, "bad.yaml: Exceeds the limit", "plain values"),
]  # fmt: skip


@pytest.mark.parametrize("content, given, allowed", FILES, ids=range(len(FILES)))
def test_files(content: bytes, given: str, allowed: str, check) -> None:
    Path("bad.yaml").write_bytes(content)
    check(["fit", "--config", "bad.yaml"], "config", given, allowed)


LINES = [
    ([], "subcommand", "missing", "fit, validate, test, predict"),
    (["fiit"], "subcommand", "fiit", "fit, validate, test, predict"),
    (["--config", "quickstart", "fit"], "subcommand", "--config", "before any flag"),
    (["fit"], "model.network", "missing", "such as ConvNet1989; give it with --config FILE"),
    (["fit", "--model.network", "ConvNet1989"], "model.head", "missing", "--config FILE"),
    (["fit", "--model.network.dropout", "0.1"], "model.network.dropout", "no class given before", "--model.network"),
    (["fit", "--config"], "config", "no file", "a YAML file"),
    (["fit", "--config", "nowhere.yaml"], "config", "nowhere.yaml: no such file", "a YAML file"),
    (["fit", "--config", "."], "config", "a directory", "a YAML file"),
    (["fit", "--config", "http://127.0.0.1:9/a.yaml"], "config", "no such file", "a YAML file"),
    (["test"], "ckpt_path", "missing", "a local checkpoint"),
    (["fit", "a.yaml"], "command line", "a.yaml", "such as --config a.yaml"),
    (["export"], "to", "missing", "--to VALUE (The file to write; its ending chooses what it is)"),
    (["test", "--config", "quickstart"], "ckpt_path", "missing", "a local checkpoint"),
    (["predict", "--config", "quickstart"], "ckpt_path", "missing", "a local checkpoint"),
]


@pytest.mark.parametrize("args, key, given, allowed", LINES, ids=[" ".join(case[0]) for case in LINES])
def test_command_lines(args: list[str], key: str, given: str, allowed: str, check) -> None:
    check(args, key, given, allowed)


def test_a_message_gives_a_terminal_no_orders(check) -> None:
    source = "\x1b[31mred\u202e\x07"
    check([*FIT, f"--data.source={source}"], "data.source", r"\x1b[31mred\u202e\x07", "digits, mnist, usps")


OWN = """
from pathlib import Path
from lightning.pytorch import Callback
from torch.optim import SGD, Optimizer
class Trap:
    def __init__(self, *a, **k): Path('called').touch()
def trap(*a, **k): Path('called').touch()
def callback(*a, **k) -> Callback: Path('called').touch()
def optimizer(params, *a, **k) -> Optimizer: Path('called').touch()
class Untyped(SGD):
    def __init__(self, params, what=None): super().__init__(params, lr=0.1)
"""
UNTYPED = '{"class_path": "of_traps.Untyped", "init_args": {"what": {"class_path": "of_traps.Trap"}}}'
KEYS = ("optimizer", "lr_scheduler", "model.network", "model.head", "trainer.logger")
CLASSES = [
    *((key, f"of_traps.{name}", key, f"of_traps.{name}", "a subclass of") for key in KEYS for name in ("Trap", "trap")),
    # A function is no class, whatever it says it returns.
    ("trainer.callbacks", "of_traps.callback", "trainer.callbacks.class_path", "of_traps.callback", "a class, "),
    ("optimizer", "of_traps.optimizer", "optimizer.class_path", "of_traps.optimizer", "a class, "),
    ("optimizer", UNTYPED, "optimizer.init_args.what.class_path", "of_traps.Trap", "a plain value"),
]


@pytest.mark.parametrize("flag, value, key, given, allowed", CLASSES, ids=[" ".join(case[:2]) for case in CLASSES])
def test_a_class_path_is_never_called_before_its_type_is_known(
    flag: str, value: str, key: str, given: str, allowed: str, check, own_module
) -> None:
    own_module("of_traps", OWN)
    check([*FIT, f"--{flag}={value}"], key, given, allowed)


@pytest.mark.slow
def test_an_optimizer_and_a_function_of_the_users_own(own_module) -> None:
    own_module(
        "of_ones_own",
        "from torch.optim import SGD\n"
        "class Own(SGD):\n    def __init__(self, params, lr: float = 0.1):\n        super().__init__(params, lr=lr)\n"
        "def halved(number: int) -> float:\n    return 0.5**number\n",
    )
    flags = ["--optimizer=of_ones_own.Own", "--optimizer.lr=0.01", "--lr_scheduler=LambdaLR"]
    flags += ["--lr_scheduler.lr_lambda=of_ones_own.halved", "--trainer.max_epochs=2"]
    main([*FIT, *flags])
    saved = torch.load(next(Path().rglob("last.ckpt")), weights_only=True)
    assert saved["lr_schedulers"][0]["_last_lr"] == [0.0025]


def test_missing_data_is_one_message(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lecun_repro.data.sources.mnist.MIRRORS", ("http://127.0.0.1:9/",))
    monkeypatch.delenv("LECUN_REPRO_DATA", raising=False)
    with pytest.raises(SystemExit) as end:
        main([*FIT, "--data.source=mnist", "--trainer.logger=false"])
    err = capfd.readouterr().err
    assert end.value.code == 2
    assert err.startswith("lecun-repro: error: ")
    assert "Traceback" not in err
    assert all(part in err for part in ("127.0.0.1:9", "LECUN_REPRO_DATA", "--data.root"))


def test_a_module_that_cannot_be_imported_shows_its_error(check, own_module) -> None:
    own_module("broken_module", "import nowhere_at_all\n")
    error = "(ModuleNotFoundError: No module named 'nowhere_at_all')"
    check([*FIT, "--model.network=broken_module.Net"], "model.network", "broken_module.Net", error)
    check([*FIT, "--model.network=nowhere_at_all.Net"], "model.network", "nowhere_at_all.Net", "a subclass of Network")
