"""What TensorBoard shows beside curves and pictures: the configuration, the hyperparameters and the network's graph."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto import config_pb2, graph_pb2  # type: ignore[import-untyped]
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import Module
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard._proto_graph import node_proto
from torch.utils.tensorboard.summary import hparams

from lecun_repro.models.base import Network
from lecun_repro.training.module import DigitClassifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # takes a while


@contextmanager
def report_write_errors_once() -> Iterator[None]:
    """Leaves it to the next call of TensorBoard's writer to raise what its thread could not write.

    The thread itself would print its traceback, too.
    """
    report = threading.excepthook

    def others(failed: threading.ExceptHookArgs) -> None:
        if not issubclass(failed.exc_type, OSError):
            report(failed)

    threading.excepthook = others
    try:
        yield
    finally:
        threading.excepthook = report


def show_figure(writer: SummaryWriter, name: str, figure: "Figure", number: int) -> None:
    """A figure, as it is after pass `number`.

    TensorBoard begins with a page of everything, in the order of names: `shown` comes after error, loss, misses, rate.
    """
    writer.add_figure(f"shown/{name}", figure, number)


def show_configuration(writer: SummaryWriter, text: str) -> None:
    """A configuration's YAML, in the Text tab."""
    writer.add_text("configuration", f"```yaml\n{text.rstrip()}\n```", 0)


def hyperparameters(trainer: Trainer, module: DigitClassifier) -> dict[str, str | int | float]:
    """What a run was given, flat and by short names, each of the same type in every run."""
    data, network = trainer.datamodule, module.network  # type: ignore[attr-defined]
    optimizer, schedules = trainer.optimizers[0], trainer.lr_scheduler_configs
    augmentations = [type(augmentation).__name__ for augmentation, *_ in data.augmentations.steps]
    average, clip = module.average, module.clip
    return {
        "row": row_of(trainer),
        "seed": module.seed,
        "source": data.source,
        "draw": str(data.draw),
        "train_digits": data.n_train,
        "frame": data.frame,
        "shift": data.shift or "none",
        "augment": " + ".join(augmentations[data.shift is not None :]) or "none",
        "batch_size": data.batch,
        "network": type(network.own).__name__,
        "parameters": sum(p.numel() for p in network.parameters()),
        "activation": getattr(getattr(network, "activation", None), "__name__", "none"),
        "dropout": float(network.dropout),
        "head": type(module.head).__name__,
        "smoothing": float(getattr(module.head, "smoothing", 0)),
        "optimizer": type(optimizer).__name__,
        "lr": float(optimizer.defaults.get("lr", 0)),  # at the start of its schedule
        "weight_decay": float(optimizer.defaults.get("weight_decay", 0)),
        "schedule": type(schedules[0].scheduler).__name__ if schedules else "none",
        "lr_interval": module.lr_interval,
        "clip": "none" if clip is None else f"norm {clip.norm:g}" if clip.norm else f"value {clip.value:g}",
        "average": "none" if average is None else average.kind,
        "passes": trainer.current_epoch,
    }


def show_hyperparameters(writer: SummaryWriter, given: dict[str, str | int | float]) -> None:
    """A run's line in the HParams tab, whose results are the last values of the run's curves.

    Lightning's `log_hyperparams` would log those results once more, and declare the columns of the whole table with
    every run, of which TensorBoard takes the first that it finds. Undeclared they are those of all runs, and the
    hyperparameters that differ come first.
    """
    _, start, end = hparams(given, {})
    for summary in (start, end):
        writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]


def show_graph(writer: SummaryWriter, network: Network) -> None:
    """The network on one digit, in the Graphs tab."""
    writer.file_writer.add_graph((graph_of(network), config_pb2.RunMetadata()))  # type: ignore[attr-defined]


def graph_of(network: Network) -> graph_pb2.GraphDef:
    """The operations of a network on one digit, each layer a group of its own.

    Traced as the compiled updates are. `SummaryWriter.add_graph` has another tracer, which torch has deprecated, and
    shows the layers of a network as one heap of a hundred operations, constants and lists.
    """
    tensors = [*network.named_parameters(), *network.named_buffers()]
    named = {id(tensor): name.replace(".", "/") for name, tensor in tensors}
    value = torch.zeros(1, 1, 16, 16).to(next(network.parameters()))
    nodes, last = [node_proto("digit", "input", outputsize=value.shape)], "digit"
    with torch.no_grad(), evaluating(network):
        for layer, function in (network.layers() or {"": network}).items():
            group = f"{layer}/" if layer else ""
            traced = make_fx(partial(function))(value)
            names: dict[Node, str] = {}
            for node in traced.graph.nodes:
                if node.op == "placeholder":
                    names[node] = last
                elif node.op == "output":
                    last = names[node.args[0]]
                else:
                    constant = getattr(traced, node.target) if node.op == "get_attr" else None
                    names[node] = group + named.get(id(constant), node.name)
                    kind = getattr(node.target, "__name__", "parameter")
                    shape = getattr(node.meta.get("val", constant), "shape", None)
                    inputs = [names[each] for each in node.all_input_nodes]
                    nodes.append(node_proto(names[node], kind, inputs, outputsize=shape))
            value = function(value)
    return graph_pb2.GraphDef(node=nodes)


@contextmanager
def evaluating(module: Module) -> Iterator[None]:
    """Without dropout, and without batch normalization learning from what is shown."""
    trains = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(trains)


def log_dir(trainer: Trainer) -> Path | None:
    """`<save_dir>/<row>/version_N`, or None for a run that keeps no log."""
    if trainer.logger is None or trainer.fast_dev_run or trainer.log_dir is None:  # type: ignore[attr-defined]
        return None
    return Path(trainer.log_dir)


def row_of(trainer: Trainer) -> str:
    """What a run is called: `<row>` of its folder."""
    names = getattr(trainer, "names_folder", None) or trainer.logger
    return "" if names is None else names.name or ""


def writer_of(trainer: Trainer) -> SummaryWriter | None:
    """What writes a run's TensorBoard files, or None for a run without."""
    logs = log_dir(trainer) is not None
    loggers = [logger for logger in trainer.loggers if logs and isinstance(logger, TensorBoardLogger)]
    return loggers[0].experiment if loggers else None
