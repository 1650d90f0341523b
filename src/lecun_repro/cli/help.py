"""`--help`: model and data first, with the arguments of all classes that go there, and Lightning's trainer last."""

import argparse

from lightning.pytorch.cli import LightningArgumentParser

import lecun_repro
from lecun_repro.cli.checks import SUPPORTED
from lecun_repro.cli.parser import DigitsParser
from lecun_repro.data.augment import Augmentation
from lecun_repro.models.base import Network
from lecun_repro.models.heads import Head

TITLES = {
    "model": "The model: a network and a head",
    "data": "The data: digits of 16x16 pixels from -1 (background) to 1 (ink), in the constant order of their draw",
    "optimizer": "The optimizer",
    "lr_scheduler": "The learning rate's schedule",
    "ckpt_path": "The checkpoint",
    "from_weights": "Another run's weights",
    "pictures": "The pictures in TensorBoard",
    "trainer": "The trainer, Lightning's own: passes (max_epochs), device (accelerator), logger ...",
}
SUBCOMMANDS = {
    "fit": "Trains one configuration, evaluates both splits after every pass, and keeps what it did in its log folder.",
    "validate": "The same as test.",
    "test": "Evaluates a checkpoint on both splits.",
    "predict": "Reads the digits of image files, or of a checkpoint's data.",
}
ARGUMENTS = {
    "ckpt_path": "A checkpoint of `fit` or weights of `export`, a local file; data and model come from it, flags win "
    "over it. By default `predict` takes the network that ships with the package.",
    "from_weights": "A checkpoint whose weights a new run starts from, a local file. Optimizer, schedule and passes "
    "begin anew, and the weights are part of the run's identity.",
    "seed_everything": "Seed of the weights, shifts and dropout, an integer from 0.",
    "config": "A YAML file of these keys, or of `base: FILE` and what differs, or a packaged one by its name, see "
    "`lecun-repro configs`; of several, the later one wins.",
    "model.network": "The network: a subclass of `lecun_repro.Network`, or any module by import path, from digits "
    "(n, 1, 16, 16) to outputs (n, 10); arguments below.",
    "model.head": "Output activation and loss, a subclass of `lecun_repro.Head` by name or import path; see below.",
    "optimizer": "Any optimizer of torch.optim, or one that is installed, by name or import path; its arguments are "
    "flags too (`--optimizer.lr 1e-3`), which `--optimizer.help AdamW` lists.",
    "lr_scheduler": "Stepped once per pass; any of torch.optim.lr_scheduler by name or import path, or null for a "
    "constant rate. `--lr_scheduler.help LinearLR` lists its arguments.",
}
BASES = {"model.network": Network, "model.head": Head, "data.augment": Augmentation}
# What has an effect where nothing is trained. A configuration's other keys are taken as well.
EVALUATING = {
    "help", "config", "print_config", "threads", "ckpt_path", "output", "model.network", "model.head",
    *(f"data.{name}" for name in ("source", "draw", "train_size", "test_size", "frame", "holdout", "fold")),
    *(f"data.{name}" for name in ("block_size", "root", "images")),
    "trainer.accelerator",
}  # fmt: skip
OF_A_CHECKPOINT = "That of the checkpoint. Named, a class of your own is trusted, and imported."
OTHERS = "The other flags of `fit` are taken as well, as its YAML files are; those of training have no effect."
OFFERED = ("precision", "gradient_clip_algorithm")  # of what is supported in part; of the others there is no choice
REFUSED = {f"trainer.{name}" for name in SUPPORTED if name not in OFFERED}
TO_GO_ON = "A checkpoint that `fit` wrote, a local file to go on from."


class HelpfulParser(DigitsParser):
    """A parser whose help is for those who train digits."""

    subcommand = ""  # of the trainer, whose help this is

    def set_help(self, subcommand: str) -> None:
        """Puts the help of one of the trainer's subcommands into words."""
        self.subcommand, self.description = subcommand, SUBCOMMANDS[subcommand]
        needed = {"fit": "--config FILE", "predict": "[IMAGE ...]"}.get(subcommand, "--ckpt_path FILE")
        self.usage = f"lecun-repro {subcommand} {needed} [options]"
        for action in self._actions:
            action.help = ARGUMENTS.get(action.dest, action.help)
            if subcommand != "fit" and action.dest in BASES:
                action.help = OF_A_CHECKPOINT
            if action.dest.removeprefix("trainer.") in OFFERED:
                action.help = f"{action.help} Here: {SUPPORTED[action.dest.removeprefix('trainer.')][1]}."
            if action.dest == "model.network":  # all of torch's modules; ours stand below
                action.extra_help = lambda: ""  # type: ignore[attr-defined]
            if action.dest == "ckpt_path" and subcommand == "fit":
                action.help = TO_GO_ON
            if action.dest.endswith("help") and action.dest.startswith(("model.optimizer", "model.lr_scheduler")):
                action.help = argparse.SUPPRESS  # the keys at the top are the ones to set
        groups = {}
        for group in self._action_groups:
            name = group._group_actions[0].dest.partition(".")[0] if group._group_actions else ""
            if group.title == "Linked arguments":
                for action in group._group_actions:
                    action.help = argparse.SUPPRESS
            elif name in TITLES:
                group.title, groups[name] = TITLES[name], group
        order = TITLES if subcommand == "fit" else sorted(TITLES, key=lambda name: name != "ckpt_path")
        last = [groups[name] for name in order if name in groups]
        self._action_groups = [group for group in self._action_groups if group not in last] + last

    def format_help(self) -> str:
        # For the help alone, as a suppressed argument would be left out of configurations as well.
        left_out = [(action, action.help) for action in self._actions if self._is_left_out(action.dest)]
        for action, _ in left_out:
            action.help = argparse.SUPPRESS
        text = super().format_help()
        for action, told in left_out:
            action.help = told
        if not self.subcommand:
            return text
        if self.subcommand != "fit":
            return f"{text}\n{OTHERS}\n"
        before, trainer = text.split(TITLES["trainer"])  # the last of the groups
        classes = [class_help(key, base) for key, base in BASES.items()]
        return f"{before}{''.join(classes)}{TITLES['trainer']}{trainer}"

    def _is_left_out(self, key: str) -> bool:
        """Whether an argument is refused anyway, or has no effect where nothing is trained."""
        if self.subcommand not in ("", "fit") and key not in EVALUATING:
            return True
        return key in REFUSED or (key == "data.images" and self.subcommand != "predict")


def set_subcommand_help(parser: LightningArgumentParser) -> None:
    """Puts the list of subcommands into words."""
    for action in parser._subcommands_action._choices_actions:  # type: ignore[union-attr]
        action.help = SUBCOMMANDS.get(action.dest, action.help)
    for action in parser._actions:
        if action.dest in ("config", "print_config"):
            action.help = argparse.SUPPRESS  # each subcommand has its own
    parser.usage = "lecun-repro [-h] [--version] SUBCOMMAND ..."


def class_help(key: str, base: type) -> str:
    """The arguments of all of this package's subclasses of `base`, as flags of `key`."""
    text = ""
    for name in lecun_repro.CLASSES:
        kind = getattr(lecun_repro, name)
        if issubclass(kind, base) and kind is not base:
            parser = DigitsParser(add_help=False, usage=argparse.SUPPRESS, description="")
            parser.add_class_arguments(kind, key)
            parser._action_groups[-1].title = f"Arguments of --{key} {name}"
            for action in parser._actions:
                action.help = argparse.SUPPRESS if action.dest == key else action.help
            if arguments := parser.format_help().strip():
                text += f"{arguments}\n\n"
    return text
